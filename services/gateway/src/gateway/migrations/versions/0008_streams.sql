-- Streams of events that a ticket has opened. A browser that loses one asks for the same URL again: the ticket in it is
-- used up, and the cookie beside it says that it is the same browser.
CREATE TABLE gateway.streams (
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),  -- SHA-256 of the ticket and the cookie, which are random
    socket uuid NOT NULL,  -- what the stream is called, however often it is opened
    tenant text COLLATE "C" NOT NULL,
    subject text NOT NULL,
    scopes text[] NOT NULL,
    channels text[],  -- the only ones that it may follow; null for all
    credential_expires_at bigint,  -- unix seconds; when the credential that it lives by expires
    ended_by text[] NOT NULL,  -- revoking any of these ends that, and removes the row
    seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX streams_by_age ON gateway.streams (seen_at);
CREATE INDEX streams_by_socket ON gateway.streams (socket);
CREATE INDEX streams_by_end ON gateway.streams USING gin (ended_by);
