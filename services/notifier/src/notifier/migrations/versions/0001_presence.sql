-- Who is present in which channel, through whichever notifier. UNLOGGED: it costs no fsync, and is empty after a crash of
-- the server; then each notifier finds itself forgotten, and says all of it again.

-- A notifier whose last beat is long ago is dead, and so are its clients.
CREATE UNLOGGED TABLE notifier.notifiers (
    id uuid PRIMARY KEY,
    beat_at timestamptz NOT NULL
);

CREATE UNLOGGED TABLE notifier.present (
    tenant text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    client uuid NOT NULL,
    subject text NOT NULL,  -- the key or user
    notifier uuid NOT NULL REFERENCES notifier.notifiers ON DELETE CASCADE,
    PRIMARY KEY (tenant, channel, client)
);

CREATE INDEX present_by_notifier ON notifier.present (notifier);

-- A notifier beats, and says which of its clients have come into a channel, and, without a subject, which have left it.
-- Returns whether it was not known (any more): then what it has said before is forgotten.
CREATE FUNCTION notifier.beat(me uuid, tenants text[], channels text[], clients uuid[], subjects text[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    forgotten boolean;
BEGIN
    INSERT INTO notifier.notifiers AS known VALUES (me, now())
    ON CONFLICT (id) DO UPDATE SET beat_at = now()
    RETURNING known.xmax = 0 INTO forgotten;

    DELETE FROM notifier.present AS kept
    USING unnest(tenants, channels, clients, subjects) AS said (tenant, channel, client, subject)
    WHERE said.subject IS NULL
        AND kept.tenant = said.tenant AND kept.channel = said.channel AND kept.client = said.client;

    INSERT INTO notifier.present (tenant, channel, client, subject, notifier)
    SELECT said.tenant, said.channel, said.client, said.subject, me
    FROM unnest(tenants, channels, clients, subjects) AS said (tenant, channel, client, subject)
    WHERE said.subject IS NOT NULL
    ON CONFLICT DO NOTHING;

    RETURN forgotten;
END
$$;
