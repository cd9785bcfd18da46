-- What the log must hear of. A row stays until the log holds its event: a broker's confirm does not close it.
CREATE TABLE gateway.outbox (
    tenant text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    event bytea NOT NULL,  -- the encoded CloudEvent, published as it is
    due_at timestamptz NOT NULL,  -- when it is published again
    PRIMARY KEY (tenant, event_id)
);

CREATE INDEX outbox_by_due ON gateway.outbox (due_at);
