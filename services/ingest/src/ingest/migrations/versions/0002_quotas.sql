-- How many bytes a tenant has uploaded in a day or a month of UTC, those included that are reserved for uploads on their way.
-- Counted only while there is a quota.
CREATE TABLE ingest.usage (
    tenant text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL CHECK (period IN ('day', 'month')),
    starts date NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (tenant, period, starts)
);

-- What is reserved for uploads on their way. Who stops renewing loses it.
CREATE TABLE ingest.reservations (
    upload_id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    bytes bigint NOT NULL,
    starts date NOT NULL,  -- the day that it is counted for
    due_at timestamptz NOT NULL
);

CREATE INDEX reservations_by_due ON ingest.reservations (due_at);

-- Adds to what a tenant has used on a day and in its month. The day's row is always locked before the month's.
CREATE FUNCTION ingest.use(tenant text, day date, more bigint, OUT in_day bigint, OUT in_month bigint)
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ingest.usage AS kept VALUES (use.tenant, 'day', day, greatest(more, 0))
    ON CONFLICT ON CONSTRAINT usage_pkey DO UPDATE SET bytes = kept.bytes + more
    RETURNING bytes INTO in_day;
    INSERT INTO ingest.usage AS kept VALUES (use.tenant, 'month', date_trunc('month', day), greatest(more, 0))
    ON CONFLICT ON CONSTRAINT usage_pkey DO UPDATE SET bytes = kept.bytes + more
    RETURNING bytes INTO in_month;
END
$$;

-- Reserves for an upload on its way at least `least` more bytes, at most `most`, for `seconds`. `granted` is how many; none
-- if a quota does not allow the least, and then `violated` says which. Rows are locked in the order reservation, day, month.
CREATE FUNCTION ingest.reserve(
    tenant text, upload uuid, least_bytes bigint, most_bytes bigint, per_day bigint, per_month bigint, seconds float8,
    OUT granted bigint, OUT violated text, OUT wait_seconds float8
) LANGUAGE plpgsql AS $$
DECLARE
    utc timestamp := clock_timestamp() AT TIME ZONE 'UTC';
    day date;
    used record;
BEGIN
    SELECT starts INTO day FROM ingest.reservations WHERE upload_id = upload FOR UPDATE;
    day := coalesce(day, utc::date);
    used := ingest.use(reserve.tenant, day, 0);
    granted := least(most_bytes, per_day - used.in_day, per_month - used.in_month);
    IF granted < least_bytes THEN
        granted := 0;
        IF per_month - used.in_month < least_bytes THEN
            violated := 'month';
            wait_seconds := extract(epoch FROM date_trunc('month', day) + interval '1 month' - utc);
        ELSE
            violated := 'day';
            wait_seconds := extract(epoch FROM day + interval '1 day' - utc);
        END IF;
        RETURN;
    END IF;
    PERFORM ingest.use(reserve.tenant, day, granted);
    INSERT INTO ingest.reservations AS kept
    VALUES (upload, reserve.tenant, granted, day, now() + make_interval(secs => seconds))
    ON CONFLICT (upload_id) DO UPDATE SET bytes = kept.bytes + granted, due_at = excluded.due_at;
END
$$;

-- Ends a reservation: what the upload has really taken is counted, and the rest is free again. False if it was lost.
CREATE FUNCTION ingest.settle(upload uuid, taken bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    reserved ingest.reservations;
BEGIN
    DELETE FROM ingest.reservations WHERE upload_id = upload RETURNING * INTO reserved;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM ingest.use(reserved.tenant, reserved.starts, taken - reserved.bytes);
    RETURN true;
END
$$;
