-- Which job a worker may work on.

-- name: claim
-- Take up to $2 jobs that nobody holds, for $3 seconds.
SELECT tenant, job_id, token, failures FROM processor.claim($1, $2, $3);

-- name: renew
-- Hold these leases for $4 more seconds. Those that somebody else has taken are not returned.
WITH held AS (
    UPDATE processor.leases AS lease SET expires_at = now() + make_interval(secs => $4)
    FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS mine (tenant, job_id, token)
    WHERE lease.tenant = mine.tenant AND lease.job_id = mine.job_id
        AND lease.token = mine.token AND lease.worker IS NOT NULL
    RETURNING lease.tenant, lease.job_id, lease.token
)
SELECT tenant, job_id, token, set_config('synchronous_commit', 'off', true) FROM held;

-- name: give_back
-- Nobody takes the job for $4 seconds. $5 counts as failures.
UPDATE processor.leases
SET worker = NULL, failures = failures + $5, expires_at = now() + make_interval(secs => $4)
WHERE tenant = $1 AND job_id = $2 AND token = $3;

-- name: release_all
-- At a worker's orderly end: anybody may take its jobs at once, and none has failed.
UPDATE processor.leases SET worker = NULL, expires_at = now() WHERE worker = $1;

-- name: end_lease
-- The job is finished.
DELETE FROM processor.leases WHERE tenant = $1 AND job_id = $2 AND token = $3;

-- name: sweep
-- Leases that a worker's death left of finished jobs.
DELETE FROM processor.leases AS lease USING processor.jobs AS job
WHERE job.tenant = lease.tenant AND job.id = lease.job_id
    AND job.finished_at IS NOT NULL AND lease.expires_at <= now();

