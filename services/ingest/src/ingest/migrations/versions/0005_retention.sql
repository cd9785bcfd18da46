-- An upload whose time is over keeps its bytes until no job uses them: that, the log tells.
ALTER TABLE ingest.uploads
ADD COLUMN expired_at timestamptz,  -- no job begins on it from then on
ADD COLUMN told_at timestamptz,  -- when we saw that the log knows that
ADD COLUMN ask_at timestamptz;  -- when we next look whether its bytes may go

-- Those of a tenant, oldest first.
CREATE INDEX uploads_kept ON ingest.uploads (tenant, created_at) WHERE expired_at IS NULL AND deleted_at IS NULL;

CREATE INDEX uploads_expired ON ingest.uploads (ask_at) WHERE expired_at IS NOT NULL AND deleted_at IS NULL;
