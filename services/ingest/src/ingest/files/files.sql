-- name: insert_file
-- Nothing is inserted, and nothing returned, if it is there already: a file that is made of parts has an id of theirs; or if
-- the tenant has used the idempotency key, of which only a hash is kept.
INSERT INTO ingest.files (
    tenant, id, length, stored, metadata, concat, workflow, options, filename, content_type, expires_at,
    idempotency_key, asked)
VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11),
    encode(sha256(convert_to($12, 'UTF8')), 'hex'), $13)
ON CONFLICT DO NOTHING
RETURNING *, false AS expired;

-- name: file
-- An upload that was deleted has taken its file with it, and the parts of that: who goes on with one sends it anew. One
-- that is whole does not expire: it becomes an upload, however late.
SELECT
    file.*,
    coalesce(file.deleted_at, whole.deleted_at, upload.deleted_at) AS deleted_at,
    file.completed_at IS NULL AND file.holder IS NULL AND file.expires_at < now()
        AND (file.concat = 'partial' OR file.stored IS DISTINCT FROM file.length) AS expired
FROM ingest.files AS file
LEFT JOIN ingest.files AS whole ON whole.tenant = file.tenant AND whole.id = file.part_of
LEFT JOIN ingest.uploads AS upload ON upload.tenant = file.tenant AND upload.id = coalesce(file.part_of, file.id)
WHERE file.tenant = $1 AND file.id = $2;

-- name: file_by_key
SELECT id, asked FROM ingest.files
WHERE tenant = $1 AND idempotency_key = encode(sha256(convert_to($2, 'UTF8')), 'hex');

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

-- name: note_late_blob
-- Of who was too late to complete a file: if it is gone, or its upload, it went before the blob was there.
INSERT INTO ingest.loose_blobs (blob) SELECT $3
WHERE NOT EXISTS (
    SELECT FROM ingest.files AS file
    LEFT JOIN ingest.uploads AS upload ON upload.tenant = file.tenant AND upload.id = file.id
    WHERE file.tenant = $1 AND file.id = $2 AND coalesce(file.deleted_at, upload.deleted_at) IS NULL)
ON CONFLICT DO NOTHING;

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

-- name: sweepable
-- Whether there is anything for each of the sweeps: mostly there is nothing, and this is all that they cost.
SELECT
    EXISTS (
        SELECT FROM ingest.files WHERE expires_at < now() AND completed_at IS NULL AND deleted_at IS NULL
    ) AS expired,
    EXISTS (
        SELECT FROM ingest.segments AS segment JOIN ingest.files AS file
            ON file.tenant = segment.tenant AND file.id = segment.file
        WHERE file.completed_at IS NOT NULL OR file.deleted_at IS NOT NULL
    ) AS loose,
    EXISTS (
        SELECT FROM ingest.files WHERE deleted_at < now() - make_interval(secs => $1) AND completed_at IS NULL
    ) AS forgettable;

-- name: expire_file
-- One that nobody continues; a transaction never holds two tenants' rows. One that is whole waits for its completion.
WITH due AS (
    SELECT tenant, id FROM ingest.files
    WHERE expires_at < now() AND completed_at IS NULL AND deleted_at IS NULL
        AND (holder IS NULL OR lease_until < now()) AND (concat = 'partial' OR stored IS DISTINCT FROM length)
    ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED
), ended AS (
    UPDATE ingest.files AS file SET deleted_at = now(), token = token + 1, holder = NULL, lease_until = NULL
    FROM due WHERE file.tenant = due.tenant AND file.id = due.id
    RETURNING file.id
)
SELECT ingest.settle(id, 0) FROM ended;

-- name: left_whole
-- Whoever was to complete these was killed, or met a store that was away. In no order: some may fail each time, and must not
-- keep the others waiting.
SELECT tenant, id FROM ingest.files
WHERE stored = length AND concat IS DISTINCT FROM 'partial' AND completed_at IS NULL AND deleted_at IS NULL
    AND (holder IS NULL OR lease_until < now())
ORDER BY random() LIMIT $1;

-- name: forget_files
-- Those that have ended long ago without an upload.
DELETE FROM ingest.files AS file
WHERE deleted_at < now() - make_interval(secs => $1) AND completed_at IS NULL
    AND NOT EXISTS (SELECT FROM ingest.segments AS segment WHERE segment.tenant = file.tenant AND segment.file = file.id);

-- name: parts
-- Locked in one order, whatever order the client names them in.
SELECT *, completed_at IS NULL AND expires_at < now() AS expired FROM ingest.files
WHERE tenant = $1 AND id = ANY ($2::uuid[]) ORDER BY id FOR UPDATE;

-- name: take_parts
-- Their bytes are the file's from now on, each behind those before it. Their own reservations are used up.
WITH part AS (
    UPDATE ingest.files AS file SET part_of = $2, token = token + 1, holder = NULL, lease_until = NULL
    FROM unnest($3::uuid[], $4::bigint[]) AS given (id, starts)
    WHERE file.tenant = $1 AND file.id = given.id
    RETURNING file.id, file.stored, given.starts
), moved AS (
    UPDATE ingest.segments AS segment SET file = $2, starts = segment.starts + part.starts
    FROM part WHERE segment.tenant = $1 AND segment.file = part.id
)
SELECT ingest.settle(id, stored) FROM part;

-- name: loose_segments
-- Of files that do not need them any more; all, or those of one. In no order: those that cannot be removed must not keep
-- the others.
SELECT segment.key FROM ingest.segments AS segment JOIN ingest.files AS file
    ON file.tenant = segment.tenant AND file.id = segment.file
WHERE (file.completed_at IS NOT NULL OR file.deleted_at IS NOT NULL)
    AND ($1::text IS NULL OR (segment.tenant = $1 AND segment.file = $2))
ORDER BY random() LIMIT $3;

-- name: lock_segment
-- Until it is removed. Nothing is returned if somebody is at it, or it is gone.
SELECT key FROM ingest.segments WHERE key = $1 FOR UPDATE SKIP LOCKED;

-- name: wait_for_segment
-- Whoever removes it is through with that. Nothing is returned if it is gone.
SELECT key FROM ingest.segments WHERE key = $1 FOR UPDATE;

-- name: forget_segment
DELETE FROM ingest.segments WHERE key = $1;

-- name: unknown_segments
SELECT found.key FROM unnest($1::text[]) AS found (key)
WHERE NOT EXISTS (SELECT FROM ingest.segments AS segment WHERE segment.key = found.key);
