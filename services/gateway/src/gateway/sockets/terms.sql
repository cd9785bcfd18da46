-- The terms that open sockets live by, and who holds them.

-- name: keep_socket
-- Whoever held it before has lost it. What it was refreshed to meanwhile counts.
WITH holding AS (
    INSERT INTO gateway.holders (id) VALUES ($2)
    ON CONFLICT DO NOTHING
)
INSERT INTO gateway.sockets (id, holder, opening, tenant, subject, scopes, expires_at, ended_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, opening = excluded.opening
RETURNING expires_at, ended_by, extract(epoch FROM now() - changed_at)::float8 AS age;

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
-- Those that have closed here, unless they were opened again.
DELETE FROM gateway.sockets AS kept
USING unnest($1::uuid[], $2::uuid[]) AS closed (id, opening)
WHERE kept.id = closed.id AND kept.opening = closed.opening;

-- name: forget_expired
-- No socket is open so long after its expiry. One without a holder nobody else forgets.
DELETE FROM gateway.sockets
WHERE expires_at < extract(epoch FROM now()) - 3600
    OR (holder IS NULL AND expires_at IS NULL AND changed_at < now() - interval '1 hour');

-- name: hold_on
-- Says whether nobody knows any more what is held.
WITH before AS (
    SELECT since FROM gateway.holders WHERE id = $1
)
INSERT INTO gateway.holders AS holder (id, since) VALUES ($1, now())
ON CONFLICT (id) DO UPDATE SET
    seen_at = now(),
    since = CASE
        WHEN holder.seen_at < now() - make_interval(secs => $2) THEN now()
        ELSE coalesce(holder.since, now())
    END
RETURNING (SELECT since FROM before) IS NULL AS forgotten;

-- name: forget_holders
-- Those that were not seen for so many seconds, with all that they held. Whoever could not be seen itself meanwhile, as
-- when the database was away, can't tell who is dead.
DELETE FROM gateway.holders
WHERE seen_at < now() - make_interval(secs => $2)
    AND EXISTS (SELECT FROM gateway.holders WHERE id = $1 AND since < now() - make_interval(secs => $2));

-- name: let_go
DELETE FROM gateway.holders
WHERE id = $1;

-- name: refresh_stream
-- What opens it again lives by the same.
UPDATE gateway.streams
SET credential_expires_at = $2, ended_by = $3
WHERE socket = $1;
