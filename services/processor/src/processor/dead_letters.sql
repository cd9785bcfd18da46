-- Messages that nobody could handle.

-- name: keep
-- A message that is parked again waits again.
INSERT INTO processor.dead_letters
    (id, queue, message_id, tenant, routing_key, headers, body, reason, attempts)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (queue, message_id) DO UPDATE
SET headers = excluded.headers, body = excluded.body, reason = excluded.reason, attempts = excluded.attempts,
    parked_at = excluded.parked_at, replayed_at = NULL;

-- name: page
-- Newest first, after the one that the cursor names. $6 is null for all, else whether they have been replayed.
SELECT id, queue, message_id, tenant, routing_key, reason, attempts, octet_length(body) AS bytes, parked_at, replayed_at
FROM processor.dead_letters
WHERE (tenant = $1 OR tenant IS NULL)
    AND ($2::text IS NULL OR queue = $2)
    AND ($3::text IS NULL OR routing_key = $3)
    AND ($4::uuid IS NULL OR (parked_at, id) < (SELECT parked_at, id FROM processor.dead_letters WHERE id = $4))
    AND ($6::boolean IS NULL OR (replayed_at IS NOT NULL) = $6)
ORDER BY parked_at DESC, id DESC
LIMIT $5;

-- name: replayable
-- Those that wait, the oldest first: by id, or by queue and routing key where these are given.
SELECT id, queue, message_id, routing_key, headers, body, parked_at
FROM processor.dead_letters
WHERE (tenant = $1 OR tenant IS NULL)
    AND replayed_at IS NULL
    AND ($2::uuid[] IS NULL OR id = ANY ($2))
    AND ($3::text IS NULL OR queue = $3)
    AND ($4::text IS NULL OR routing_key = $4)
ORDER BY parked_at, id
LIMIT $5;

-- name: replayed
-- Unless the message has failed again meanwhile, and was parked anew.
UPDATE processor.dead_letters SET replayed_at = now() WHERE id = $1 AND parked_at = $2;
