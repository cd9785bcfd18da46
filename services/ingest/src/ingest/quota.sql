-- name: reserve
SELECT granted, violated, wait_seconds FROM ingest.reserve($1, $2, $3, $4, $5, $6, $7);

-- name: reserved
SELECT bytes FROM ingest.reservations WHERE upload_id = $1;

-- name: settle
SELECT ingest.settle($1, $2);

-- name: renew
UPDATE ingest.reservations SET due_at = now() + make_interval(secs => $2) WHERE upload_id = ANY ($1::uuid[]);

-- name: free_lost
-- A reservation that nobody renews any more, settled by itself: one transaction never holds two tenants' rows.
SELECT ingest.settle(upload_id, 0) FROM (
    SELECT upload_id FROM ingest.reservations WHERE due_at < now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
) AS lost;
