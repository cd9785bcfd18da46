-- API keys of tenants. Their secrets are nowhere: a row has what a key is recognised by, under the pepper.
CREATE TABLE gateway.keys (
    number bigint GENERATED ALWAYS AS IDENTITY,  -- the order in which they are listed
    id text COLLATE "C" PRIMARY KEY CHECK (length(id) = 12),
    tenant text COLLATE "C" NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    name text NOT NULL,
    scopes text[] NOT NULL,
    made_by text NOT NULL,  -- the subject: `key:<id>` or `user:<id>`
    idempotency_key text,  -- its hash
    request_hash bytea,  -- of what was asked for under the idempotency key
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    lifetime interval,  -- that it was given, and that its successor gets; null for ever
    revoked_at timestamptz,
    ended boolean NOT NULL DEFAULT false,  -- revoked or expired, and every replica was told
    last_used_at timestamptz
);

CREATE INDEX keys_by_tenant ON gateway.keys (tenant, number);
CREATE INDEX keys_by_expiry ON gateway.keys (expires_at) WHERE NOT ended;

-- One idempotency key of one maker, one key.
CREATE UNIQUE INDEX keys_by_idempotency_key ON gateway.keys (tenant, made_by, idempotency_key)
WHERE idempotency_key IS NOT NULL;
