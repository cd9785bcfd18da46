-- Streams of events that a ticket has opened.

-- name: begin_stream
-- Uses the ticket $1 up and keeps its stream, or neither. $3: seconds that a ticket is good for.
WITH used AS (
    DELETE FROM gateway.tickets
    WHERE hash = $1
    RETURNING socket, tenant, subject, scopes, channels, credential_expires_at, ended_by,
        extract(epoch FROM now() - made_at)::float8 AS age, made_at > now() - make_interval(secs => $3) AS fresh
), kept AS (
    INSERT INTO gateway.streams (hash, socket, tenant, subject, scopes, channels, credential_expires_at, ended_by)
    SELECT $2, socket, tenant, subject, scopes, channels, credential_expires_at, ended_by
    FROM used
    WHERE fresh
)
SELECT * FROM used;

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

-- name: end_tickets
-- Of whatever is revoked. Before its streams end: a ticket that is being used up meanwhile is waited for, and what it
-- has become is among the streams then.
DELETE FROM gateway.tickets
WHERE ended_by && $1::text[];

-- name: end_streams
DELETE FROM gateway.streams
WHERE ended_by && $1::text[];

-- name: forget_stream
DELETE FROM gateway.streams
WHERE socket = $1;
