-- Which logs this one has been. A copy of the log, or one that has lost its newest events, is another log: positions and
-- versions of the former one may mean something else in it, so it has another epoch, and old cursors are refused.
CREATE TABLE events.epochs (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch uuid NOT NULL UNIQUE,
    place text COLLATE "C" NOT NULL,  -- see events.place
    after_position bigint NOT NULL,  -- where the log ended then
    because text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT now()
);

-- Where the log lies: on which cluster, on which of its timelines, in which table. A promoted standby and a restore to a
-- moment begin a timeline; what pg_restore makes is another table, and mostly on another cluster.
CREATE FUNCTION events.place() RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    cluster text := 'unknown';
BEGIN
    BEGIN
        cluster := system_identifier FROM pg_control_system();
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;  -- somebody else's service: the table and the timeline have to do
    END;
    RETURN format('%s/%s/%s', cluster, left(pg_walfile_name(pg_current_wal_lsn()), 8), 'events.head'::regclass::oid);
END;
$$;

-- Make it another log, in the caller's transaction. Relays go on where they were, and whoever reads for them now begins
-- anew. Groups of subscribers stay in the former epoch, and halt: what they have done elsewhere is not undone by a restore,
-- so their owner decides where they go on (events.replay).
CREATE FUNCTION events.renew_epoch(why text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    renewed uuid;
BEGIN
    UPDATE events.head SET epoch = gen_random_uuid() RETURNING epoch INTO renewed;
    INSERT INTO events.epochs (epoch, place, after_position, because)
    SELECT head.epoch, events.place(), head.position, why FROM events.head;
    UPDATE events.checkpoints AS checkpoint
    SET epoch = renewed, position = least(checkpoint.position, head.position), fence = checkpoint.fence + 1
    FROM events.head
    WHERE checkpoint.name LIKE 'relay.%';
    RETURN renewed;
END;
$$;

-- For whoever is about to append on a new connection: the log's epoch, a new one if this is not the log that it was. The
-- caller may know how far it had come (`known` in the epoch `known_epoch`): a log that ends before that has lost events.
--
-- Of a promoted standby nobody can tell whether it had all that was committed. Where replication is synchronous it has:
-- say so by ALTER DATABASE … SET millrace.failover = 'lossless', and the log stays the same one.
CREATE FUNCTION events.recognise(known_epoch uuid, known bigint) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here text;
    seen events.epochs;
    head events.head;
BEGIN
    IF pg_is_in_recovery() THEN
        -- It may be promoted behind this connection, which that does not end: nobody may take it for recognised.
        RAISE EXCEPTION 'the log is on a standby, which takes no appends' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    SELECT * INTO head FROM events.head;
    here := events.place();
    SELECT * INTO seen FROM events.epochs ORDER BY number DESC LIMIT 1;
    IF seen.place = here AND NOT (head.epoch = known_epoch AND head.position < known) THEN
        RETURN head.epoch;
    END IF;
    -- Something is different. Under the head's lock, for several may have noticed.
    PERFORM FROM events.head FOR UPDATE;
    SELECT * INTO head FROM events.head;
    SELECT * INTO seen FROM events.epochs ORDER BY number DESC LIMIT 1;
    IF head.epoch = known_epoch AND head.position < known THEN
        RETURN events.renew_epoch(format('it ends at %s, and %s was known of it: events are lost', head.position, known));
    ELSIF seen.place = here THEN
        RETURN head.epoch;
    ELSIF split_part(seen.place, '/', 1) <> split_part(here, '/', 1) THEN
        RETURN events.renew_epoch('it is on another database cluster');
    ELSIF split_part(seen.place, '/', 3) <> split_part(here, '/', 3) THEN
        RETURN events.renew_epoch('it was restored into another table');
    ELSIF current_setting('millrace.failover', true) = 'lossless' THEN
        UPDATE events.epochs SET place = here WHERE number = seen.number;
        RETURN head.epoch;
    END IF;
    RETURN events.renew_epoch('a standby was promoted, or the cluster was restored to a moment');
END;
$$;

-- Move the checkpoint, in the caller's transaction. Raises MR001 if somebody has taken over, if it would move back, or if
-- the log ends before: it has lost its end since the position was read, and whoever read it begins anew where the log is.
CREATE OR REPLACE FUNCTION events.save_checkpoint(checkpoint_name text, fenced_by bigint, reached bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE events.checkpoints SET position = reached
    WHERE name = checkpoint_name AND fence = fenced_by AND position <= reached
        AND reached <= (SELECT head.position FROM events.head);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'checkpoint % has been taken over, or the log ends before %', checkpoint_name, reached
            USING ERRCODE = 'MR001';
    END IF;
END;
$$;

INSERT INTO events.epochs (epoch, place, after_position, because)
SELECT head.epoch, events.place(), head.position, CASE head.position WHEN 0 THEN 'it begins' ELSE 'it was upgraded' END
FROM events.head;

REVOKE ALL ON FUNCTION events.place, events.renew_epoch, events.recognise FROM PUBLIC;
GRANT SELECT ON events.epochs TO millrace_reader;
GRANT EXECUTE ON FUNCTION events.recognise TO millrace_appender;
