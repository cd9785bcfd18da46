-- name: take
-- Whoever had it is fenced out from now on.
UPDATE ingest.files SET
    token = token + 1, holder = $3, lease_until = now() + make_interval(secs => $4), wanted = false
WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL AND (holder IS NULL OR lease_until < now())
RETURNING *, false AS expired;

-- name: want
-- Returns the replica that has it.
UPDATE ingest.files SET wanted = true WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING holder;

-- name: renew
-- Those that are returned are still ours.
UPDATE ingest.files AS file SET lease_until = now() + make_interval(secs => $4)
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS held (tenant, id, token)
WHERE file.tenant = held.tenant AND file.id = held.id AND file.token = held.token AND file.holder IS NOT NULL
RETURNING file.id, file.token, file.wanted;

-- name: release
UPDATE ingest.files SET holder = NULL, lease_until = NULL, wanted = false WHERE tenant = $1 AND id = $2 AND token = $3;
