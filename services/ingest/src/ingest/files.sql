-- name: insert_file
-- Nothing is inserted, and nothing returned, if it is there already: a file that is made of parts has an id of theirs.
INSERT INTO ingest.files
    (tenant, id, length, stored, metadata, concat, workflow, options, filename, content_type, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))
ON CONFLICT (tenant, id) DO NOTHING
RETURNING *, false AS expired;

-- name: file
-- An upload that was deleted has taken its file with it.
SELECT
    file.*,
    coalesce(file.deleted_at, upload.deleted_at) AS deleted_at,
    file.completed_at IS NULL AND file.holder IS NULL AND file.expires_at < now() AS expired
FROM ingest.files AS file LEFT JOIN ingest.uploads AS upload USING (tenant, id)
WHERE tenant = $1 AND id = $2;

-- name: note_segment
-- Before it exists, and only for who has the lock.
INSERT INTO ingest.segments (key, tenant, file, starts)
SELECT $4, tenant, id, stored FROM ingest.files WHERE tenant = $1 AND id = $2 AND token = $3
RETURNING key;

-- name: record
-- More is durable. Nothing is returned to who has lost the lock.
WITH file AS (
    UPDATE ingest.files SET
        stored = $4,
        lease_until = now() + make_interval(secs => $6),
        expires_at = now() + make_interval(secs => $7)
    WHERE tenant = $1 AND id = $2 AND token = $3 AND deleted_at IS NULL
    RETURNING wanted
), segment AS (
    UPDATE ingest.segments SET bytes = $4 - starts WHERE key = $5 AND EXISTS (SELECT FROM file)
), reservation AS (
    UPDATE ingest.reservations SET due_at = now() + make_interval(secs => $7 + 60)
    WHERE upload_id = $2 AND EXISTS (SELECT FROM file)
)
SELECT wanted FROM file;

-- name: set_length
UPDATE ingest.files SET length = $4
WHERE tenant = $1 AND id = $2 AND token = $3 AND length IS NULL AND stored <= $4
RETURNING length;

-- name: segments
-- What the file is made of, in order.
SELECT key, bytes FROM ingest.segments WHERE tenant = $1 AND file = $2 AND bytes > 0 ORDER BY starts;

-- name: complete
UPDATE ingest.files SET completed_at = now(), holder = NULL, lease_until = NULL
WHERE tenant = $1 AND id = $2 AND token = $3 AND completed_at IS NULL AND deleted_at IS NULL
RETURNING id;

-- name: end_file
-- It is gone for its client. Its blob may be there already if it was whole.
WITH ended AS (
    UPDATE ingest.files SET deleted_at = now(), holder = NULL, lease_until = NULL
    WHERE tenant = $1 AND id = $2 AND token = $3 AND deleted_at IS NULL
    RETURNING tenant, id, stored = length AND completed_at IS NULL AS whole
), noted AS (
    INSERT INTO ingest.loose_blobs (blob) SELECT format('uploads/%s/%s', tenant, id) FROM ended WHERE whole
    ON CONFLICT DO NOTHING
)
SELECT ingest.settle(id, 0) FROM ended;

-- name: loose_segments
-- Of files that do not need them any more; all, or those of one. Locked until they are removed.
SELECT segment.key FROM ingest.segments AS segment JOIN ingest.files AS file
    ON file.tenant = segment.tenant AND file.id = segment.file
WHERE (file.completed_at IS NOT NULL OR file.deleted_at IS NOT NULL)
    AND ($1::text IS NULL OR (segment.tenant = $1 AND segment.file = $2))
LIMIT $3 FOR UPDATE OF segment SKIP LOCKED;

-- name: forget_segment
DELETE FROM ingest.segments WHERE key = $1;
