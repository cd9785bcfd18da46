-- People. Whoever knows an address's password is that person.
CREATE TABLE gateway.users (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    email text COLLATE "C" NOT NULL UNIQUE,  -- normalised: one address, one person
    password_hash text NOT NULL,  -- argon2id, with its salt and parameters
    display_name text NOT NULL,
    gender text,
    role text NOT NULL CHECK (role IN ('admin', 'member', 'viewer')),
    failures integer NOT NULL DEFAULT 0,  -- wrong passwords since the last right one
    locked_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX users_by_tenant ON gateway.users (tenant);

-- Logins that last. A session's refresh tokens are computed from its id and their number: none is kept.
CREATE TABLE gateway.sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES gateway.users ON DELETE CASCADE,
    refreshes integer NOT NULL DEFAULT 0,  -- the number of its newest refresh token, the only one that is good
    refreshed_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX sessions_by_user ON gateway.sessions (user_id);
CREATE INDEX sessions_by_expiry ON gateway.sessions (expires_at);

-- Who may join a tenant. A row is gone once it was used.
CREATE TABLE gateway.invitations (
    id uuid PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    tenant text COLLATE "C" NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'member', 'viewer')),
    invited_by text NOT NULL,  -- the subject: `user:<id>` or `key:<id>`
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX invitations_by_expiry ON gateway.invitations (expires_at);

-- What access tokens are signed with. The newest whose time has come signs; all of them verify.
CREATE TABLE gateway.signing_keys (
    kid text PRIMARY KEY,
    sealed bytea NOT NULL,  -- the private key, readable with the pepper only
    signs_from timestamptz NOT NULL
);

CREATE UNIQUE INDEX signing_keys_by_time ON gateway.signing_keys (signs_from);
