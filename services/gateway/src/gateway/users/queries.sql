-- name: insert_user
-- Nothing is inserted, and nothing returned, if the address is taken.
INSERT INTO gateway.users
    (id, tenant, email, password_hash, display_name, gender, role, idempotency_key, request_hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (email) DO NOTHING
RETURNING *;

-- name: registration
-- What the person with this address was registered with.
SELECT idempotency_key, request_hash FROM gateway.users WHERE email = $1;

-- name: user_by_email
SELECT * FROM gateway.users WHERE email = $1;

-- name: user
SELECT * FROM gateway.users WHERE tenant = $1 AND id = $2;

-- name: enter
-- The right password was given: forget the wrong ones. Returns nothing while the account is locked.
UPDATE gateway.users SET failures = 0, locked_until = NULL, password_hash = coalesce($2, password_hash)
WHERE id = $1 AND (locked_until IS NULL OR locked_until <= now())
RETURNING id;

-- name: count_quietly
-- A crash may forget a wrong password of its last moment. Waiting for the disk would tell who exists.
SET LOCAL synchronous_commit = off;

-- name: count_failure
-- One more wrong password; from the $2nd on, the account is locked for $3 seconds, twice as long each time, at most $4.
-- While it is locked, nothing counts: one lockout is locked, and told, once.
UPDATE gateway.users
SET failures = failures + 1,
    locked_until = CASE WHEN failures + 1 >= $2
        THEN now() + make_interval(secs => least($4::float8, $3::float8 * 2 ^ least(failures + 1 - $2, 30)))
    END
WHERE id = $1 AND (locked_until IS NULL OR locked_until <= now())
RETURNING tenant, failures, locked_until IS NOT NULL AS locked;

-- name: start_session
INSERT INTO gateway.sessions (id, user_id, expires_at) VALUES ($1, $2, now() + make_interval(secs => $3));

-- name: lock_session
-- With its user. `just_refreshed`: so lately that the client may not have got the answer.
SELECT s.id, s.user_id, s.refreshes, s.ended_at IS NULL AND s.expires_at > now() AS is_open,
    s.refreshed_at > now() - make_interval(secs => $2) AS just_refreshed, u.tenant, u.role
FROM gateway.sessions AS s
JOIN gateway.users AS u ON u.id = s.user_id
WHERE s.id = $1
FOR UPDATE OF s;

-- name: refresh_session
UPDATE gateway.sessions
SET refreshes = refreshes + 1, refreshed_at = now(), expires_at = now() + make_interval(secs => $2)
WHERE id = $1;

-- name: end_session
UPDATE gateway.sessions SET ended_at = now() WHERE id = $1;

-- name: insert_invitation
-- Nothing is inserted, and nothing returned, if the inviter has used the idempotency key before.
INSERT INTO gateway.invitations (id, token_hash, tenant, role, invited_by, expires_at, idempotency_key)
VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7)
ON CONFLICT DO NOTHING
RETURNING expires_at;

-- name: invitation_by_idempotency_key
SELECT id, role, expires_at FROM gateway.invitations
WHERE tenant = $1 AND invited_by = $2 AND idempotency_key = $3;

-- name: accept_invitation
-- Once: whoever comes second finds none.
UPDATE gateway.invitations SET used_at = now()
WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
RETURNING id, tenant, role;

-- name: remove_sessions
-- A session is remembered until it would have expired, so that its old tokens are told from forged ones.
DELETE FROM gateway.sessions
WHERE id IN (SELECT id FROM gateway.sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1);

-- name: remove_invitations
DELETE FROM gateway.invitations
WHERE id IN (SELECT id FROM gateway.invitations WHERE expires_at < now() ORDER BY expires_at LIMIT $1);
