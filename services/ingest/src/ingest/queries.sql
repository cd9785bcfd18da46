-- name: insert_upload
-- Nothing is inserted, and nothing returned, if the tenant has used the idempotency key before. Of that only a hash is
-- kept.
INSERT INTO ingest.uploads
    (tenant, id, job_id, workflow, options, filename, content_type, bytes, sha256, blob, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, encode(sha256(convert_to($11, 'UTF8')), 'hex'))
ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING id;

-- name: upload_by_key
SELECT * FROM ingest.uploads WHERE tenant = $1 AND idempotency_key = encode(sha256(convert_to($2, 'UTF8')), 'hex');

-- name: upload
SELECT * FROM ingest.uploads WHERE tenant = $1 AND id = $2;

-- name: file_of_upload
-- The file that an upload is to be made of.
SELECT stored, stored IS NOT DISTINCT FROM length AS is_whole, deleted_at IS NOT NULL AS ended
FROM ingest.files WHERE tenant = $1 AND id = $2 AND concat IS DISTINCT FROM 'partial';

-- name: uploads
-- Newest first, older than a given one.
SELECT * FROM ingest.uploads
WHERE tenant = $1 AND deleted_at IS NULL AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3;

-- name: delete_upload
-- From then on its blob belongs to nobody. Returns the blob, also if the upload was deleted before.
WITH deleted AS (
    UPDATE ingest.uploads SET deleted_at = now() WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL RETURNING blob
), noted AS (
    INSERT INTO ingest.loose_blobs (blob) SELECT blob FROM deleted
)
SELECT blob, bytes, EXISTS (SELECT FROM deleted) AS just_now FROM ingest.uploads WHERE tenant = $1 AND id = $2;

-- name: note_loose_blob
INSERT INTO ingest.loose_blobs (blob) VALUES ($1);

-- name: forget_loose_blob
DELETE FROM ingest.loose_blobs WHERE blob = $1 RETURNING blob;

-- name: loose_blobs
-- Those that were noted long enough ago. In no order: those that cannot be removed must not keep the others.
SELECT blob FROM ingest.loose_blobs WHERE since < now() - make_interval(secs => $1) ORDER BY random() LIMIT $2;

-- name: lock_loose_blob
-- Until it is removed. Nothing is returned if somebody is at it, or it is gone.
SELECT blob FROM ingest.loose_blobs WHERE blob = $1 FOR UPDATE SKIP LOCKED;
