-- Append a batch of requests. A request appends its events to one stream, all or none. Requests are judged in array
-- order, each seeing its predecessors, and each gets its own outcome; a conflict is an outcome, never an error.
--
-- An event that the log holds already, by (tenant, id), is judged before any version: a request that repeats events as
-- they were recorded, in their order, is a duplicate and gets its first outcome again; any other use of a known id
-- reuses it.
CREATE FUNCTION events.append(
    tenants text[], streams text[],                             -- each stream of the batch, once
    request_streams int[], request_sizes int[],                 -- each request: index of its stream, number of events,
    expected bigint[],                                          -- version: exact, 0 none yet, -1 any, -2 some
    event_requests int[], ids uuid[], types text[], sources text[],  -- each event: index of its request, attributes
    times timestamptz[], traceparents text[], data json[],
    OUT outcomes text[],     -- per request: appended, duplicate, conflict, reused
    OUT positions bigint[],  -- of its first event, where appended or duplicate
    OUT versions bigint[],   -- of its last event, where appended or duplicate; where conflict, of the stream
    OUT reused uuid[],       -- the id, where reused; null if no request reuses any
    OUT accepted_from bigint, OUT accepted_to bigint  -- what this call added to the log; empty if to < from
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- A plan is made once per connection, perhaps while the tables are empty: it must not scan what will grow.
SET plan_cache_mode = force_generic_plan
SET jit = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
-- An append waits for the head, or for a reservation of its stream that has not committed; never for long.
SET lock_timeout = '10s'
AS $$
DECLARE
    covered bigint;
    known_events bigint;
    distinct_ids bigint;
    request_count constant int := cardinality(request_streams);
    stream_versions bigint[];
    former_versions bigint[];
    position_shift bigint[] := array_fill(0::bigint, ARRAY[request_count]);  -- position = shift + index of the event
    version_shift bigint[] := array_fill(0::bigint, ARRAY[request_count]);
    event_count int := 0;
    slot int;
    size int;
    version bigint;
    expects bigint;
BEGIN
    -- A statement of its own: what follows must see all that was committed before the lock was ours.
    SELECT head.position + 1, head.position, head.covered INTO accepted_from, accepted_to, covered
    FROM events.head FOR UPDATE;

    SELECT count(known.position), count(DISTINCT event.id) INTO known_events, distinct_ids
    FROM unnest(ids, event_requests) AS event (id, request)
    LEFT JOIN events.event_ids AS known
        ON known.tenant = tenants[request_streams[event.request]] AND known.id = event.id;

    IF distinct_ids < cardinality(ids) AND request_count > 1 THEN
        SELECT * INTO outcomes, positions, versions, reused, accepted_from, accepted_to
        FROM events.append_singly(tenants, streams, request_streams, request_sizes, expected,
            event_requests, ids, types, sources, times, traceparents, data);
        RETURN;
    END IF;

    SELECT array_agg(coalesce(stream.version, 0) ORDER BY named.slot) INTO stream_versions
    FROM unnest(tenants, streams) WITH ORDINALITY AS named (tenant, stream, slot)
    LEFT JOIN events.streams AS stream ON stream.tenant = named.tenant AND stream.stream = named.stream;
    former_versions := stream_versions;

    outcomes := array_fill('appended'::text, ARRAY[request_count]);
    positions := array_fill(0::bigint, ARRAY[request_count]);
    versions := array_fill(0::bigint, ARRAY[request_count]);
    IF known_events > 0 OR distinct_ids < cardinality(ids) THEN
        SELECT * INTO outcomes, positions, versions, reused
        FROM events.judge_known(tenants, streams, request_streams, event_requests, ids, types, sources, data);
    END IF;

    FOR request IN 1..request_count LOOP
        size := request_sizes[request];
        IF outcomes[request] = 'appended' THEN
            slot := request_streams[request];
            version := stream_versions[slot];
            expects := expected[request];
            IF expects = version OR expects = -1 OR (expects = -2 AND version > 0) THEN
                positions[request] := accepted_to + 1;
                position_shift[request] := accepted_to - event_count;
                version_shift[request] := version - event_count;
                accepted_to := accepted_to + size;
                version := version + size;
                stream_versions[slot] := version;
            ELSE
                outcomes[request] := 'conflict';
            END IF;
            versions[request] := version;
        END IF;
        event_count := event_count + size;
    END LOOP;

    IF accepted_to < accepted_from THEN
        RETURN;
    END IF;
    IF accepted_to > covered THEN
        PERFORM events.cover(accepted_to);
    END IF;

    INSERT INTO events.events
        (position, version, tenant, stream, id, type, source, time, traceparent, data)
    SELECT
        position_shift[event.request] + event.index,
        version_shift[event.request] + event.index,
        tenants[request_streams[event.request]],
        streams[request_streams[event.request]],
        event.id, event.type, event.source, event.time, event.traceparent, event.data
    FROM unnest(event_requests, ids, types, sources, times, traceparents, data)
        WITH ORDINALITY AS event (request, id, type, source, time, traceparent, data, index)
    WHERE outcomes[event.request] = 'appended';

    INSERT INTO events.event_ids (tenant, id, position)
    SELECT tenants[request_streams[event.request]], event.id, position_shift[event.request] + event.index
    FROM unnest(event_requests, ids) WITH ORDINALITY AS event (request, id, index)
    WHERE outcomes[event.request] = 'appended';

    INSERT INTO events.streams (tenant, stream, version)
    SELECT named.tenant, named.stream, named.version
    FROM unnest(tenants, streams, stream_versions, former_versions) AS named (tenant, stream, version, former)
    WHERE named.version > named.former
    ON CONFLICT (tenant, stream) DO UPDATE SET version = excluded.version;

    UPDATE events.head SET position = accepted_to;
END;
$$;

-- Judge the requests whose ids the log holds, or that name an id twice. The others stay `appended`, to be judged by
-- their version. A retry may stamp the time and the trace anew, so these are not compared.
CREATE FUNCTION events.judge_known(
    tenants text[], streams text[], request_streams int[],
    event_requests int[], ids uuid[], types text[], sources text[], data json[],
    OUT outcomes text[], OUT positions bigint[], OUT versions bigint[], OUT reused uuid[]
)
LANGUAGE sql STABLE AS $$
    WITH event AS (
        SELECT
            given.request, given.index, given.id,
            known.position, recorded.version,
            known.position - given.index AS shift,
            count(*) OVER (PARTITION BY given.request, given.id) AS occurrences,
            recorded.stream = streams[request_streams[given.request]]
                AND recorded.type = given.type
                AND recorded.source = given.source
                AND recorded.data::text = given.data::text AS same
        FROM unnest(event_requests, ids, types, sources, data)
            WITH ORDINALITY AS given (request, id, type, source, data, index)
        LEFT JOIN events.event_ids AS known
            ON known.tenant = tenants[request_streams[given.request]] AND known.id = given.id
        LEFT JOIN events.events AS recorded ON recorded.position = known.position
    ),
    request AS (
        SELECT
            event.request,
            count(event.position) = 0 AND max(event.occurrences) = 1 AS is_new,
            count(event.position) = count(*) AND bool_and(event.same IS TRUE) AND min(event.shift) = max(event.shift)
                AS is_repeated,
            min(event.position) AS position,
            max(event.version) AS version,
            (array_agg(event.id ORDER BY event.same, event.occurrences DESC, event.position, event.index))[1] AS id
        FROM event
        GROUP BY event.request
    )
    SELECT
        array_agg(
            CASE WHEN is_new THEN 'appended' WHEN is_repeated THEN 'duplicate' ELSE 'reused' END ORDER BY request),
        array_agg(CASE WHEN is_repeated THEN position ELSE 0 END ORDER BY request),
        array_agg(CASE WHEN is_repeated THEN version ELSE 0 END ORDER BY request),
        array_agg(CASE WHEN NOT (is_new OR is_repeated) THEN id END ORDER BY request)
    FROM request
$$;

-- Append a batch in which one id occurs twice: whether the second is a repetition depends on the outcome of the first,
-- so each request must find what its predecessors left.
CREATE FUNCTION events.append_singly(
    tenants text[], streams text[],
    request_streams int[], request_sizes int[], expected bigint[],
    event_requests int[], ids uuid[], types text[], sources text[],
    times timestamptz[], traceparents text[], data json[],
    OUT outcomes text[], OUT positions bigint[], OUT versions bigint[], OUT reused uuid[],
    OUT accepted_from bigint, OUT accepted_to bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    one record;
    slot int;
    first int := 1;
    last int;
BEGIN
    FOR request IN 1..cardinality(request_streams) LOOP
        slot := request_streams[request];
        last := first + request_sizes[request] - 1;
        SELECT * INTO one FROM events.append(
            ARRAY[tenants[slot]], ARRAY[streams[slot]], ARRAY[1], ARRAY[request_sizes[request]], ARRAY[expected[request]],
            array_fill(1, ARRAY[request_sizes[request]]), ids[first:last], types[first:last], sources[first:last],
            times[first:last], traceparents[first:last], data[first:last]);
        outcomes := outcomes || one.outcomes;
        positions := positions || one.positions;
        versions := versions || one.versions;
        reused := reused || coalesce(one.reused, ARRAY[NULL::uuid]);
        accepted_from := coalesce(accepted_from, one.accepted_from);
        accepted_to := one.accepted_to;
        first := last + 1;
    END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION events.append, events.judge_known, events.append_singly FROM PUBLIC;
GRANT EXECUTE ON FUNCTION events.append TO millrace_appender;
