-- name: claim
-- Take the oldest job that nobody holds. $1 holder, $2 seconds. The token counts the holders that it has had.
WITH open AS (
    SELECT job.tenant, job.id
    FROM processor.jobs AS job
    LEFT JOIN processor.leases AS lease ON lease.tenant = job.tenant AND lease.job_id = job.id
    WHERE job.status IN ('PENDING', 'PROCESSING') AND (lease.job_id IS NULL OR lease.expires_at <= now())
    ORDER BY job.created_at, job.id
    LIMIT 1
    FOR UPDATE OF job SKIP LOCKED
)
INSERT INTO processor.leases AS lease (tenant, job_id, token, holder, expires_at)
SELECT open.tenant, open.id, 1, $1, now() + make_interval(secs => $2) FROM open
ON CONFLICT (tenant, job_id) DO UPDATE
SET token = lease.token + 1, holder = excluded.holder, expires_at = excluded.expires_at
WHERE lease.expires_at <= now()
RETURNING lease.tenant, lease.job_id, lease.token;

-- name: renew
-- The lease, if it is still ours. $1 tenant, $2 job, $3 token, $4 seconds.
UPDATE processor.leases SET expires_at = now() + make_interval(secs => $4)
WHERE tenant = $1 AND job_id = $2 AND token = $3 AND expires_at > now()
RETURNING token;

-- name: release
-- Let somebody else have the job at once. The row stays, so that the token goes on rising.
UPDATE processor.leases SET expires_at = now() WHERE tenant = $1 AND job_id = $2 AND token = $3;

-- name: forget
-- The job is finished: nobody will claim it again.
DELETE FROM processor.leases WHERE tenant = $1 AND job_id = $2 AND token = $3;

-- name: job
SELECT job.*, coalesce(lease.token, 0) AS attempts
FROM processor.jobs AS job
LEFT JOIN processor.leases AS lease ON lease.tenant = job.tenant AND lease.job_id = job.id
WHERE job.tenant = $1 AND job.id = $2;

-- name: jobs
-- Newest first, older than a given one, filtered. $1 tenant, $2 cursor, $3 limit, $4 status, $5 workflow, $6 and $7 time.
SELECT * FROM processor.jobs
WHERE tenant = $1
    AND ($2::uuid IS NULL OR id < $2)
    AND ($4::text IS NULL OR status = $4)
    AND ($5::text IS NULL OR workflow = $5)
    AND ($6::timestamptz IS NULL OR created_at > $6)
    AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY id DESC
LIMIT $3;
