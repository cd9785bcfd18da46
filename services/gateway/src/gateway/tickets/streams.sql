-- Streams of events that a ticket has opened.

-- name: keep_stream
INSERT INTO gateway.streams (hash, socket, tenant, subject, scopes, channels, credential_expires_at, ended_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: find_stream
-- $2: seconds that it may have been closed.
SELECT socket, tenant, subject, scopes, channels, credential_expires_at, ended_by
FROM gateway.streams
WHERE hash = $1 AND seen_at > now() - make_interval(secs => $2);

-- name: see_streams
-- Those that are open; once a minute is enough to say so.
UPDATE gateway.streams
SET seen_at = now()
WHERE socket = ANY ($1::uuid[]) AND seen_at < now() - interval '1 minute';

-- name: sweep_streams
DELETE FROM gateway.streams
WHERE seen_at <= now() - make_interval(secs => $1) OR credential_expires_at < extract(epoch FROM now());

-- name: end_streams
-- Of whatever is revoked.
DELETE FROM gateway.streams
WHERE ended_by && $1::text[];

-- name: forget_stream
DELETE FROM gateway.streams
WHERE socket = $1;
