-- What is asked when somebody scrapes the metrics: each looks at so many rows at most.

-- name: readers
-- The newest position; and of each reader of the log how many events it has before it, and how old the first of these is.
SELECT
    head.position,
    checkpoint.name,
    greatest(0, head.position - checkpoint.position) AS events,
    greatest(0, extract(epoch FROM now() - (
        SELECT event.time FROM events.events AS event WHERE event.position = checkpoint.position + 1)))::float8 AS seconds
FROM events.head AS head
LEFT JOIN (SELECT name, position FROM events.checkpoints ORDER BY name LIMIT 50) AS checkpoint ON true;

-- name: jobs
-- Unfinished jobs. $1 is how many seconds a lease lasts.
SELECT
    count(*) FILTER (WHERE worker IS NULL AND NOT under_way AND blocked_by IS NULL AND due_at <= now()) AS waiting,
    count(*) FILTER (WHERE worker IS NULL AND NOT under_way AND blocked_by IS NOT NULL) AS blocked,
    count(*) FILTER (WHERE worker IS NULL AND NOT under_way AND blocked_by IS NULL AND due_at > now()) AS later,
    count(*) FILTER (WHERE worker IS NOT NULL) AS working,
    count(*) FILTER (WHERE worker IS NULL AND under_way) AS resting,
    greatest(0, extract(epoch FROM now() - min(due_at) FILTER (
        WHERE worker IS NULL AND NOT under_way AND blocked_by IS NULL AND due_at <= now())))::float8 AS oldest_waiting,
    greatest(0, $1::float8 - extract(epoch FROM min(expires_at) FILTER (WHERE worker IS NOT NULL) - now()))::float8
        AS oldest_lease
FROM (SELECT worker, under_way, blocked_by, due_at, expires_at FROM processor.queue LIMIT 100000) AS job;

-- name: tenants
-- Unfinished jobs of the 20 tenants that have most of them, and of all others together.
SELECT
    CASE WHEN place <= 20 THEN tenant ELSE 'other' END AS tenant,
    sum(waiting)::bigint AS waiting,
    sum(working)::bigint AS working
FROM (
    SELECT
        tenant,
        count(*) FILTER (WHERE worker IS NULL) AS waiting,
        count(*) FILTER (WHERE worker IS NOT NULL) AS working,
        row_number() OVER (ORDER BY count(*) DESC, tenant) AS place
    FROM (SELECT tenant, worker FROM processor.queue LIMIT 100000) AS job
    GROUP BY tenant
) AS tenants
GROUP BY 1;

-- name: dead_letters
SELECT count(*) AS waiting, greatest(0, extract(epoch FROM now() - min(parked_at)))::float8 AS oldest
FROM (SELECT parked_at FROM processor.dead_letters WHERE replayed_at IS NULL ORDER BY parked_at LIMIT 10000) AS letter;

-- name: remote_tasks
-- Steps for remote workers that have not ended.
SELECT state, count(*) AS tasks, greatest(0, extract(epoch FROM now() - min(created_at)))::float8 AS oldest
FROM (
    SELECT
        created_at,
        CASE WHEN worker IS NOT NULL THEN 'working' WHEN sent_at IS NULL THEN 'unsent' ELSE 'waiting' END AS state
    FROM processor.remote_tasks WHERE NOT ended LIMIT 10000
) AS task
GROUP BY state;
