-- name: note
-- Waits for whoever removes the job's files just now: then it is noted anew.
INSERT INTO processor.job_files (tenant, job_id) VALUES ($1, $2)
ON CONFLICT (tenant, job_id) DO UPDATE SET noted_at = now();

-- name: over
-- Jobs of whose files only the artifacts are needed: they are completed, or ended otherwise more than $1 seconds ago, and
-- so have all that retry them, or that retry these. In no order: those that cannot be removed must not keep the others.
SELECT noted.tenant, noted.job_id
FROM processor.job_files AS noted
JOIN processor.jobs AS job ON job.tenant = noted.tenant AND job.id = noted.job_id
WHERE (job.status = 'COMPLETED' OR job.finished_at < now() - make_interval(secs => $1))
    AND NOT EXISTS (
        WITH RECURSIVE retries AS (
            SELECT retry.id, retry.status, retry.finished_at
            FROM processor.jobs AS retry WHERE retry.tenant = job.tenant AND retry.retry_of = job.id
            UNION ALL
            SELECT retry.id, retry.status, retry.finished_at
            FROM retries
            JOIN processor.jobs AS retry ON retry.tenant = job.tenant AND retry.retry_of = retries.id
        )
        SELECT FROM retries
        WHERE finished_at IS NULL OR (status <> 'COMPLETED' AND finished_at >= now() - make_interval(secs => $1)))
ORDER BY random()
LIMIT $2;

-- name: lock
-- Until its files are removed. Nothing is returned if somebody is at it, or they are gone.
SELECT job_id FROM processor.job_files WHERE tenant = $1 AND job_id = $2 FOR UPDATE SKIP LOCKED;

-- name: forget
DELETE FROM processor.job_files WHERE tenant = $1 AND job_id = $2;

-- name: artifacts
-- The blobs that a job has told of; and those that a step may have copied before steps told of them.
SELECT made.blob
FROM processor.steps AS step CROSS JOIN json_to_recordset(step.artifacts) AS made (blob text)
WHERE step.tenant = $1 AND step.job_id = $2 AND step.artifacts IS NOT NULL
UNION
SELECT output ->> 'blob' FROM processor.steps
WHERE tenant = $1 AND job_id = $2 AND json_typeof(output) = 'object' AND output ->> 'blob' LIKE 'artifacts/%';
