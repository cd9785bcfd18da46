-- Files on their way by the tus protocol. One that is whole becomes an upload of the same id, unless it is a part of another.
CREATE TABLE ingest.files (
    tenant text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    length bigint CHECK (length >= 0),  -- null until the client says it
    stored bigint NOT NULL DEFAULT 0 CHECK (stored >= 0),  -- the offset that clients are told: so many bytes are durable
    metadata text,  -- `Upload-Metadata` as it was sent
    concat text,  -- `Upload-Concat` as it was sent
    workflow text NOT NULL,
    options json NOT NULL,
    filename text,
    content_type text,
    part_of uuid,  -- the file that its bytes went into
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    -- The lock: whoever has the newest token may store. It is held until the lease ends, which its holder renews.
    token bigint NOT NULL DEFAULT 0,
    holder uuid,
    lease_until timestamptz,
    wanted boolean NOT NULL DEFAULT false,  -- somebody waits for it
    completed_at timestamptz,
    deleted_at timestamptz,  -- by its client, or since it had expired
    PRIMARY KEY (tenant, id),
    CHECK (stored <= length)
);

CREATE INDEX files_by_expiry ON ingest.files (expires_at) WHERE completed_at IS NULL AND deleted_at IS NULL;

-- Whole, and not yet an upload: whoever was at it may have been killed.
CREATE INDEX files_whole ON ingest.files (expires_at)
WHERE stored = length AND concat IS DISTINCT FROM 'partial' AND completed_at IS NULL AND deleted_at IS NULL;

CREATE INDEX files_by_end ON ingest.files (deleted_at) WHERE deleted_at IS NOT NULL;

-- Where the bytes lie until then. A row is there before its bytes, and goes after them.
CREATE TABLE ingest.segments (
    key text COLLATE "C" PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    file uuid NOT NULL,
    starts bigint NOT NULL,  -- the offset of its first byte
    bytes bigint NOT NULL DEFAULT 0,  -- that are durable and counted in the file's `stored`; what lies behind them is not
    FOREIGN KEY (tenant, file) REFERENCES ingest.files (tenant, id)
);

CREATE INDEX segments_by_file ON ingest.segments (tenant, file, starts);
