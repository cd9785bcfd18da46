-- Append a batch of requests. A request appends its events to one stream, all or none. Requests are judged in array
-- order, each seeing its predecessors, and each gets its own outcome; a conflict is an outcome, never an error.
--
-- An event that the log holds already, by (tenant, id), is judged before any version: a request that repeats events as
-- they were recorded, in their order, is a duplicate and gets its first outcome again; any other use of a known id
-- reuses it.
--
-- Nearly always every request of a batch gets what it expects. So the caller says what that comes to for each stream,
-- and `record` tries it without looking at single requests; only if that fails are they judged.
--
-- Indexes are 1-based. A time is given in microseconds since 1970.
CREATE FUNCTION events.append(
    tenants text[],
    -- Each stream of the batch, once: the version that all of its requests together expect, how many events they add.
    stream_tenants int[], streams text[], stream_expected bigint[], stream_added bigint[],
    -- Each request: [index of its stream, number of its events, the version that it expects: exact, 0 for none yet,
    -- -1 for any, -2 for some].
    requests json,
    -- What many events have in common.
    types text[], sources text[],
    -- Each event, request by request: the index of its stream, its index among the batch's events of that stream, the
    -- index of its type and source.
    event_streams int[], event_offsets bigint[], event_types int[],
    ids uuid[], times bigint[], traceparents text[], data json[],
    -- What this call added to the log; nothing if `accepted_to` is less.
    OUT accepted_from bigint, OUT accepted_to bigint,
    -- If all was accepted as expected: the versions that the streams had before. Else null, and per request:
    OUT former_versions bigint[],
    OUT outcomes text[],     -- appended, duplicate, conflict, reused
    OUT positions bigint[],  -- of its first event, where appended or duplicate
    OUT versions bigint[],   -- of its last event, where appended or duplicate; where conflict, of the stream
    OUT reused uuid[]        -- the id, where reused
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    covered bigint;
BEGIN
    -- A statement of its own: what follows must see all that was committed before the head was ours.
    UPDATE events.head SET position = position + cardinality(ids)
    RETURNING head.position - cardinality(ids) + 1, head.position, head.covered
    INTO accepted_from, accepted_to, covered;

    IF accepted_to > covered THEN
        PERFORM events.cover(accepted_to);
    END IF;

    BEGIN
        former_versions := events.record(accepted_from, tenants, stream_tenants, streams, stream_expected, stream_added,
            types, sources, event_streams, event_offsets, event_types, ids, times, traceparents, data);
    EXCEPTION WHEN unique_violation OR SQLSTATE 'MR002' THEN
        SELECT * INTO accepted_to, outcomes, positions, versions, reused
        FROM events.append_judged(accepted_from, tenants, stream_tenants, streams, requests, types, sources,
            event_types, ids, times, traceparents, data);
        UPDATE events.head SET position = accepted_to;
    END;
END;
$$;

-- Write events from a position on, and return the versions that their streams had before. Raises MR002 or
-- unique_violation if a stream is not as expected, or an id is known. The caller holds the head.
CREATE FUNCTION events.record(
    accepted_from bigint, tenants text[],
    stream_tenants int[], streams text[], stream_expected bigint[], stream_added bigint[],
    types text[], sources text[],
    event_streams int[], event_offsets bigint[], event_types int[],
    ids uuid[], times bigint[], traceparents text[], data json[],
    OUT former_versions bigint[]
)
LANGUAGE plpgsql AS $$
DECLARE
    stream_ids bigint[];
BEGIN
    WITH moved AS (
        UPDATE events.streams AS stream
        SET version = stream.version + named.added
        FROM unnest(stream_tenants, streams, stream_expected, stream_added)
            WITH ORDINALITY AS named (tenant, stream, expected, added, index)
        WHERE stream.tenant = tenants[named.tenant] AND stream.stream = named.stream
            AND (named.expected IN (stream.version, -1) OR named.expected = -2 AND stream.version > 0)
        RETURNING named.index, stream.id, stream.version - named.added AS former
    )
    SELECT array_agg(moved.id), array_agg(moved.former)
    INTO stream_ids, former_versions
    FROM (SELECT * FROM moved ORDER BY moved.index) AS moved;

    IF cardinality(stream_ids) IS DISTINCT FROM cardinality(streams) THEN
        SELECT * INTO stream_ids, former_versions
        FROM events.begin_streams(stream_ids, tenants, stream_tenants, streams, stream_expected, stream_added);
    END IF;

    INSERT INTO events.event_ids (tenant, id, position)
    SELECT tenants[stream_tenants[stream]], ids[index], accepted_from - 1 + index
    FROM unnest(event_streams) WITH ORDINALITY AS event (stream, index);

    INSERT INTO events.events
        (position, version, stream_id, tenant, stream, id, type, source, time, traceparent, data)
    SELECT
        accepted_from - 1 + index, former_versions[stream] + event_offsets[index],
        stream_ids[stream], tenants[stream_tenants[stream]], streams[stream],
        ids[index], types[event_types[index]], sources[event_types[index]],
        timestamptz 'epoch' + times[index] * interval '1 microsecond', traceparents[index], data[index]
    FROM unnest(event_streams) WITH ORDINALITY AS event (stream, index);
END;
$$;

-- Make the streams of a batch that do not exist yet; `moved` are the ids of those that do.
CREATE FUNCTION events.begin_streams(
    moved bigint[], tenants text[],
    stream_tenants int[], streams text[], stream_expected bigint[], stream_added bigint[],
    OUT stream_ids bigint[], OUT former_versions bigint[]
)
LANGUAGE plpgsql AS $$
DECLARE
    begun int;
BEGIN
    INSERT INTO events.streams (tenant, stream, version)
    SELECT tenants[named.tenant], named.stream, named.added
    FROM unnest(stream_tenants, streams, stream_expected, stream_added) AS named (tenant, stream, expected, added)
    WHERE named.expected IN (0, -1) AND NOT EXISTS (
        SELECT FROM events.streams AS stream
        WHERE stream.tenant = tenants[named.tenant] AND stream.stream = named.stream AND stream.id = ANY (moved)
    );
    GET DIAGNOSTICS begun = ROW_COUNT;
    IF begun + coalesce(cardinality(moved), 0) < cardinality(streams) THEN
        RAISE EXCEPTION 'a stream is not at the version that is expected' USING ERRCODE = 'MR002';
    END IF;
    SELECT
        array_agg(stream.id ORDER BY named.index), array_agg(stream.version - named.added ORDER BY named.index)
    INTO stream_ids, former_versions
    FROM unnest(stream_tenants, streams, stream_added) WITH ORDINALITY AS named (tenant, stream, added, index)
    JOIN events.streams AS stream ON stream.tenant = tenants[named.tenant] AND stream.stream = named.stream;
END;
$$;

REVOKE ALL ON FUNCTION events.append, events.record, events.begin_streams FROM PUBLIC;
GRANT EXECUTE ON FUNCTION events.append TO millrace_appender;
