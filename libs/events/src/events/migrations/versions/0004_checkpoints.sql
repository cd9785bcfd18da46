-- How far a named reader has come. Each time one takes over, the fence rises, and its predecessor's saves are refused.
CREATE TABLE events.checkpoints (
    name text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    epoch uuid NOT NULL,
    fence bigint NOT NULL DEFAULT 1
) WITH (fillfactor = 50);

-- Take the checkpoint over, or begin it before the log's first event.
CREATE FUNCTION events.acquire_checkpoint(checkpoint_name text) RETURNS events.checkpoints
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO events.checkpoints AS checkpoint (name, epoch)
    SELECT checkpoint_name, head.epoch FROM events.head
    ON CONFLICT (name) DO UPDATE SET fence = checkpoint.fence + 1
    RETURNING checkpoint.*
$$;

-- Move the checkpoint, in the caller's transaction. Raises MR001 if somebody has taken over, or if it would move back.
CREATE FUNCTION events.save_checkpoint(checkpoint_name text, fenced_by bigint, reached bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE events.checkpoints SET position = reached
    WHERE name = checkpoint_name AND fence = fenced_by AND position <= reached;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'checkpoint % has been taken over', checkpoint_name USING ERRCODE = 'MR001';
    END IF;
END;
$$;

REVOKE ALL ON FUNCTION events.acquire_checkpoint, events.save_checkpoint FROM PUBLIC;
GRANT SELECT ON events.checkpoints TO millrace_reader;
GRANT EXECUTE ON FUNCTION events.acquire_checkpoint, events.save_checkpoint TO millrace_appender;
