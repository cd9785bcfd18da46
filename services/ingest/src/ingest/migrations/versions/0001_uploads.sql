-- What was uploaded. Its bytes lie in the blob store.
CREATE TABLE ingest.uploads (
    tenant text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    job_id uuid NOT NULL,
    workflow text NOT NULL,
    options json NOT NULL,
    filename text,
    content_type text,
    bytes bigint NOT NULL CHECK (bytes > 0),
    sha256 text NOT NULL CHECK (length(sha256) = 64),
    blob text NOT NULL UNIQUE,
    idempotency_key text,
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (tenant, id)
);

-- One key, one upload.
CREATE UNIQUE INDEX uploads_by_idempotency_key ON ingest.uploads (tenant, idempotency_key)
WHERE idempotency_key IS NOT NULL;

-- Blobs that no upload owns, not yet or no more: noted before they exist, removed when they stay here too long.
CREATE TABLE ingest.loose_blobs (
    blob text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX loose_blobs_by_age ON ingest.loose_blobs (since);

-- What the log must hear of. A row stays until the log holds its event: a broker's confirm does not close it.
CREATE TABLE ingest.outbox (
    tenant text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    event bytea NOT NULL,  -- the encoded CloudEvent, published as it is
    due_at timestamptz NOT NULL,  -- when it is published again
    PRIMARY KEY (tenant, event_id)
);

CREATE INDEX outbox_by_due ON ingest.outbox (due_at);
