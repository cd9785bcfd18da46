-- Subscriptions are checkpoints that whoever reads the log may have: `subscriber.<group>`, and no other.

-- What a group could not handle. Whoever tries it again takes it out of here with its effect: so it has that once.
CREATE TABLE events.parked (
    name text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (name, position)
);

-- Begin after a position, or after the newest event if it is null. Does nothing if the group has begun already.
CREATE FUNCTION events.begin_subscription(subscribers text, after bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO events.checkpoints (name, position, epoch)
    SELECT 'subscriber.' || subscribers, coalesce(after, head.position), head.epoch FROM events.head
    ON CONFLICT (name) DO NOTHING
$$;

CREATE FUNCTION events.acquire_subscription(subscribers text) RETURNS events.checkpoints
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM events.acquire_checkpoint('subscriber.' || subscribers)
$$;

-- Move on, in the transaction of what has been done. Raises MR001 if somebody has taken over, or if the subscription is
-- there already: then a commit that seemed to fail has not, and what is done now would be done twice.
CREATE FUNCTION events.save_subscription(subscribers text, fenced_by bigint, reached bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE events.checkpoints SET position = reached
    WHERE name = 'subscriber.' || subscribers AND fence = fenced_by AND position < reached;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'subscription % has been taken over', subscribers USING ERRCODE = 'MR001';
    END IF;
END;
$$;

-- Move on past an event that could not be handled.
CREATE FUNCTION events.park(subscribers text, fenced_by bigint, reached bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM events.save_subscription(subscribers, fenced_by, reached);
    INSERT INTO events.parked (name, position) VALUES ('subscriber.' || subscribers, reached) ON CONFLICT DO NOTHING;
END;
$$;

-- Whether the event waits to be tried again.
CREATE FUNCTION events.is_parked(subscribers text, of_epoch uuid, at bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM events.parked JOIN events.checkpoints USING (name)
        WHERE parked.name = 'subscriber.' || subscribers AND parked.position = at AND checkpoints.epoch = of_epoch
    )
$$;

-- It was handled at last. Raises MR001 if it was before.
CREATE FUNCTION events.unpark(subscribers text, at bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM events.parked WHERE name = 'subscriber.' || subscribers AND position = at;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'position % is not parked by %', at, subscribers USING ERRCODE = 'MR001';
    END IF;
END;
$$;

-- Go back, or on, to a position. Whoever reads now is fenced, and begins there; what was parked behind it comes by
-- itself. False if there is no such group, or no such position.
CREATE FUNCTION events.replay(subscribers text, after bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    former uuid;
BEGIN
    SELECT epoch INTO former FROM events.checkpoints WHERE name = 'subscriber.' || subscribers FOR UPDATE;
    UPDATE events.checkpoints AS checkpoint
    SET position = after, epoch = head.epoch, fence = checkpoint.fence + 1
    FROM events.head
    WHERE checkpoint.name = 'subscriber.' || subscribers AND after BETWEEN 0 AND head.position;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM events.parked USING events.head
    WHERE name = 'subscriber.' || subscribers AND (parked.position > after OR former <> head.epoch);
    RETURN true;
END;
$$;

REVOKE ALL ON FUNCTION
    events.begin_subscription, events.acquire_subscription, events.save_subscription, events.park, events.is_parked,
    events.unpark, events.replay
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    events.begin_subscription, events.acquire_subscription, events.save_subscription, events.park, events.is_parked,
    events.unpark, events.replay
TO millrace_reader;
