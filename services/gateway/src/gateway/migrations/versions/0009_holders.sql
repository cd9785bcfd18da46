-- Who holds an open socket: nobody forgets what another holds, and what a dead gateway held is forgotten by the others.
-- As short-lived as the sockets' terms themselves.
CREATE UNLOGGED TABLE gateway.holders (
    id uuid PRIMARY KEY,  -- one process of the gateway
    seen_at timestamptz NOT NULL DEFAULT now(),
    since timestamptz  -- when it was seen first, or again after it could not be; null until all that it holds is known
);

ALTER TABLE gateway.sockets
    -- Null for sockets of a gateway from before this.
    ADD COLUMN holder uuid REFERENCES gateway.holders ON DELETE CASCADE,
    -- A stream that was lost is opened again under the same id, here or elsewhere.
    ADD COLUMN opening uuid;

CREATE INDEX sockets_by_holder ON gateway.sockets (holder);
