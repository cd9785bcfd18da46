-- The terms that open sockets live by.

-- name: keep_socket
INSERT INTO gateway.sockets (id, tenant, subject, scopes, expires_at, ended_by)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING;

-- name: refresh_socket
-- Only by its own subject, with a credential that may do no less.
UPDATE gateway.sockets
SET expires_at = $5, ended_by = $6, changed_at = now()
WHERE id = $1 AND tenant = $2 AND subject = $3 AND scopes <@ $4
RETURNING id;

-- name: socket_terms
SELECT expires_at, ended_by, extract(epoch FROM now() - changed_at)::float8 AS age
FROM gateway.sockets
WHERE id = $1;

-- name: forget_sockets
-- Those that have closed, and those whose replica died: no socket is open so long after its expiry, and one without
-- an expiry needs no terms.
DELETE FROM gateway.sockets
WHERE id = ANY ($1::uuid[])
    OR expires_at < extract(epoch FROM now()) - 3600
    OR (expires_at IS NULL AND changed_at < now() - interval '1 hour');

-- name: refresh_stream
-- What opens it again lives by the same.
UPDATE gateway.streams
SET credential_expires_at = $2, ended_by = $3
WHERE socket = $1;
