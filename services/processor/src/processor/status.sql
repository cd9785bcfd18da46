-- name: head
SELECT epoch, position FROM events.head;

-- name: lags
-- How many events each reader of the log still has before it.
SELECT checkpoint.name, head.position - checkpoint.position AS events
FROM events.checkpoints AS checkpoint, events.head AS head
ORDER BY checkpoint.name;

-- name: jobs
SELECT
    count(*) FILTER (WHERE status = 'PENDING') AS waiting,
    count(*) FILTER (WHERE status = 'PROCESSING') AS working,
    round(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'PENDING')))::int AS oldest_waiting_seconds
FROM processor.jobs
WHERE finished_at IS NULL;
