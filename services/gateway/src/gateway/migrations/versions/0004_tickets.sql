-- Creates tickets and the terms of open sockets. Both are worth less than a minute of waiting: a crash of the database
-- may empty them, and clients make a new ticket, or connect again.
CREATE UNLOGGED TABLE gateway.tickets (
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),  -- SHA-256: of 256 random bits there is nothing to guess
    socket uuid NOT NULL,  -- what the socket that it opens will be called
    tenant text COLLATE "C" NOT NULL,
    subject text NOT NULL,
    scopes text[] NOT NULL,
    channels text[],  -- the only ones that it opens; null for all
    credential_expires_at bigint,  -- unix seconds; when its maker's credential expires
    ended_by text[] NOT NULL,  -- revoking any of these ends its maker's credential
    made_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX tickets_by_age ON gateway.tickets (made_at);

-- Of sockets whose credential expires: what a fresh credential can prolong, whichever replica holds the socket.
CREATE UNLOGGED TABLE gateway.sockets (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    subject text NOT NULL,
    scopes text[] NOT NULL,
    expires_at bigint,  -- unix seconds; null once it was refreshed by what does not expire
    ended_by text[] NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX sockets_by_expiry ON gateway.sockets (expires_at);
