-- Which job a worker may work on, and what is said to it.

-- name: claim
-- Take up to $2 jobs for $3 seconds, those that compute only if $4, and none of a tenant that holds $5. Of one that has
-- not begun, its first event comes along.
SELECT
    mine.tenant, mine.job_id, mine.token, mine.failures, mine.lost, mine.under_way, job.version,
    CASE WHEN job.status = 'PENDING' THEN (
        SELECT event.data FROM events.events AS event
        WHERE event.version = 1 AND event.stream_id = (
            SELECT stream.id FROM events.streams AS stream
            WHERE stream.tenant = mine.tenant AND stream.stream = 'job:' || mine.job_id::text)
    ) END AS created
FROM processor.claim($1, $2, $3, $4, $5) AS mine
JOIN processor.jobs AS job ON job.tenant = mine.tenant AND job.id = mine.job_id;

-- name: renew
-- Hold these jobs for $4 more seconds. Those that somebody else has taken are not returned.
WITH held AS (
    UPDATE processor.queue AS job SET expires_at = now() + make_interval(secs => $4)
    FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS mine (tenant, job_id, token)
    WHERE job.tenant = mine.tenant AND job.job_id = mine.job_id
        AND job.token = mine.token AND job.worker IS NOT NULL
    RETURNING job.tenant, job.job_id, job.token
)
SELECT tenant, job_id, token, set_config('synchronous_commit', 'off', true) FROM held;

-- name: let_go
-- The job waits: nobody need look at it for $4 seconds, unless it has mail.
UPDATE processor.queue
SET worker = NULL, failures = 0, under_way = under_way AND NOT $5,
    due_at = CASE
        WHEN mail THEN now()
        WHEN $4::double precision IS NULL THEN 'infinity'
        ELSE now() + make_interval(secs => $4)
    END
WHERE tenant = $1 AND job_id = $2 AND token = $3;

-- name: give_back
-- Its holder could not go on. Somebody may try again after $4 seconds; $5 counts as failures.
UPDATE processor.queue
SET worker = NULL, failures = failures + $5, due_at = now() + make_interval(secs => $4)
WHERE tenant = $1 AND job_id = $2 AND token = $3;

-- name: release_all
-- At a worker's orderly end: anybody may take its jobs at once, and none has failed.
UPDATE processor.queue SET worker = NULL, due_at = now() WHERE worker = $1;

-- name: collect
-- Which of a worker's jobs have mail. It counts as collected.
UPDATE processor.queue SET mail = false WHERE worker = $1 AND mail RETURNING tenant, job_id;

-- name: mail
-- What is said to these jobs, in the order in which it was said.
SELECT mail.id, mail.tenant, mail.job_id, mail.kind, mail.data
FROM unnest($1::text[], $2::uuid[]) AS mine (tenant, job_id)
JOIN processor.mail ON mail.tenant = mine.tenant AND mail.job_id = mine.job_id
ORDER BY mail.posted_at, mail.id;

-- name: discard
-- What the log has recorded, or will not.
DELETE FROM processor.mail WHERE id = ANY ($1::uuid[]);

-- name: post
-- Say something to a job. False if it is finished, or there is none.
SELECT processor.post($1, $2, $3, $4, $5);

-- name: unblock_all
-- Whoever waits for a limit looks again.
UPDATE processor.queue SET blocked_by = NULL WHERE blocked_by IS NOT NULL;

-- name: place
-- How a job stands in the queue, and how many of its tenant come before it.
SELECT
    job.priority, job.due_at, job.due_at > now() AS not_yet, job.blocked_by, job.worker IS NOT NULL AS held,
    job.workflow_limit, job.key_limit, job.key,
    (
        SELECT count(*) FROM processor.queue AS other
        WHERE other.tenant = job.tenant AND other.worker IS NULL AND other.blocked_by IS NULL
            AND other.due_at <= now()
            AND (other.priority > job.priority
                OR other.priority = job.priority AND (other.due_at, other.job_id) < (job.due_at, job.job_id))
    ) AS before,
    (
        SELECT count(*) FROM processor.queue AS other
        WHERE other.tenant = job.tenant AND other.workflow = job.workflow AND other.blocked_by IS NOT DISTINCT FROM job.blocked_by
            AND (job.blocked_by = 'workflow' OR other.key = job.key)
            AND (other.priority > job.priority
                OR other.priority = job.priority AND (other.due_at, other.job_id) < (job.due_at, job.job_id))
    ) AS blocked_before
FROM processor.queue AS job
WHERE job.tenant = $1 AND job.job_id = $2;
