-- Which job a worker may work on, and what is said to it.

-- name: claim
-- Take up to $2 jobs for $3 seconds, up to $4 of them such that compute, and none of a tenant that holds $5. If there are
-- none, a row without a job says whether there may be more.
SELECT more, tenant, job_id, token, failures, lost, under_way, mail, computes, version, created, traceparent
FROM processor.claim($1, $2, $3, $4, $5);

-- name: renew
-- Hold these jobs for $5 more seconds. Those that $1 has no more are not returned.
SELECT tenant, job_id FROM processor.renew($1, $2, $3, $4, $5);

-- name: let_go
-- The job waits: nobody need look at it for $5 seconds, unless it has mail.
SELECT processor.let_go($1, $2, $3, $4, $5, $6);

-- name: give_back
-- Its holder could not go on. Somebody may try again after $5 seconds. $6 failures in a row are added, or, if it is 0, what
-- came before is over.
UPDATE processor.queue AS job
SET worker = NULL, failures = CASE WHEN $6 = 0 THEN 0 ELSE failures + $6 END, blocked_by = NULL,
    due_at = now() + make_interval(secs => $5), ready = false, mail = mail OR processor.has_mail(job)
WHERE tenant = $1 AND job_id = $2 AND token = $3 AND worker IS NOT DISTINCT FROM $4;  -- by its key

-- name: release_all
-- At a worker's orderly end: anybody may take its jobs at once, and none has failed.
SELECT processor.release_all($1);

-- name: collect
-- Which of a worker's jobs have mail. It counts as collected.
SELECT tenant, job_id FROM processor.collect($1);

-- name: collect_one
-- Whether one of a worker's jobs has mail. It counts as collected.
UPDATE processor.queue SET mail = false
WHERE tenant = $1 AND job_id = $2 AND token = $3 AND worker = $4 AND mail
RETURNING true;

-- name: mail
-- What is said to these jobs, in the order in which it was said.
SELECT mail.id, mail.tenant, mail.job_id, mail.kind, mail.data
FROM unnest($1::text[], $2::uuid[]) AS mine (tenant, job_id)
CROSS JOIN LATERAL (
    SELECT * FROM processor.mail WHERE mail.tenant = mine.tenant AND mail.job_id = mine.job_id OFFSET 0
) AS mail
ORDER BY mail.posted_at, mail.id;

-- name: discard
-- What the log has recorded, or will not; by whoever holds the job: to another it may only seem so.
DELETE FROM processor.mail
WHERE id = ANY ($5::uuid[]) AND tenant = $1 AND job_id = $2 AND EXISTS (
    SELECT FROM processor.queue AS job
    WHERE job.tenant = $1 AND job.job_id = $2 AND job.token = $3 AND job.worker IS NOT DISTINCT FROM $4);

-- name: post
-- Say something to a job. False if it is finished, or there is none.
SELECT processor.post($1, $2, $3, $4, $5);

-- name: unblock_all
-- Of those that wait for the same limit, let the first look again.
SELECT processor.unblock_all();

-- name: place
-- How a job stands in the queue.
SELECT
    due_at, NOT ready AND due_at > now() AS not_yet, blocked_by, worker IS NOT NULL AS held,
    workflow_limit, key_limit, key, processor.jobs_before(job) AS jobs_before
FROM processor.queue AS job
WHERE tenant = $1 AND job_id = $2;
