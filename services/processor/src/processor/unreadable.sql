-- What is known of a job without its history.

-- name: where_it_stands
SELECT progress_percent, current_step FROM processor.jobs WHERE tenant = $1 AND id = $2;

-- name: open_steps
-- What has not ended: -1 is a step as a whole, else it is an item.
SELECT step, item, attempt FROM processor.steps
WHERE tenant = $1 AND job_id = $2 AND status IN ('RUNNING', 'WAITING', 'RETRYING')
ORDER BY step, item;
