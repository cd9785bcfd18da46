-- Messages that nobody could handle. One row a message, however often it was replayed and parked again.
CREATE TABLE processor.dead_letters (
    id uuid PRIMARY KEY,
    queue text NOT NULL,  -- where it was to be handled, and where a replay sends it again
    message_id text NOT NULL,
    tenant text,  -- null where the message does not tell: then any operator may see it
    routing_key text NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL,
    reason text NOT NULL,
    attempts int NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,  -- null while it waits
    UNIQUE (queue, message_id)
);

CREATE INDEX dead_letters_by_age ON processor.dead_letters (parked_at, id);
