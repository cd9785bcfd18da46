-- name: expirable
-- Those whose time is over: $1 seconds, and for the tenants $2 as many as $3 says. Null is for ever. Each tenant's are
-- found by themselves, so that one who keeps millions for ever costs nothing.
WITH RECURSIVE tenants AS (
    SELECT min(tenant) AS tenant FROM ingest.uploads WHERE expired_at IS NULL AND deleted_at IS NULL
    UNION ALL
    SELECT (
        SELECT min(upload.tenant) FROM ingest.uploads AS upload
        WHERE upload.tenant > tenants.tenant AND upload.expired_at IS NULL AND upload.deleted_at IS NULL
    )
    FROM tenants WHERE tenants.tenant IS NOT NULL
)
SELECT tenants.tenant, due.id
FROM tenants
LEFT JOIN unnest($2::text[], $3::float8[]) AS own (tenant, seconds) ON own.tenant = tenants.tenant
CROSS JOIN LATERAL (
    SELECT id FROM ingest.uploads AS upload
    WHERE upload.tenant = tenants.tenant AND upload.expired_at IS NULL AND upload.deleted_at IS NULL
        AND upload.created_at < now() - make_interval(secs => CASE WHEN own.tenant IS NULL THEN $1 ELSE own.seconds END)
    ORDER BY upload.created_at LIMIT $4
) AS due
LIMIT $4;

-- name: expire
-- Nothing is returned if somebody was faster.
UPDATE ingest.uploads SET expired_at = now(), ask_at = now()
WHERE tenant = $1 AND id = $2 AND expired_at IS NULL AND deleted_at IS NULL
RETURNING id;

-- name: take_expired
-- Those to look after now. The next look is in $2 seconds, or later if jobs use them for long: an hour at most.
WITH due AS (
    SELECT tenant, id FROM ingest.uploads
    WHERE expired_at IS NOT NULL AND deleted_at IS NULL AND ask_at <= now()
    ORDER BY ask_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE ingest.uploads AS upload
SET ask_at = now() + make_interval(
    secs => greatest($2::float8, least(3600, extract(epoch FROM now() - coalesce(told_at, now()))::float8 / 10)))
FROM due WHERE upload.tenant = due.tenant AND upload.id = due.id
RETURNING upload.tenant, upload.id, upload.bytes, upload.told_at;

-- name: told
UPDATE ingest.uploads SET told_at = now() WHERE tenant = $1 AND id = $2 AND told_at IS NULL;
