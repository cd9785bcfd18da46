-- name: keep
INSERT INTO processor.dead_letters (message_id, queue, routing_key, reason, attempts, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING;

-- name: waiting
-- Parked and not replayed, oldest first. $1 after, $2 limit.
SELECT id, message_id, queue, routing_key, reason, attempts, parked_at
FROM processor.dead_letters WHERE replayed_at IS NULL AND id > $1 ORDER BY id LIMIT $2;

-- name: take
-- The message, if it still waits.
SELECT message_id, queue, routing_key, headers, body FROM processor.dead_letters WHERE id = $1 AND replayed_at IS NULL;

-- name: replayed
UPDATE processor.dead_letters SET replayed_at = clock_timestamp() WHERE id = $1 AND replayed_at IS NULL;
