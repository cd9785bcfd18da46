-- What an operator looks at across all tenants.

-- name: jobs
-- The newest first: $1 tenant, $2 status, $3 workflow, $4 at most; $5 only unfinished ones that nothing has happened to
-- for so many seconds.
SELECT id, tenant, workflow, status, sub_status, progress_percent, current_step, step_message, attempts,
    error ->> 'code' AS error, created_at, updated_at, finished_at
FROM processor.jobs
WHERE ($1::text IS NULL OR tenant = $1)
    AND ($2::text IS NULL OR status = $2)
    AND ($3::text IS NULL OR workflow = $3)
    AND ($5::float8 IS NULL OR finished_at IS NULL AND updated_at < now() - make_interval(secs => $5))
ORDER BY id DESC
LIMIT $4;

-- name: tenant_of_job
SELECT tenant FROM events.streams WHERE stream = $1 AND ($2::text IS NULL OR tenant = $2);

-- name: held
-- Who works on the job.
SELECT worker, failures, expires_at, due_at, blocked_by, mail FROM processor.queue WHERE tenant = $1 AND job_id = $2;

-- name: dead_letters
SELECT id, tenant, queue, routing_key, message_id, reason, attempts, octet_length(body) AS bytes, parked_at, replayed_at
FROM processor.dead_letters
WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR queue = $2) AND (replayed_at IS NULL OR $3)
ORDER BY parked_at DESC, id DESC
LIMIT $4;

-- name: waiting_dead_letters
-- By tenant; null for those that tell none.
SELECT tenant, array_agg(id ORDER BY parked_at, id) AS ids, array_agg(queue ORDER BY parked_at, id) AS queues
FROM processor.dead_letters
WHERE replayed_at IS NULL AND ($1::uuid[] IS NULL OR id = ANY ($1)) AND ($2::text IS NULL OR queue = $2)
GROUP BY tenant;

-- name: keys
SELECT id, tenant, name, scopes, made_by, created_at, expires_at, revoked_at, last_used_at
FROM gateway.keys
WHERE ($1::text IS NULL OR tenant = $1) AND (revoked_at IS NULL OR $2)
ORDER BY number DESC
LIMIT $3;

-- name: tenant_of_key
SELECT tenant FROM gateway.keys WHERE id = $1;
