DROP FUNCTION processor.claim(text, int, double precision, int, int);

-- Up to `wanted` jobs with what a worker must know of them: the version of each, the trace that its first event belongs
-- to, and of one that has not begun that event itself. If there are none, a row without a job says whether there may be
-- more.
CREATE FUNCTION processor.claim(
    by_worker text, wanted int, lease_seconds double precision, computing int, per_tenant int)
RETURNS TABLE (
    more boolean, tenant text, job_id uuid, token bigint, failures int, lost boolean, under_way boolean, mail boolean,
    computes boolean, version bigint, created json, traceparent text)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    claimed record := processor.take(by_worker, wanted, lease_seconds, computing, per_tenant);
BEGIN
    -- A statement of its own: one that began before a job was there would not see it, although it has just taken it.
    RETURN QUERY
    SELECT
        claimed.more,
        one.tenant, one.job_id, one.token, one.failures, one.lost, one.under_way, one.mail, one.computes, job.version,
        CASE WHEN job.status = 'PENDING' THEN first.data END, first.traceparent
    FROM unnest(claimed.mine) AS one
    CROSS JOIN LATERAL (
        SELECT * FROM processor.jobs AS job WHERE job.tenant = one.tenant AND job.id = one.job_id OFFSET 0
    ) AS job
    LEFT JOIN LATERAL (
        SELECT event.data, event.traceparent FROM events.events AS event
        WHERE event.version = 1 AND event.stream_id = (
            SELECT stream.id FROM events.streams AS stream
            WHERE stream.tenant = one.tenant AND stream.stream = 'job:' || one.job_id::text)
        OFFSET 0
    ) AS first ON true
    UNION ALL
    SELECT claimed.more, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    WHERE cardinality(claimed.mine) = 0;
END;
$$;
