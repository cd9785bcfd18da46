-- Reading jobs and workflows.

-- name: job
SELECT
    id, workflow, workflow_version, status, sub_status, progress_percent, eta_seconds, current_step, step_message,
    version, attempts, priority, key, start_at, parent, retry_of, schedule, input, result, error,
    created_at, started_at, finished_at, updated_at
FROM processor.jobs
WHERE tenant = $1 AND id = $2;

-- name: jobs
-- Newest first, older than $2 (ids rise with time), filtered. $1 tenant, $3 limit, $4 status, $5 workflow, $6 created
-- after, $7 created before, $8 sub-status, $9 schedule.
SELECT
    id, workflow, workflow_version, status, sub_status, progress_percent, eta_seconds, current_step, step_message,
    version, attempts, priority, key, start_at, parent, retry_of, schedule, input, result, error,
    created_at, started_at, finished_at, updated_at
FROM processor.jobs
WHERE tenant = $1
    AND ($2::uuid IS NULL OR id < $2)
    AND ($4::text IS NULL OR status = $4)
    AND ($5::text IS NULL OR workflow = $5)
    AND ($6::timestamptz IS NULL OR created_at > $6)
    AND ($7::timestamptz IS NULL OR created_at < $7)
    AND ($8::text IS NULL OR sub_status = $8)
    AND ($9::uuid IS NULL OR schedule = $9)
ORDER BY id DESC
LIMIT $3;

-- name: steps
-- The steps of a job as a whole, in the order in which they began; the items of maps are counted. What undoes a map has
-- no row of its own, and as many items as were begun to be undone.
SELECT * FROM (
    SELECT
        step.step AS id, step.status, step.attempt, step.output, step.error, step.due_at, step.child, step.reused,
        step.items, items.completed AS items_completed, items.failed AS items_failed,
        step.started_at, step.finished_at
    FROM processor.steps AS step
    LEFT JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE item.status = 'COMPLETED') AS completed,
            count(*) FILTER (WHERE item.status = 'FAILED') AS failed
        FROM processor.steps AS item
        WHERE item.tenant = step.tenant AND item.job_id = step.job_id AND item.step = step.step AND item.item >= 0
    ) AS items ON step.items IS NOT NULL
    WHERE step.tenant = $1 AND step.job_id = $2 AND step.item = -1 AND step.step <> 'job'
    UNION ALL
    SELECT
        step,
        coalesce(
            min(status) FILTER (WHERE finished_at IS NULL),
            min(status) FILTER (WHERE status = 'FAILED'),
            min(status) FILTER (WHERE status <> 'SKIPPED'),
            'SKIPPED'),
        max(attempt), NULL, (array_agg(error ORDER BY item) FILTER (WHERE status = 'FAILED'))[1],
        min(due_at), NULL, false,
        count(*)::int, count(*) FILTER (WHERE status = 'COMPLETED'), count(*) FILTER (WHERE status = 'FAILED'),
        min(coalesce(started_at, finished_at)), CASE WHEN bool_and(finished_at IS NOT NULL) THEN max(finished_at) END
    FROM processor.steps
    WHERE tenant = $1 AND job_id = $2 AND item >= 0 AND step >= 'compensate:' AND step < 'compensate;'
    GROUP BY step
) AS step
ORDER BY coalesce(started_at, finished_at), id;

-- name: items
-- The items of a map that have ended, wait or are tried again, after $4.
SELECT item AS id, status, attempt, output, error, due_at, child, reused, started_at, finished_at
FROM processor.steps
WHERE tenant = $1 AND job_id = $2 AND step = $3 AND item > $4
ORDER BY item
LIMIT $5;

-- name: statistics
-- Of the jobs created since $2, by workflow: how many there are in each state, how long they waited and ran.
SELECT
    workflow,
    count(*) FILTER (WHERE status = 'PENDING') AS pending,
    count(*) FILTER (WHERE status = 'PROCESSING') AS processing,
    count(*) FILTER (WHERE status = 'COMPLETED') AS completed,
    count(*) FILTER (WHERE status = 'FAILED') AS failed,
    count(*) FILTER (WHERE status = 'CANCELLED') AS cancelled,
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
        ORDER BY extract(epoch FROM started_at - greatest(created_at, start_at))) AS wait_seconds,
    percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
        ORDER BY extract(epoch FROM finished_at - started_at)) AS run_seconds,
    min(created_at) FILTER (WHERE status = 'PENDING') AS oldest_pending_at
FROM processor.jobs
WHERE tenant = $1 AND created_at >= $2 AND ($3::text IS NULL OR workflow = $3)
GROUP BY workflow
ORDER BY workflow;

-- name: job_by_event
-- The job that an event has begun.
SELECT event.stream, event.data
FROM events.event_ids AS known
JOIN events.events AS event ON event.position = known.position
WHERE known.tenant = $1 AND known.id = $2;

-- name: signalled
-- What was said first under an id: as the event $3 has it, or the mail $2 that its job has not heard yet.
SELECT coalesce(
    (
        SELECT event.data
        FROM events.event_ids AS known
        JOIN events.events AS event ON event.position = known.position
        WHERE known.tenant = $1 AND known.id = $3
    ),
    (SELECT data FROM processor.mail WHERE tenant = $1 AND id = $2));

-- name: map_sizes
-- How many items each map of a job has that was begun.
SELECT step, items FROM processor.steps
WHERE tenant = $1 AND job_id = $2 AND item = -1 AND items IS NOT NULL;

-- name: unfinished_unique
SELECT job_id FROM processor.queue WHERE tenant = $1 AND workflow = $2 AND unique_key = $3;

-- name: workflow_version
SELECT document FROM processor.workflows WHERE tenant = $1 AND name = $2 AND version = $3;

-- name: newest_version
SELECT version, retired_at FROM processor.workflows WHERE tenant = $1 AND name = $2
ORDER BY version DESC LIMIT 1;

-- name: there_are
-- Which of these jobs were started.
SELECT id FROM processor.jobs WHERE tenant = $1 AND id = ANY ($2::uuid[]);

-- name: is_awaited
-- Whether this step of the job $2 waits for the job $5.
SELECT EXISTS (
    SELECT FROM processor.steps
    WHERE tenant = $1 AND job_id = $2 AND step = $3 AND item = $4 AND child = $5 AND status = 'WAITING');

-- name: how_it_ended
SELECT status, result, error FROM processor.jobs WHERE tenant = $1 AND id = $2;

-- name: has_ancestor
-- Whether a job, or one that waits for it, is of the workflow $3, and has the key $4 if that is given.
WITH RECURSIVE line AS (
    SELECT workflow, key, parent FROM processor.jobs WHERE tenant = $1 AND id = $2
    UNION ALL
    SELECT job.workflow, job.key, job.parent
    FROM line
    JOIN processor.jobs AS job ON job.tenant = $1 AND job.id = (line.parent ->> 'job_id')::uuid
)
SELECT EXISTS (SELECT FROM line WHERE workflow = $3 AND ($4::text IS NULL OR key = $4));

-- name: names
-- The workflows that can be started, the newest version of which is not retired.
SELECT DISTINCT name FROM processor.workflows AS workflow WHERE tenant = $1 AND retired_at IS NULL LIMIT 100;

-- name: waiting_steps
-- The steps and items of a job that wait, or are tried again; as many as somebody may want to read.
SELECT
    step.step, step.item, step.status, step.attempt, step.due_at, step.child, step.output ->> 'question' AS question,
    task.created_at AS since, task.taken_at, task.worker
FROM processor.steps AS step
LEFT JOIN processor.remote_tasks AS task ON task.id = step.child
WHERE step.tenant = $1 AND step.job_id = $2 AND step.status IN ('WAITING', 'RETRYING')
ORDER BY coalesce(step.started_at, step.updated_at), step.step, step.item
LIMIT 100;

-- name: retryable
-- Jobs that have failed or were cancelled, the oldest first, and were not retried yet. A retry of one that is a step of
-- another would be nobody's: that one's own retry does it again.
SELECT id FROM processor.jobs AS job
WHERE tenant = $1 AND status IN ('FAILED', 'CANCELLED') AND ($2::text IS NULL OR status = $2)
    AND ($3::text IS NULL OR workflow = $3)
    AND ($4::timestamptz IS NULL OR created_at > $4)
    AND ($5::timestamptz IS NULL OR created_at < $5)
    AND parent IS NULL
    AND NOT EXISTS (SELECT FROM processor.jobs AS again WHERE again.tenant = job.tenant AND again.retry_of = job.id)
ORDER BY id
LIMIT $6;

-- name: retries
-- How many a job has, and one that is not finished.
SELECT
    count(*) AS so_far,
    (array_agg(id) FILTER (WHERE status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')))[1] AS unfinished
FROM processor.jobs WHERE tenant = $1 AND retry_of = $2;

-- name: editions
-- The newest version of each workflow, by name, after $2.
SELECT DISTINCT ON (name) name, version, published_at, published_by, retired_at
FROM processor.workflows
WHERE tenant = $1 AND ($2::text IS NULL OR name > $2)
ORDER BY name, version DESC
LIMIT $3;

-- name: one_version
SELECT name, version, document, published_at, published_by, retired_at
FROM processor.workflows WHERE tenant = $1 AND name = $2 AND ($3::int IS NULL OR version = $3)
ORDER BY version DESC LIMIT 1;

-- name: versions
-- All versions of a workflow, the newest first.
SELECT name, version, published_at, published_by, retired_at
FROM processor.workflows WHERE tenant = $1 AND name = $2 AND ($3::int IS NULL OR version < $3)
ORDER BY version DESC LIMIT $4;
