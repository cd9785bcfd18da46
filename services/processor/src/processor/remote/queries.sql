-- Tasks that are out with remote workers. What a crash of the database may undo without harm (a beat, a mark that a
-- message was sent) does not wait for its disk.

-- name: known
-- Those of a job that were begun to be sent.
SELECT id FROM processor.remote_tasks WHERE tenant = $1 AND job_id = $2;

-- name: send
-- Keep a task until it is sent. Not returned if it was kept before.
INSERT INTO processor.remote_tasks (
    id, tenant, job_id, step, item, attempt, queue, body, traceparent, lost_seconds, look_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))
ON CONFLICT DO NOTHING
RETURNING id;

-- name: sent
-- The broker has it. Whether it still does, somebody looks first after $2 seconds, and then ever more seldom.
UPDATE processor.remote_tasks
SET sent_at = now(), looks = 0,
    look_at = CASE WHEN taken_at IS NULL THEN now() + make_interval(secs => $2) ELSE look_at END
WHERE id = $1
RETURNING set_config('synchronous_commit', 'off', true);

-- name: stop
-- Its worker is not to go on. Returns whether there is one.
UPDATE processor.remote_tasks SET unwanted = true WHERE id = $1
RETURNING taken_at IS NOT NULL AND NOT ended AS taken;

-- name: forget
-- The job has gone on without them; `taken` is whether their workers do not know that. In the order of their ids, as in
-- `ended`, so that nobody waits for somebody who waits for him.
WITH locked AS MATERIALIZED (
    SELECT id FROM processor.remote_tasks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE
),
gone AS (
    DELETE FROM processor.remote_tasks WHERE id IN (SELECT id FROM locked)
    RETURNING id, taken_at IS NOT NULL AND NOT ended AS taken
)
SELECT id, taken, set_config('synchronous_commit', 'off', true) FROM gone;

-- name: beat
-- Its worker lives. Not returned if the task is none of its business any more.
UPDATE processor.remote_tasks AS task
SET worker = $4, taken_at = coalesce(taken_at, now()), beat_at = now(),
    look_at = now() + make_interval(secs => lost_seconds)
WHERE id = $1 AND tenant = $2 AND job_id = $3 AND NOT unwanted AND NOT ended
    AND (taken_at IS NULL OR worker = $4) AND processor.wanted(task)
RETURNING id, set_config('synchronous_commit', 'off', true);

-- name: progressed
-- The same, with how far it is: told to the job at once, unless the job has just heard of it.
WITH said AS (
    UPDATE processor.remote_tasks AS task
    SET worker = $4, taken_at = coalesce(taken_at, now()), beat_at = now(),
        look_at = now() + make_interval(secs => lost_seconds),
        done = $6, message = $7,
        untold = coalesce(told_at > now() - make_interval(secs => $8), false),
        told_at = CASE
            WHEN told_at > now() - make_interval(secs => $8) THEN told_at
            ELSE now()
        END
    WHERE id = $1 AND tenant = $2 AND job_id = $3 AND NOT unwanted AND NOT ended
        AND (taken_at IS NULL OR worker = $4) AND processor.wanted(task)
    RETURNING task
)
SELECT (task).id, CASE WHEN NOT (task).untold THEN processor.post_remote($5, task, json_build_object(
    'done', (task).done, 'message', (task).message)) END, set_config('synchronous_commit', 'off', true)
FROM said;

-- name: ended
-- Workers' last words, $5, which their jobs hear under the ids $6. Not returned if one comes too late, or again. Tasks and
-- jobs in order, so that nobody waits for somebody who waits for him.
WITH locked AS MATERIALIZED (
    SELECT id FROM processor.remote_tasks WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE
),
said AS (
    UPDATE processor.remote_tasks AS task
    SET worker = word.worker, taken_at = coalesce(taken_at, now()), beat_at = now(), ended = true, untold = false,
        look_at = now() + interval '1 hour'
    FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::json[], $6::uuid[])
        AS word (id, tenant, job_id, worker, said, event_id)
    WHERE task.id IN (SELECT id FROM locked) AND task.id = word.id AND task.tenant = word.tenant AND task.job_id = word.job_id AND NOT ended
        AND (taken_at IS NULL OR task.worker = word.worker) AND processor.wanted(task)
    RETURNING task, word.said, word.event_id
)
SELECT event_id, processor.post_remote(event_id, task, said) FROM said ORDER BY (task).tenant, (task).job_id, event_id;

-- name: released
-- Its worker gives it back: it is sent again at once.
UPDATE processor.remote_tasks
SET worker = NULL, taken_at = NULL, sent_at = NULL, look_at = now()
WHERE id = $1 AND tenant = $2 AND job_id = $3 AND NOT unwanted AND NOT ended AND worker = $4
RETURNING id;

-- name: untold
-- Tell jobs of a progress that came too soon after another.
WITH said AS (
    UPDATE processor.remote_tasks AS task SET untold = false, told_at = now()
    WHERE id = (
        SELECT id FROM processor.remote_tasks
        WHERE untold AND told_at <= now() - make_interval(secs => $1)
        ORDER BY told_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING task
)
SELECT processor.post_remote(gen_random_uuid(), task, json_build_object(
    'done', (task).done, 'message', (task).message)) FROM said;

-- name: to_look_after
-- Tasks of which nobody has heard in time. Whoever gets them has so many seconds ($1) to do something about it.
UPDATE processor.remote_tasks AS task SET look_at = now() + make_interval(secs => $1)
WHERE id IN (
    SELECT id FROM processor.remote_tasks
    WHERE look_at <= now()
    ORDER BY look_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
RETURNING id, tenant, queue, body, traceparent, looks, sent_at, ended, lost_seconds,
    taken_at IS NOT NULL AS taken, sent_at < now() - interval '1 hour' AS sent_long_ago, processor.wanted(task) AS wanted;

-- name: untaken
-- How many messages should wait in a queue.
SELECT count(*) FROM processor.remote_tasks WHERE queue = $1 AND taken_at IS NULL AND sent_at IS NOT NULL;

-- name: looked
-- It still waits in its queue, as far as we can tell.
UPDATE processor.remote_tasks
SET looks = looks + 1, look_at = now() + make_interval(secs => $2)
WHERE id = $1 AND taken_at IS NULL
RETURNING set_config('synchronous_commit', 'off', true);

-- name: lost
-- Its worker has been silent for too long. The job hears it, and whatever the worker still says is too late.
WITH gone AS (
    UPDATE processor.remote_tasks AS task SET unwanted = true, look_at = now() + interval '1 hour'
    WHERE id = $1 AND taken_at IS NOT NULL AND NOT ended AND beat_at <= now() - make_interval(secs => lost_seconds)
    RETURNING task
)
SELECT processor.post_remote($2, task, json_build_object('lost', (task).lost_seconds)) FROM gone;
