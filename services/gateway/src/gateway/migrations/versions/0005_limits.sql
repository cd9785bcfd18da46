-- Who has spent how much. UNLOGGED: it costs no fsync, and is empty after a crash of the server; then every bucket is full.

-- A bucket fills at a steady rate. One number says it all: when it will be full again (GCRA's theoretical arrival
-- time), in nanoseconds of the database's clock. A bucket without a row is full.
CREATE UNLOGGED TABLE gateway.buckets (
    bucket text COLLATE "C" PRIMARY KEY,
    full_at bigint NOT NULL
) WITH (fillfactor = 50);  -- room for the next version on the same page; full_at has no index for the same reason

-- The latest connects of one principal to one path, oldest first.
CREATE UNLOGGED TABLE gateway.connects (
    place text COLLATE "C" PRIMARY KEY,
    times bigint[] NOT NULL
) WITH (fillfactor = 50);

CREATE FUNCTION gateway.clock_ns() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000;

-- Decides many requests in one call, in their order: each spends one from all of its buckets, or nothing from any.
--
-- `buckets` are distinct; each gains one per `intervals` ns and holds at most `capacities` ns of it. `uses` are places in
-- `buckets`, request after request; `ends` says where each request's uses end.
-- Returns for each request whether it is admitted, and for each use how many ns its bucket now is from being full.
--
-- All rows are locked in the order of their names, in one statement, before the clock is read: two calls never wait for
-- each other in a circle, and none decides by a time from before its turn.
CREATE FUNCTION gateway.spend(
    buckets text[], intervals bigint[], capacities bigint[], uses integer[], ends integer[],
    OUT admitted boolean[], OUT owed bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    now_ns bigint;
    before bigint[];
    debts bigint[];
    request integer := 0;
    first integer := 1;
    last integer;
    fits boolean;
BEGIN
    INSERT INTO gateway.buckets AS kept (bucket, full_at)
    SELECT asked.bucket, 0 FROM unnest(buckets) AS asked (bucket) ORDER BY asked.bucket COLLATE "C"
    ON CONFLICT (bucket) DO UPDATE SET full_at = kept.full_at WHERE false;  -- changes nothing, but locks

    now_ns := gateway.clock_ns();
    -- A clock that was set back, or a bucket that was made smaller, owes no more than one whole bucket.
    SELECT array_agg(least(greatest(kept.full_at - now_ns, 0), asked.capacity) ORDER BY asked.place) INTO before
    FROM unnest(buckets, capacities) WITH ORDINALITY AS asked (bucket, capacity, place)
    JOIN gateway.buckets AS kept ON kept.bucket = asked.bucket;

    debts := before;
    FOREACH last IN ARRAY ends LOOP
        fits := true;
        FOR i IN first..last LOOP
            fits := fits AND debts[uses[i]] + intervals[uses[i]] <= capacities[uses[i]];
        END LOOP;
        FOR i IN first..last LOOP
            IF fits THEN
                debts[uses[i]] := debts[uses[i]] + intervals[uses[i]];
            END IF;
            owed[i] := debts[uses[i]];
        END LOOP;
        request := request + 1;
        admitted[request] := fits;
        first := last + 1;
    END LOOP;

    UPDATE gateway.buckets AS kept SET full_at = now_ns + spent.debt
    FROM unnest(buckets, before, debts) AS spent (bucket, before, debt)
    WHERE kept.bucket = spent.bucket AND spent.debt > spent.before;
END
$$;

-- Counts a connect, and says how many there were in the last `span` ns with this one, and how many ns it takes until
-- fewer than `free` are left of them. Beyond `most` it is not counted: who waits long enough always gets in.
CREATE FUNCTION gateway.connect(place text, span bigint, free integer, most integer, OUT connects integer, OUT wait bigint)
LANGUAGE plpgsql AS $$
DECLARE
    now_ns bigint;
    recent bigint[];
BEGIN
    INSERT INTO gateway.connects AS kept VALUES (connect.place, '{}')
    ON CONFLICT ON CONSTRAINT connects_pkey DO UPDATE SET times = kept.times WHERE false;

    now_ns := gateway.clock_ns();
    SELECT coalesce(array_agg(past.at ORDER BY past.at), '{}') INTO recent
    FROM gateway.connects AS kept, unnest(kept.times) AS past (at)
    WHERE kept.place = connect.place AND past.at > now_ns - span AND past.at <= now_ns;

    connects := cardinality(recent) + 1;
    IF connects <= most THEN
        recent := recent || now_ns;
        UPDATE gateway.connects AS kept SET times = recent WHERE kept.place = connect.place;
    END IF;
    wait := CASE WHEN connects > free THEN recent[cardinality(recent) - free + 1] + span - now_ns ELSE 0 END;
END
$$;
