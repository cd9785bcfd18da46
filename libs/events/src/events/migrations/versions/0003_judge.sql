-- Where a batch is not all accepted, each request is judged by itself. See `events.append` for the parameters.

-- Judge the requests in their order, each seeing its predecessors, and record those that are accepted. The caller holds
-- the head.
CREATE FUNCTION events.append_judged(
    accepted_from bigint, tenants text[], stream_tenants int[], streams text[], requests json,
    types text[], sources text[],
    event_types int[], ids uuid[], times bigint[], traceparents text[], data json[],
    OUT accepted_to bigint, OUT outcomes text[], OUT positions bigint[], OUT versions bigint[], OUT reused uuid[]
)
LANGUAGE plpgsql AS $$
DECLARE
    request_streams int[];
    request_sizes int[];
    request_expected bigint[];
    event_requests int[];
    stream_versions bigint[];
    stream_added bigint[];
    offset_shift bigint[];  -- an event's index among its stream's accepted events = shift + index in the batch
    events_before int := 0;
    slot int;
    expected bigint;
BEGIN
    IF json_array_length(requests) > 1 AND (SELECT count(DISTINCT id) < count(*) FROM unnest(ids) AS id) THEN
        SELECT * INTO accepted_to, outcomes, positions, versions, reused
        FROM events.append_singly(accepted_from, tenants, stream_tenants, streams, requests, types, sources,
            event_types, ids, times, traceparents, data);
        RETURN;
    END IF;

    SELECT
        array_agg((request.said ->> 0)::int ORDER BY request.index),
        array_agg((request.said ->> 1)::int ORDER BY request.index),
        array_agg((request.said ->> 2)::bigint ORDER BY request.index)
    INTO request_streams, request_sizes, request_expected
    FROM json_array_elements(requests) WITH ORDINALITY AS request (said, index);

    SELECT array_agg(request.index ORDER BY request.index) INTO event_requests
    FROM unnest(request_sizes) WITH ORDINALITY AS request (size, index), generate_series(1, request.size);

    SELECT * INTO outcomes, positions, versions, reused
    FROM events.judge_ids(tenants, stream_tenants, streams, request_streams, event_requests, types, sources,
        event_types, ids, data);

    SELECT array_agg(coalesce(stream.version, 0) ORDER BY named.index), array_agg(0 ORDER BY named.index)
    INTO stream_versions, stream_added
    FROM unnest(stream_tenants, streams) WITH ORDINALITY AS named (tenant, stream, index)
    LEFT JOIN events.streams AS stream ON stream.tenant = tenants[named.tenant] AND stream.stream = named.stream;

    accepted_to := accepted_from - 1;
    FOR request IN 1..cardinality(request_streams) LOOP
        IF outcomes[request] = 'new' THEN
            slot := request_streams[request];
            expected := request_expected[request];
            IF expected IN (stream_versions[slot], -1) OR expected = -2 AND stream_versions[slot] > 0 THEN
                outcomes[request] := 'appended';
                positions[request] := accepted_to + 1;
                offset_shift[request] := stream_added[slot] - events_before;
                accepted_to := accepted_to + request_sizes[request];
                stream_added[slot] := stream_added[slot] + request_sizes[request];
                stream_versions[slot] := stream_versions[slot] + request_sizes[request];
            ELSE
                outcomes[request] := 'conflict';
            END IF;
            versions[request] := stream_versions[slot];
        END IF;
        events_before := events_before + request_sizes[request];
    END LOOP;

    IF accepted_to >= accepted_from THEN
        PERFORM events.record_accepted(accepted_from, outcomes, offset_shift, tenants, stream_tenants, streams,
            stream_added, request_streams, event_requests, types, sources, event_types, ids, times, traceparents, data);
    END IF;
END;
$$;

-- Judge requests by their event ids alone: `new`, `duplicate` or `reused`. A retry may stamp the time and the trace
-- anew, so these are not compared.
CREATE FUNCTION events.judge_ids(
    tenants text[], stream_tenants int[], streams text[], request_streams int[], event_requests int[],
    types text[], sources text[], event_types int[], ids uuid[], data json[],
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
                AND recorded.type = types[given.type]
                AND recorded.source = sources[given.type]
                AND recorded.data::text = given.data::text AS same
        FROM unnest(event_requests, ids, event_types, data) WITH ORDINALITY AS given (request, id, type, data, index)
        LEFT JOIN events.event_ids AS known
            ON known.tenant = tenants[stream_tenants[request_streams[given.request]]] AND known.id = given.id
        LEFT JOIN events.events AS recorded ON recorded.position = known.position
    ),
    request AS (
        SELECT
            event.request,
            CASE
                WHEN count(event.position) = 0 AND max(event.occurrences) = 1 THEN 'new'
                WHEN bool_and(event.same IS TRUE) AND min(event.shift) = max(event.shift) THEN 'duplicate'
                ELSE 'reused'
            END AS outcome,
            min(event.position) AS position,
            max(event.version) AS version,
            (array_agg(event.id ORDER BY event.same, event.occurrences DESC, event.position, event.index))[1] AS id
        FROM event
        GROUP BY event.request
    )
    SELECT
        array_agg(request.outcome ORDER BY request.request),
        array_agg(request.position ORDER BY request.request),
        array_agg(request.version ORDER BY request.request),
        array_agg(CASE WHEN request.outcome = 'reused' THEN request.id END ORDER BY request.request)
    FROM request
$$;

-- Record the events of the accepted requests only.
CREATE FUNCTION events.record_accepted(
    accepted_from bigint, outcomes text[], offset_shift bigint[],
    tenants text[], stream_tenants int[], streams text[], stream_added bigint[],
    request_streams int[], event_requests int[], types text[], sources text[],
    event_types int[], ids uuid[], times bigint[], traceparents text[], data json[]
) RETURNS void
LANGUAGE sql AS $$
    WITH stream AS (
        SELECT named.*, row_number() OVER (ORDER BY named.slot) AS index
        FROM unnest(stream_tenants, streams, stream_added) WITH ORDINALITY AS named (tenant, name, added, slot)
        WHERE named.added > 0
    ),
    event AS (
        SELECT given.*, stream.index AS stream_index, offset_shift[given.request] + given.index AS stream_offset
        FROM unnest(event_requests, event_types, ids, times, traceparents, data)
            WITH ORDINALITY AS given (request, type, id, time, traceparent, data, index)
        JOIN stream ON stream.slot = request_streams[given.request]
        WHERE outcomes[given.request] = 'appended'
    ),
    accepted_streams AS (
        SELECT
            array_agg(tenant ORDER BY index) AS tenants, array_agg(name ORDER BY index) AS names,
            array_agg(-1::bigint) AS expected, array_agg(added ORDER BY index) AS added
        FROM stream
    ),
    accepted_events AS (
        SELECT
            array_agg(stream_index::int ORDER BY index) AS streams, array_agg(stream_offset ORDER BY index) AS offsets,
            array_agg(type ORDER BY index) AS types, array_agg(id ORDER BY index) AS ids,
            array_agg(time ORDER BY index) AS times, array_agg(traceparent ORDER BY index) AS traceparents,
            array_agg(data ORDER BY index) AS data
        FROM event
    )
    SELECT events.record(accepted_from, record_accepted.tenants, s.tenants, s.names, s.expected, s.added,
        record_accepted.types, sources, e.streams, e.offsets, e.types, e.ids, e.times,
        e.traceparents, e.data)
    FROM accepted_streams AS s, accepted_events AS e
$$;

-- Append a batch in which one id occurs twice: whether the second is a repetition depends on the outcome of the first,
-- so each request must find what its predecessors left.
CREATE FUNCTION events.append_singly(
    accepted_from bigint, tenants text[], stream_tenants int[], streams text[], requests json,
    types text[], sources text[],
    event_types int[], ids uuid[], times bigint[], traceparents text[], data json[],
    OUT accepted_to bigint, OUT outcomes text[], OUT positions bigint[], OUT versions bigint[], OUT reused uuid[]
)
LANGUAGE plpgsql AS $$
DECLARE
    request json;
    one record;
    head int := 1;
    tail int;
BEGIN
    accepted_to := accepted_from - 1;
    FOR request IN SELECT json_array_elements(requests) LOOP
        tail := head + (request ->> 1)::int - 1;
        SELECT * INTO one FROM events.append_judged(
            accepted_to + 1, tenants, stream_tenants, streams, json_build_array(request), types, sources,
            event_types[head:tail], ids[head:tail], times[head:tail], traceparents[head:tail], data[head:tail]);
        accepted_to := one.accepted_to;
        outcomes := outcomes || one.outcomes;
        positions := positions || one.positions;
        versions := versions || one.versions;
        reused := reused || one.reused;
        head := tail + 1;
    END LOOP;
END;
$$;

REVOKE ALL ON FUNCTION
    events.append_judged, events.judge_ids, events.record_accepted, events.append_singly FROM PUBLIC;
