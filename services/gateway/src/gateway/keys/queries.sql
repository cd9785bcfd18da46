-- name: insert_key
-- Nothing is inserted, and nothing returned, if its maker has used the idempotency key before.
INSERT INTO gateway.keys
    (id, tenant, hash, name, scopes, made_by, idempotency_key, request_hash, expires_at, lifetime)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::timestamptz, $9::timestamptz - now())
ON CONFLICT DO NOTHING
RETURNING *;

-- name: key_by_idempotency_key
-- A secret is not shown for ever to whoever knows how it was asked for.
SELECT *, created_at > now() - interval '1 day' AS is_fresh FROM gateway.keys WHERE tenant = $1 AND made_by = $2 AND idempotency_key = $3;

-- name: key
SELECT * FROM gateway.keys WHERE tenant = $1 AND id = $2;

-- name: lock_key
SELECT *, revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS is_good,
    now() + lifetime AS expires_again_at
FROM gateway.keys WHERE tenant = $1 AND id = $2 FOR UPDATE;

-- name: keys
-- Newest first, older than a given one.
SELECT * FROM gateway.keys
WHERE tenant = $1 AND ($2::text IS NULL OR number < (SELECT number FROM gateway.keys WHERE tenant = $1 AND id = $2))
ORDER BY number DESC
LIMIT $3;

-- name: known_key
-- What the door wants to know of a key that is shown to it.
SELECT tenant, hash, scopes, expires_at, revoked_at, expires_at <= now() AS expired FROM gateway.keys WHERE id = $1;

-- name: revoke_key
-- Returns nothing if it was revoked before.
UPDATE gateway.keys SET revoked_at = now(), ended = true
WHERE tenant = $1 AND id = $2 AND revoked_at IS NULL
RETURNING id;

-- name: expire_key
-- In so many seconds, unless it expires earlier.
UPDATE gateway.keys SET expires_at = least(expires_at, now() + make_interval(secs => $2)), ended = $2 = 0
WHERE id = $1;

-- name: end_expired_keys
-- Those whose time has come since the last look.
UPDATE gateway.keys SET ended = true
WHERE id IN (SELECT id FROM gateway.keys WHERE NOT ended AND expires_at <= now() ORDER BY id FOR UPDATE)
RETURNING id;

-- name: note_use
-- $2: how many seconds ago, of each. Another replica may know of a later use.
-- Whoever locks several keys does so in the order of their ids.
UPDATE gateway.keys AS key
SET last_used_at = greatest(key.last_used_at, now() - make_interval(secs => used.ago))
FROM (
    SELECT known.id, given.ago FROM gateway.keys AS known
    JOIN unnest($1::text[], $2::float8[]) AS given (id, ago) ON known.id = given.id
    ORDER BY known.id
    FOR UPDATE OF known
) AS used
WHERE key.id = used.id;
