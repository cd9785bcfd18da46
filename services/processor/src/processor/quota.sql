-- name: take_turn
-- Until the transaction ends, jobs of this tenant are made by nobody else.
SELECT pg_advisory_xact_lock(hashtextextended('processor.jobs of ' || $1, 0));

-- name: count
-- A tenant's open jobs, and those made since the day began (UTC). Ids rise with time, so the key finds the day's; an hour is
-- for the clocks of those who made the ids. What a quota has refused does not count.
SELECT
    (SELECT count(*) FROM processor.jobs WHERE tenant = $1 AND finished_at IS NULL) AS open,
    (
        SELECT count(*) FROM processor.jobs
        WHERE tenant = $1
            AND id >= (
                lpad(to_hex((1000 * extract(epoch FROM day.start - interval '1 hour'))::bigint), 12, '0') || repeat('0', 20)
            )::uuid
            AND created_at >= day.start
            AND error->>'code' IS DISTINCT FROM 'quota_exceeded'
    ) AS today
FROM (SELECT date_trunc('day', now(), 'UTC') AS start) AS day;
