-- Who works on a job. Not a projection: it says who may write, not what happened.
CREATE TABLE processor.leases (
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    token bigint NOT NULL,  -- rises with each holder
    holder uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, job_id)
) WITH (fillfactor = 50);

-- What may be claimed, oldest first.
CREATE INDEX jobs_open ON processor.jobs (created_at, id) WHERE status IN ('PENDING', 'PROCESSING');

-- Messages that could not be handled, with the reason, until they are replayed.
CREATE TABLE processor.dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    queue text NOT NULL,
    routing_key text NOT NULL,
    reason text NOT NULL,
    attempts int NOT NULL,
    headers json NOT NULL,
    body bytea NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    UNIQUE NULLS NOT DISTINCT (message_id, queue, replayed_at)  -- a message that is parked twice waits once
);
