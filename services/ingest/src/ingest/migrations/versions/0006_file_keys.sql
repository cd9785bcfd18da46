-- One key, one file: whoever did not hear the answer of its creation asks again.
ALTER TABLE ingest.files
ADD COLUMN idempotency_key text,  -- hashed
ADD COLUMN asked bytea;  -- a hash of what was asked for under it

CREATE UNIQUE INDEX files_by_idempotency_key ON ingest.files (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
