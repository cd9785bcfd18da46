-- What is known of a job without its history.

-- name: forget
-- Those that nobody has found to be so for a while.
DELETE FROM processor.unreadable WHERE seen_at < now() - interval '10 minutes';

-- name: found
-- How many seconds it has been so. Whoever has moved it meanwhile could read it.
INSERT INTO processor.unreadable AS known (tenant, job_id, version) VALUES ($1, $2, $3)
ON CONFLICT (tenant, job_id) DO UPDATE
SET since = CASE WHEN known.version = excluded.version THEN known.since ELSE now() END,
    version = excluded.version, seen_at = now()
RETURNING extract(epoch FROM now() - since)::double precision;

-- name: where_it_stands
SELECT progress_percent, current_step FROM processor.jobs WHERE tenant = $1 AND id = $2;

-- name: open_steps
-- What has not ended: -1 is a step as a whole, else it is an item.
SELECT step, item, attempt, CASE WHEN status = 'WAITING' THEN child END AS child FROM processor.steps
WHERE tenant = $1 AND job_id = $2 AND status IN ('RUNNING', 'WAITING', 'RETRYING')
ORDER BY step, item;
