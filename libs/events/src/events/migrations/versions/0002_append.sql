-- Append a batch of requests. A request appends its events to one stream, all or none. Requests are judged in array
-- order, each seeing its predecessors, and each gets its own outcome; a conflict is an outcome, never an error.
--
-- An event that the log holds already, by (tenant, id), is judged before any version: a request that repeats events as
-- they were recorded, in their order, is a duplicate and gets its first outcome again; any other use of a known id
-- reuses it.
--
-- Nearly always every request of a batch gets what it expects. So the caller says what that comes to for each stream,
-- and `record` tries it without looking at single requests; only if that fails are they judged.
CREATE FUNCTION events.append(
    -- Each stream of the batch, once: the version that all of its requests together expect, how many events they add.
    tenants text[], streams text[], stream_expected bigint[], stream_added bigint[],
    -- Each request: the index of its stream, how many events it has, the version that it expects: exact, 0 for none
    -- yet, -1 for any, -2 for some.
    request_streams int[], request_sizes int[], request_expected bigint[],
    -- Each event, request by request: the index of its stream, its index among the batch's events of that stream.
    event_streams int[], event_offsets bigint[], ids uuid[], types text[], sources text[], times timestamptz[],
    traceparents text[], data json[],
    -- What this call added to the log; nothing if `accepted_to` is less.
    OUT accepted_from bigint, OUT accepted_to bigint,
    -- If all was accepted as expected: the versions that the streams had before. Else null, and per request:
    OUT former_versions bigint[],
    OUT outcomes text[],     -- appended, duplicate, conflict, reused
    OUT positions bigint[],  -- of its first event, where appended or duplicate
    OUT versions bigint[],   -- of its last event, where appended or duplicate; where conflict, of the stream
    OUT reused uuid[]        -- the id, where reused
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- A plan is made once per connection, perhaps while the tables are empty: it must not scan what will grow.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
-- An append waits for the head, or for a reservation of its stream that has not committed; never for long.
SET lock_timeout = '10s'
AS $$
DECLARE
    covered bigint;
BEGIN
    -- A statement of its own: what follows must see all that was committed before the lock was ours.
    SELECT head.position + 1, head.position + cardinality(ids), head.covered
    INTO accepted_from, accepted_to, covered
    FROM events.head FOR UPDATE;

    IF accepted_to > covered THEN
        PERFORM events.cover(accepted_to);
    END IF;

    BEGIN
        former_versions := events.record(accepted_from, tenants, streams, stream_expected, stream_added,
            event_streams, event_offsets, ids, types, sources, times, traceparents, data);
    EXCEPTION WHEN unique_violation OR SQLSTATE 'MR002' THEN
        SELECT * INTO accepted_to, outcomes, positions, versions, reused
        FROM events.append_judged(accepted_from, tenants, streams, request_streams, request_sizes, request_expected,
            ids, types, sources, times, traceparents, data);
    END;
END;
$$;

-- Write events from a position on, and return the versions that their streams had before. Raises MR002 or
-- unique_violation if a stream is not as expected, or an id is known. The caller holds the head.
CREATE FUNCTION events.record(
    accepted_from bigint,
    tenants text[], streams text[], stream_expected bigint[], stream_added bigint[],
    event_streams int[], event_offsets bigint[], ids uuid[], types text[], sources text[], times timestamptz[],
    traceparents text[], data json[],
    OUT former_versions bigint[]
)
LANGUAGE plpgsql AS $$
DECLARE
    stream_ids bigint[];
BEGIN
    WITH moved AS (
        UPDATE events.streams AS stream
        SET version = stream.version + named.added
        FROM unnest(tenants, streams, stream_expected, stream_added)
            WITH ORDINALITY AS named (tenant, stream, expected, added, index)
        WHERE stream.tenant = named.tenant AND stream.stream = named.stream
            AND (named.expected IN (stream.version, -1) OR named.expected = -2 AND stream.version > 0)
        RETURNING named.index, stream.id, stream.version - named.added AS former
    )
    SELECT array_agg(moved.id ORDER BY moved.index), array_agg(moved.former ORDER BY moved.index)
    INTO stream_ids, former_versions
    FROM moved;

    IF cardinality(stream_ids) IS DISTINCT FROM cardinality(streams) THEN
        SELECT * INTO stream_ids, former_versions
        FROM events.begin_streams(stream_ids, tenants, streams, stream_expected, stream_added);
    END IF;

    INSERT INTO events.event_ids (tenant, id, position)
    SELECT tenants[event.stream], event.id, accepted_from - 1 + event.index
    FROM unnest(event_streams, ids) WITH ORDINALITY AS event (stream, id, index);

    INSERT INTO events.events
        (position, version, stream_id, tenant, stream, id, type, source, time, traceparent, data)
    SELECT
        accepted_from - 1 + event.index,
        former_versions[event.stream] + event.offset_,
        stream_ids[event.stream], tenants[event.stream], streams[event.stream],
        event.id, event.type, event.source, event.time, event.traceparent, event.data
    FROM unnest(event_streams, event_offsets, ids, types, sources, times, traceparents, data)
        WITH ORDINALITY AS event (stream, offset_, id, type, source, time, traceparent, data, index);

    UPDATE events.head SET position = accepted_from - 1 + cardinality(ids);
END;
$$;

-- Make the streams of a batch that do not exist yet; `moved` are the ids of those that do.
CREATE FUNCTION events.begin_streams(
    moved bigint[], tenants text[], streams text[], stream_expected bigint[], stream_added bigint[],
    OUT stream_ids bigint[], OUT former_versions bigint[]
)
LANGUAGE plpgsql AS $$
DECLARE
    begun int;
BEGIN
    INSERT INTO events.streams (tenant, stream, version)
    SELECT named.tenant, named.stream, named.added
    FROM unnest(tenants, streams, stream_expected, stream_added) AS named (tenant, stream, expected, added)
    WHERE named.expected IN (0, -1) AND NOT EXISTS (
        SELECT FROM events.streams AS stream
        WHERE stream.tenant = named.tenant AND stream.stream = named.stream AND stream.id = ANY (moved)
    );
    GET DIAGNOSTICS begun = ROW_COUNT;
    IF begun + coalesce(cardinality(moved), 0) < cardinality(streams) THEN
        RAISE EXCEPTION 'a stream is not at the version that is expected' USING ERRCODE = 'MR002';
    END IF;
    SELECT
        array_agg(stream.id ORDER BY named.index), array_agg(stream.version - named.added ORDER BY named.index)
    INTO stream_ids, former_versions
    FROM unnest(tenants, streams, stream_added) WITH ORDINALITY AS named (tenant, stream, added, index)
    JOIN events.streams AS stream ON stream.tenant = named.tenant AND stream.stream = named.stream;
END;
$$;

REVOKE ALL ON FUNCTION events.append, events.record, events.begin_streams FROM PUBLIC;
GRANT EXECUTE ON FUNCTION events.append TO millrace_appender;
