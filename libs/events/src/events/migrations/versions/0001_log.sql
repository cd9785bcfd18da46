-- The log. Names are compared bytewise: that is faster than by a locale, and the same on every server.

-- One row. An append holds its lock from before its first read until its commit, so positions are dense, rise in
-- commit order, and are never given back.
CREATE TABLE events.head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),  -- the log's identity: give a restored log another one
    position bigint NOT NULL DEFAULT 0,  -- of the newest event
    covered bigint NOT NULL DEFAULT 0,  -- partitions exist up to this position
    partition_size bigint NOT NULL DEFAULT 10000000 CHECK (partition_size > 0)
) WITH (fillfactor = 10);

INSERT INTO events.head DEFAULT VALUES;

-- Every fact. `data` is json and not jsonb, so that the producer's bytes come back as they were.
CREATE TABLE events.events (
    position bigint PRIMARY KEY,
    version bigint NOT NULL,  -- the place in the stream: 1, 2, 3 with no hole
    stream_id bigint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    type text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    traceparent text COLLATE "C",
    data json NOT NULL
) PARTITION BY RANGE (position);

-- By number, because an index of names would be three times as large and half as fast.
CREATE INDEX events_by_stream ON events.events (stream_id, version);

-- What makes an append idempotent. A unique key on `events` would have to contain the position.
CREATE TABLE events.event_ids (
    tenant text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- Every stream that has an event, or is reserved: promised to a client before its first event, at version 0.
CREATE TABLE events.streams (
    id bigint GENERATED ALWAYS AS IDENTITY,
    tenant text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL CHECK (length(stream) <= 161 AND strpos(stream, ':') > 1),
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, stream)
) WITH (fillfactor = 70);  -- a version changes no index, so a row's new versions stay on its page

-- Make partitions until the log has room up to `last`. The caller holds the head.
CREATE FUNCTION events.cover(last bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    reach bigint;
    size bigint;
    partition text;
BEGIN
    SELECT head.covered, head.partition_size INTO reach, size FROM events.head;
    WHILE reach < last LOOP
        partition := format('events_from_%s', reach + 1);
        -- ATTACH, unlike CREATE TABLE … PARTITION OF, lets readers of the log go on.
        EXECUTE format('CREATE TABLE events.%I (LIKE events.events INCLUDING ALL)', partition);
        EXECUTE format(
            'ALTER TABLE events.events ATTACH PARTITION events.%I FOR VALUES FROM (%s) TO (%s)',
            partition, reach + 1, reach + size + 1
        );
        reach := reach + size;
    END LOOP;
    UPDATE events.head SET covered = reach;
END;
$$;

SELECT events.cover(1);

-- Promise a stream before its first event. Does nothing if it exists. Runs in the caller's transaction.
CREATE FUNCTION events.reserve(tenant text, stream text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO events.streams (tenant, stream) VALUES (tenant, stream) ON CONFLICT DO NOTHING
$$;

-- Which of these events the log holds, as indexes of the arrays.
CREATE FUNCTION events.known(tenants text[], ids uuid[]) RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT asked.index
    FROM unnest(tenants, ids) WITH ORDINALITY AS asked (tenant, id, index)
    JOIN events.event_ids AS known ON known.tenant = asked.tenant AND known.id = asked.id
    ORDER BY asked.index
$$;

-- Nobody inserts: `events.append` and `events.reserve` run as their owner.
REVOKE ALL ON FUNCTION events.cover, events.reserve, events.known FROM PUBLIC;
GRANT USAGE ON SCHEMA events TO millrace_reader, millrace_reserver, millrace_appender;
GRANT SELECT ON events.head, events.events, events.event_ids, events.streams TO millrace_reader;
GRANT EXECUTE ON FUNCTION events.reserve, events.known TO millrace_reserver;
