-- Reading jobs. How often a job was begun is counted in its stream, which is short.

-- name: job
SELECT
    job.tenant, job.id, job.workflow, job.status, job.progress_percent, job.current_step, job.step_message,
    job.version, job.input, job.result, job.error,
    job.created_at, job.started_at, job.finished_at, job.updated_at,
    (
        SELECT count(*)
        FROM events.streams AS stream
        JOIN events.events AS event ON event.stream_id = stream.id
        WHERE stream.tenant = job.tenant AND stream.stream = 'job:' || job.id::text
            AND event.type IN ('job.started', 'job.claimed')
    ) AS attempts
FROM processor.jobs AS job
WHERE job.tenant = $1 AND job.id = $2;

-- name: jobs
-- Newest first, older than $2 (ids rise with time), filtered. $1 tenant, $3 limit, $4 status, $5 workflow, $6 created
-- after, $7 created before.
SELECT
    job.tenant, job.id, job.workflow, job.status, job.progress_percent, job.current_step, job.step_message,
    job.version, job.input, job.result, job.error,
    job.created_at, job.started_at, job.finished_at, job.updated_at,
    (
        SELECT count(*)
        FROM events.streams AS stream
        JOIN events.events AS event ON event.stream_id = stream.id
        WHERE stream.tenant = job.tenant AND stream.stream = 'job:' || job.id::text
            AND event.type IN ('job.started', 'job.claimed')
    ) AS attempts
FROM processor.jobs AS job
WHERE job.tenant = $1
    AND ($2::uuid IS NULL OR job.id < $2)
    AND ($4::text IS NULL OR job.status = $4)
    AND ($5::text IS NULL OR job.workflow = $5)
    AND ($6::timestamptz IS NULL OR job.created_at > $6)
    AND ($7::timestamptz IS NULL OR job.created_at < $7)
ORDER BY job.id DESC
LIMIT $3;

-- name: job_to_move
-- Where a job is now, for whoever is to move it on.
SELECT workflow, input, version, status, progress_percent, current_step, step_message
FROM processor.jobs
WHERE tenant = $1 AND id = $2;
