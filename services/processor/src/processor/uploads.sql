-- name: is_used
SELECT EXISTS (
    SELECT FROM processor.jobs WHERE tenant = $1 AND finished_at IS NULL AND strpos(input::text, $2) > 0
);
