-- Who works on which unfinished job, and in which order others come. No projection: what it knows of a job is copied
-- from there, and what it knows of workers need not be remembered. What a former holder still writes is refused by the
-- log, since it expects an older version.
CREATE TABLE processor.queue (
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    workflow text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    workflow_limit int,  -- how many of the workflow may be under way
    key_limit int,  -- how many of the workflow with the same key
    unique_key text COLLATE "C",
    computes boolean NOT NULL,  -- it has a step that needs a process of its own
    priority int NOT NULL,
    due_at timestamptz NOT NULL,  -- not before; infinity: only mail wakes it
    ready boolean NOT NULL DEFAULT false,  -- its time has come, as a claim has noticed
    under_way boolean NOT NULL DEFAULT false,  -- it was begun, and counts against the limits until its end
    blocked_by text,  -- the limit that it waits for: workflow or key; until there is room, no claim sees it again
    mail boolean NOT NULL DEFAULT false,  -- somebody has something to say to it
    worker text,  -- who holds it
    token bigint NOT NULL DEFAULT 0,  -- the fence: rises each time that somebody takes the job
    failures int NOT NULL DEFAULT 0,  -- how often in a row its worker died or failed
    expires_at timestamptz,  -- from then on, anybody may take it
    PRIMARY KEY (tenant, job_id)
) WITH (  -- each row changes several times in a short life
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);

CREATE INDEX queue_in_order ON processor.queue (computes, tenant, (-priority), due_at, job_id)
WHERE ready AND worker IS NULL AND blocked_by IS NULL;
CREATE INDEX queue_later ON processor.queue (due_at) WHERE NOT ready AND worker IS NULL;
CREATE INDEX queue_later_of_tenant ON processor.queue (tenant, due_at) WHERE NOT ready AND worker IS NULL;
-- An expression, so that no index of all jobs can seem to do as well. Renewals change nothing in it.
CREATE INDEX queue_held ON processor.queue ((CASE WHEN worker IS NOT NULL THEN tenant END)) WHERE worker IS NOT NULL;
CREATE INDEX queue_mail ON processor.queue (worker) WHERE mail;
CREATE INDEX queue_under_way ON processor.queue (tenant, workflow, key)
WHERE under_way AND coalesce(workflow_limit, key_limit) IS NOT NULL;
CREATE INDEX queue_blocked_by_workflow ON processor.queue (tenant, workflow, (-priority), due_at, job_id)
WHERE blocked_by = 'workflow';
CREATE INDEX queue_blocked_by_key ON processor.queue (tenant, workflow, key, (-priority), due_at, job_id)
WHERE blocked_by = 'key';
CREATE UNIQUE INDEX queue_unique ON processor.queue (tenant, workflow, unique_key) WHERE unique_key IS NOT NULL;

-- Where the last claim has stopped, if it did not come to all tenants who wait: the next one goes on after this one.
CREATE TABLE processor.claimed_to (tenant text COLLATE "C" NOT NULL);
INSERT INTO processor.claimed_to VALUES ('');

-- What people, schedules and other jobs say to a job, until its holder has had the log record it.
CREATE TABLE processor.mail (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    kind text NOT NULL,
    data json NOT NULL,
    posted_at timestamptz NOT NULL DEFAULT now()
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX mail_by_job ON processor.mail (tenant, job_id, id);

-- What follows must cost the same however many jobs wait, whatever the planner believes: to it, a queue that was empty
-- when it was last analyzed is empty still. So rows are found by the one index that has them in their order, and are
-- changed one by one, each by its key: a join may be planned so that it reads all of the queue for each of its rows.
-- Whoever changes several does so in the order of (tenant, job_id), or passes over those that another has locked, so that
-- nobody waits for somebody who waits for him.

-- Say something to a job. False if it is finished, or there is none.
CREATE FUNCTION processor.post(id uuid, tenant text, job_id uuid, kind text, data json) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    -- The row's lock first: its holder either sees the mail, or sees that there is some before it lets go.
    UPDATE processor.queue AS job SET mail = true
    WHERE job.tenant = post.tenant AND job.job_id = post.job_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO processor.mail (id, tenant, job_id, kind, data)
    VALUES (post.id, post.tenant, post.job_id, post.kind, post.data)
    ON CONFLICT DO NOTHING;
    RETURN true;
END;
$$;

-- Let the next one in that waits for a limit of this workflow, or of this key of it. One that another has locked is
-- passed over: it ends, or has mail, and is judged again when it is let go.
CREATE FUNCTION processor.unblock(of_tenant text, of_workflow text, of_key text, cause text) RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
DECLARE
    first uuid;
BEGIN
    -- A statement for each: with an OR, neither index would be of use.
    IF cause = 'key' THEN
        SELECT job_id INTO first FROM processor.queue
        WHERE tenant = of_tenant AND workflow = of_workflow AND key = of_key AND blocked_by = 'key'
        ORDER BY -priority, due_at, job_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    ELSE
        SELECT job_id INTO first FROM processor.queue
        WHERE tenant = of_tenant AND workflow = of_workflow AND blocked_by = 'workflow'
        ORDER BY -priority, due_at, job_id LIMIT 1 FOR UPDATE SKIP LOCKED;
    END IF;
    UPDATE processor.queue SET blocked_by = NULL WHERE tenant = of_tenant AND job_id = first;
END;
$$;

-- Take what begins and ends among the events from `first` to `last` into the queue, and out of it.
CREATE FUNCTION processor.enqueue(first bigint, last bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    said record;
    ended processor.queue;
BEGIN
    FOR said IN
        SELECT event.tenant COLLATE "C" AS tenant, substr(event.stream, 5)::uuid AS job_id, NULL::uuid AS id, NULL AS word
        FROM events.events AS event
        WHERE event.position BETWEEN first AND last
            AND event.type IN ('job.completed', 'job.failed', 'job.cancelled')
        UNION ALL
        -- A job that another one waits for says how it has ended. (LATERAL keeps the order of the join: see above.)
        SELECT
            event.tenant, (child.parent ->> 'job_id')::uuid, event.id,
            json_build_object('child', child.id, 'step', child.parent -> 'step', 'item', child.parent -> 'item',
                'status', child.status, 'result', child.result, 'error', child.error)::text
        FROM events.events AS event
        CROSS JOIN LATERAL (
            SELECT * FROM processor.jobs AS job
            WHERE job.tenant = event.tenant AND job.id = substr(event.stream, 5)::uuid
            OFFSET 0
        ) AS child
        WHERE event.position BETWEEN first AND last
            AND event.type IN ('job.completed', 'job.failed', 'job.cancelled') AND child.parent IS NOT NULL
        ORDER BY tenant, job_id, id NULLS FIRST
    LOOP
        IF said.id IS NOT NULL THEN
            PERFORM processor.post(said.id, said.tenant, said.job_id, 'child', said.word::json);
            CONTINUE;
        END IF;
        DELETE FROM processor.queue AS job WHERE job.tenant = said.tenant AND job.job_id = said.job_id
        RETURNING job.* INTO ended;
        IF ended.workflow_limit IS NOT NULL OR ended.key_limit IS NOT NULL THEN
            -- As in `claim`: whoever finds the limit reached has said so by the time that we look for it.
            PERFORM pg_advisory_xact_lock(hashtextextended('processor.claim', 0));
            PERFORM processor.unblock(ended.tenant, ended.workflow, ended.key, 'key');
            PERFORM processor.unblock(ended.tenant, ended.workflow, ended.key, 'workflow');
        END IF;
        DELETE FROM processor.mail WHERE tenant = ended.tenant AND job_id = ended.job_id;
    END LOOP;

    INSERT INTO processor.queue (
        tenant, job_id, workflow, key, workflow_limit, key_limit, unique_key, computes, priority, due_at, ready)
    SELECT
        job.tenant, job.id, job.workflow, job.key, job.workflow_limit, job.key_limit, job.unique_key, job.computes,
        job.priority, coalesce(job.start_at, job.created_at), job.start_at IS NULL OR job.start_at <= now()
    FROM events.events AS event
    CROSS JOIN LATERAL (
        SELECT * FROM processor.jobs AS job
        WHERE job.tenant = event.tenant AND job.id = substr(event.stream, 5)::uuid
        OFFSET 0
    ) AS job
    WHERE event.position BETWEEN first AND last AND event.type = 'job.created' AND job.finished_at IS NULL;
END;
$$;

-- How many jobs of the same tenant come before one that waits; 1000 are that many or more.
CREATE FUNCTION processor.jobs_before(job processor.queue) RETURNS bigint
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
AS $$
BEGIN
    IF job.blocked_by = 'key' THEN
        RETURN (SELECT count(*) FROM (
            SELECT FROM processor.queue AS other
            WHERE other.tenant = job.tenant AND other.workflow = job.workflow AND other.key = job.key
                AND other.blocked_by = 'key'
                AND (-other.priority, other.due_at, other.job_id) < (-job.priority, job.due_at, job.job_id)
            LIMIT 1000) AS earlier);
    ELSIF job.blocked_by = 'workflow' THEN
        RETURN (SELECT count(*) FROM (
            SELECT FROM processor.queue AS other
            WHERE other.tenant = job.tenant AND other.workflow = job.workflow AND other.blocked_by = 'workflow'
                AND (-other.priority, other.due_at, other.job_id) < (-job.priority, job.due_at, job.job_id)
            LIMIT 1000) AS earlier);
    END IF;
    RETURN (SELECT count(*) FROM (
        SELECT FROM (VALUES (false), (true)) AS kind (computes)
        CROSS JOIN LATERAL (
            SELECT FROM processor.queue AS other
            WHERE other.ready AND other.worker IS NULL AND other.blocked_by IS NULL
                AND other.computes = kind.computes AND other.tenant = job.tenant
                AND (-other.priority, other.due_at, other.job_id) < (-job.priority, job.due_at, job.job_id)
            LIMIT 1000
        ) AS one
        LIMIT 1000) AS earlier);
END;
$$;

-- Whether something that was said to a job is not recorded yet.
CREATE FUNCTION processor.has_mail(job processor.queue) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM processor.mail AS mail WHERE mail.tenant = job.tenant AND mail.job_id = job.job_id)
$$;

-- Its place among those that have not begun. One that is paused has none.
CREATE FUNCTION processor.own_time(job processor.jobs) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN job.status = 'PENDING' AND job.sub_status = 'paused' THEN 'infinity'
        ELSE coalesce(job.start_at, job.created_at)
    END
$$;

-- A job's holder has nothing to do for it: for so many seconds, or, if it was not begun, until its turn comes again.
CREATE FUNCTION processor.let_go(
    of_tenant text, of_job uuid, of_token bigint, by_worker text, due_in double precision, begun boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    gone processor.queue;
BEGIN
    -- What was said to it while its holder had already turned away is found by who comes next.
    UPDATE processor.queue AS job
    -- If a limit keeps it back, it is judged again in its turn: until then it may be paused, and others let in.
    SET worker = NULL, failures = 0, under_way = under_way AND begun, ready = false, blocked_by = NULL,
        mail = mail OR processor.has_mail(job),
        due_at = CASE
            WHEN due_in IS NOT NULL THEN now() + make_interval(secs => due_in)
            WHEN begun THEN 'infinity'
            ELSE (
                SELECT processor.own_time(made) FROM processor.jobs AS made
                WHERE made.tenant = of_tenant AND made.id = of_job)
        END
    WHERE job.tenant = of_tenant AND job.job_id = of_job AND job.token = of_token
        AND job.worker IS NOT DISTINCT FROM by_worker  -- by its key, not among all that are held
    RETURNING job.* INTO gone;
    IF NOT begun AND coalesce(gone.workflow_limit, gone.key_limit) IS NOT NULL THEN
        -- It may have been let in, and others may come in its place.
        PERFORM pg_advisory_xact_lock(hashtextextended('processor.claim', 0));
        PERFORM processor.unblock(gone.tenant, gone.workflow, gone.key, 'key');
        PERFORM processor.unblock(gone.tenant, gone.workflow, gone.key, 'workflow');
    END IF;
END;
$$;

CREATE TYPE processor.taken AS (
    tenant text,
    job_id uuid,
    token bigint,
    failures int,
    lost boolean,  -- whoever had it let the lease expire
    under_way boolean,
    mail boolean,
    computes boolean
);

CREATE TYPE processor.job_name AS (tenant text, job_id uuid);

-- A worker holds these jobs for another while. Those that it has no more are not returned. (Tokens alone do not tell: one
-- that a crash of the database has lost is given again.)
CREATE FUNCTION processor.renew(
    by_worker text, tenants text[], jobs uuid[], tokens bigint[], lease_seconds double precision)
RETURNS SETOF processor.job_name
LANGUAGE plpgsql AS $$
DECLARE
    mine record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR mine IN
        SELECT * FROM unnest(tenants, jobs, tokens) AS mine (tenant, job_id, token) ORDER BY tenant COLLATE "C", job_id
    LOOP
        UPDATE processor.queue AS job SET expires_at = now() + make_interval(secs => lease_seconds)
        WHERE job.tenant = mine.tenant AND job.job_id = mine.job_id AND job.token = mine.token
            AND job.worker IS NOT DISTINCT FROM by_worker;
        IF FOUND THEN
            RETURN NEXT (mine.tenant, mine.job_id)::processor.job_name;
        END IF;
    END LOOP;
END;
$$;

-- Which of a worker's jobs have mail. It counts as collected.
CREATE FUNCTION processor.collect(by_worker text) RETURNS SETOF processor.job_name
LANGUAGE plpgsql AS $$
DECLARE
    told processor.job_name;
    names processor.job_name[] := ARRAY(
        SELECT (job.tenant, job.job_id)::processor.job_name FROM processor.queue AS job
        WHERE job.worker = by_worker AND job.mail);
BEGIN
    FOR told IN SELECT * FROM unnest(names) AS name ORDER BY name.tenant COLLATE "C", name.job_id LOOP
        UPDATE processor.queue AS job SET mail = false
        WHERE job.tenant = told.tenant AND job.job_id = told.job_id AND job.worker IS NOT DISTINCT FROM by_worker;
        IF FOUND THEN
            RETURN NEXT told;
        END IF;
    END LOOP;
END;
$$;

-- At a worker's orderly end: anybody may take its jobs at once, and none has failed.
CREATE FUNCTION processor.release_all(by_worker text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    held processor.job_name;
    names processor.job_name[] := ARRAY(
        SELECT (job.tenant, job.job_id)::processor.job_name FROM processor.queue AS job WHERE job.worker = by_worker);
BEGIN
    FOR held IN SELECT * FROM unnest(names) AS name ORDER BY name.tenant COLLATE "C", name.job_id LOOP
        UPDATE processor.queue AS job
        SET worker = NULL, ready = false, mail = mail OR processor.has_mail(job),
            failures = 0, blocked_by = NULL,
            due_at = CASE
                WHEN under_way THEN now()
                ELSE (
                    SELECT processor.own_time(made) FROM processor.jobs AS made
                    WHERE made.tenant = held.tenant AND made.id = held.job_id)
            END
        WHERE job.tenant = held.tenant AND job.job_id = held.job_id AND job.worker IS NOT DISTINCT FROM by_worker;
    END LOOP;
END;
$$;

-- Of those that wait for the same limit, let the first look again.
CREATE FUNCTION processor.unblock_all() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    first_one processor.job_name;
    names processor.job_name[] := ARRAY(
        SELECT DISTINCT ON (tenant, workflow, blocked_by, CASE blocked_by WHEN 'key' THEN key END)
            (tenant, job_id)::processor.job_name
        FROM processor.queue
        WHERE blocked_by IS NOT NULL
        ORDER BY tenant, workflow, blocked_by, CASE blocked_by WHEN 'key' THEN key END, -priority, due_at, job_id);
BEGIN
    FOR first_one IN SELECT * FROM unnest(names) AS name ORDER BY name.tenant COLLATE "C", name.job_id LOOP
        UPDATE processor.queue AS job SET blocked_by = NULL
        WHERE job.tenant = first_one.tenant AND job.job_id = first_one.job_id;
    END LOOP;
END;
$$;

-- Give a job to a worker, who begins it or goes on with it (`turn`), reads its mail, or takes over what another has lost.
CREATE FUNCTION processor.give(
    of_tenant text, of_job uuid, by_worker text, until timestamptz, turn boolean DEFAULT false,
    lost boolean DEFAULT false) RETURNS processor.taken
LANGUAGE plpgsql AS $$
DECLARE
    job processor.queue;
BEGIN
    UPDATE processor.queue AS given
    SET worker = by_worker, token = token + 1, failures = failures + lost::int, expires_at = until,
        under_way = under_way OR turn,
        mail = mail OR lost  -- what its holder had collected is to be read again
    WHERE given.tenant = of_tenant AND given.job_id = of_job
    RETURNING given.* INTO job;
    RETURN (job.tenant, job.job_id, job.token, job.failures, lost, job.under_way, job.mail, job.computes);
END;
$$;

-- Those whose time has come wait for their turn from now on. However many they are that wait for theirs, nobody walks past
-- them. Returns whether there may be more.
CREATE FUNCTION processor.notice() RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    at_once CONSTANT int := 500;
    noticed CONSTANT timestamptz := clock_timestamp();
    due processor.job_name;
    found_ones int := 0;
BEGIN
    FOR due IN
        SELECT later.tenant, later.job_id FROM processor.queue AS later
        WHERE NOT later.ready AND later.worker IS NULL AND later.due_at <= noticed
        ORDER BY later.due_at
        LIMIT at_once
        FOR UPDATE SKIP LOCKED
    LOOP
        UPDATE processor.queue AS later SET ready = true
        WHERE later.tenant = due.tenant AND later.job_id = due.job_id;
        found_ones := found_ones + 1;
    END LOOP;
    IF found_ones < at_once THEN
        RETURN false;
    END IF;
    -- Perhaps they are all of one tenant: nobody else is to wait until they are done.
    FOR due IN
        WITH RECURSIVE tenants AS (
            SELECT '' COLLATE "C" AS tenant
            UNION ALL
            SELECT next.tenant
            FROM tenants
            CROSS JOIN LATERAL (
                SELECT later.tenant FROM processor.queue AS later
                WHERE NOT later.ready AND later.worker IS NULL AND later.tenant > tenants.tenant
                ORDER BY later.tenant, later.due_at
                LIMIT 1
            ) AS next
        ),
        firsts AS (
            SELECT later.tenant, later.job_id
            FROM tenants
            CROSS JOIN LATERAL (
                SELECT one.tenant, one.job_id, one.due_at, row_number() OVER (ORDER BY one.due_at) AS number
                FROM processor.queue AS one
                WHERE NOT one.ready AND one.worker IS NULL AND one.tenant = tenants.tenant AND one.due_at <= noticed
                ORDER BY one.due_at
                LIMIT 10
            ) AS later
            ORDER BY later.number, later.due_at
            LIMIT at_once
        )
        SELECT later.tenant, later.job_id
        FROM firsts
        CROSS JOIN LATERAL (
            SELECT * FROM processor.queue AS one
            WHERE one.tenant = firsts.tenant AND one.job_id = firsts.job_id
            FOR UPDATE SKIP LOCKED
        ) AS later
    LOOP
        UPDATE processor.queue AS later SET ready = true
        WHERE later.tenant = due.tenant AND later.job_id = due.job_id;
    END LOOP;
    RETURN true;
END;
$$;

-- How many jobs each of those tenants holds who are next, by their names. From one to the next by the index, however many
-- wait for each; if very many tenants have some that wait, some tenants in this claim and some in the next.
CREATE FUNCTION processor.tenants_in_turn(wanted int, computing int, per_tenant int, OUT tenants jsonb, OUT others boolean)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    in_one_claim CONSTANT int := greatest(wanted, 100);
    place CONSTANT text := (SELECT tenant FROM processor.claimed_to);
    stopped text := place;
    found_ones jsonb;
BEGIN
    tenants := '{}';
    FOR round IN 1..2 LOOP
        WITH RECURSIVE walk AS (
            SELECT stopped COLLATE "C" AS tenant
            UNION ALL
            SELECT next.tenant
            FROM walk
            CROSS JOIN LATERAL (
                SELECT first.tenant
                FROM (VALUES (false), (true)) AS kind (computes)
                CROSS JOIN LATERAL (
                    SELECT job.tenant FROM processor.queue AS job
                    WHERE job.ready AND job.worker IS NULL AND job.blocked_by IS NULL
                        AND job.computes = kind.computes AND job.tenant > walk.tenant
                    ORDER BY job.tenant, -job.priority, job.due_at, job.job_id
                    LIMIT 1
                ) AS first
                WHERE NOT kind.computes OR computing > 0
                ORDER BY first.tenant
                LIMIT 1
            ) AS next
        ),
        seen AS MATERIALIZED (SELECT walk.tenant FROM walk OFFSET 1 LIMIT in_one_claim)
        SELECT
            jsonb_object_agg(seen.tenant, held.jobs) FILTER (WHERE held.jobs < per_tenant),
            CASE WHEN count(*) < in_one_claim THEN '' ELSE max(seen.tenant) END
        INTO found_ones, stopped
        FROM seen
        CROSS JOIN LATERAL (
            SELECT count(*) AS jobs FROM processor.queue AS job
            WHERE CASE WHEN job.worker IS NOT NULL THEN job.tenant END = seen.tenant AND job.worker IS NOT NULL
        ) AS held;
        tenants := tenants || coalesce(found_ones, '{}');
        EXIT WHEN place = '' OR stopped <> '';
    END LOOP;
    UPDATE processor.claimed_to SET tenant = stopped WHERE tenant <> stopped;
    others := stopped <> '';
END;
$$;

-- Up to `wanted` jobs of these tenants that somebody may begin or go on with now, and up to `computing` among them that
-- compute: of each tenant in its own order, and among tenants those first who have had fewest.
CREATE FUNCTION processor.in_turn(tenants jsonb, wanted int, computing int, per_tenant int)
RETURNS SETOF processor.job_name
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    -- If those who have had fewest are brought to one level, how high is it? Beyond that, none of a tenant are looked at.
    WITH levels AS (
        SELECT one.key COLLATE "C" AS tenant, one.value::int AS had,
            (wanted + sum(one.value::int) OVER fewest_first) / count(*) OVER fewest_first + 1 AS level
        FROM jsonb_each_text(tenants) AS one
        WINDOW fewest_first AS (ORDER BY one.value::int ROWS UNBOUNDED PRECEDING)
    ),
    turns AS (
        SELECT
            levels.tenant, job.*, levels.had + row_number() OVER (
                PARTITION BY levels.tenant ORDER BY job.rank, job.due_at, job.job_id) AS turn
        FROM levels
        CROSS JOIN (VALUES (false), (true)) AS kind (computes)
        CROSS JOIN LATERAL (
            SELECT one.job_id, one.computes, -one.priority AS rank, one.due_at FROM processor.queue AS one
            WHERE one.ready AND one.worker IS NULL AND one.blocked_by IS NULL
                AND one.computes = kind.computes AND one.tenant = levels.tenant
            ORDER BY -one.priority, one.due_at, one.job_id
            LIMIT greatest(0, least(
                CASE WHEN kind.computes THEN computing ELSE wanted END,
                (SELECT min(level) FROM levels) - levels.had))
        ) AS job
    ),
    numbered AS (
        SELECT turns.*, row_number() OVER (PARTITION BY computes ORDER BY turn, rank, due_at, job_id) AS among_its_kind
        FROM turns
        WHERE turn <= per_tenant
    )
    SELECT tenant, job_id FROM numbered
    WHERE NOT computes OR among_its_kind <= computing
    ORDER BY turn, rank, due_at, job_id
    LIMIT wanted;
END;
$$;

-- How many of a workflow, or of one key of it, were begun.
CREATE FUNCTION processor.under_way(of_tenant text, of_workflow text, of_key text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
BEGIN
    IF of_key IS NULL THEN
        RETURN (
            SELECT count(*) FROM processor.queue
            WHERE under_way AND coalesce(workflow_limit, key_limit) IS NOT NULL
                AND tenant = of_tenant AND workflow = of_workflow);
    END IF;
    RETURN (
        SELECT count(*) FROM processor.queue
        WHERE under_way AND coalesce(workflow_limit, key_limit) IS NOT NULL
            AND tenant = of_tenant AND workflow = of_workflow AND key = of_key);
END;
$$;

-- The same counts, with one more of this name if it is counted there.
CREATE FUNCTION processor.one_more(counts jsonb, name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN counts ? name THEN counts || jsonb_build_object(name, (counts -> name)::int + 1) ELSE counts END
$$;

-- Take up to `wanted` jobs: first those whose holder has died, then those that have mail, then those whose turn it is.
-- `more`: not all were looked at that wait for their turn. One claims at a time, so that limits hold.
CREATE FUNCTION processor.take(
    by_worker text, wanted int, lease_seconds double precision, computing int, per_tenant int,
    OUT mine processor.taken[], OUT more boolean)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    until CONSTANT timestamptz := clock_timestamp() + make_interval(secs => lease_seconds);
    enough CONSTANT int := 500;  -- are turned away by one claim
    found_one processor.job_name;
    job processor.queue;
    given processor.taken;
    tenants jsonb;
    begun jsonb := '{}';  -- how many of each limited workflow and key are under way, as far as we have counted
    of_workflow text;
    of_key text;
    reached text;
    noticed boolean;
    others boolean := false;
    turned_away int := 0;
    looked boolean := false;
BEGIN
    mine := '{}';
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock(hashtextextended('processor.claim', 0));
    noticed := processor.notice();

    FOR found_one IN
        SELECT lost.tenant, lost.job_id FROM processor.queue AS lost
        WHERE lost.worker IS NOT NULL AND lost.expires_at <= clock_timestamp()
        LIMIT wanted
        FOR UPDATE SKIP LOCKED
    LOOP
        given := processor.give(found_one.tenant, found_one.job_id, by_worker, until, lost => true);
        mine := mine || given;
        computing := computing - given.computes::int;
    END LOOP;

    FOR found_one IN
        SELECT told.tenant, told.job_id FROM processor.queue AS told
        WHERE told.mail AND told.worker IS NULL
        LIMIT wanted - cardinality(mine)
        FOR UPDATE SKIP LOCKED
    LOOP
        given := processor.give(found_one.tenant, found_one.job_id, by_worker, until);
        mine := mine || given;
        computing := computing - given.computes::int;
    END LOOP;

    IF cardinality(mine) < wanted THEN
        SELECT turn.* INTO tenants, others FROM processor.tenants_in_turn(wanted, computing, per_tenant) AS turn;
    END IF;
    FOR pass IN 1..8 LOOP
        EXIT WHEN cardinality(mine) >= wanted OR turned_away >= enough OR tenants = '{}';
        looked := false;
        FOR job IN
            SELECT waiting.*
            FROM processor.in_turn(
                tenants, greatest(wanted - cardinality(mine), CASE WHEN pass > 1 THEN 64 END),
                greatest(computing, 0), per_tenant) AS turn
            CROSS JOIN LATERAL (
                SELECT * FROM processor.queue AS waiting
                WHERE waiting.tenant = turn.tenant AND waiting.job_id = turn.job_id
                FOR UPDATE SKIP LOCKED
            ) AS waiting
        LOOP
            looked := true;
            -- Also if it is turned away: so others have theirs in this claim.
            tenants := processor.one_more(tenants, job.tenant);
            of_workflow := json_build_array(job.tenant, job.workflow);
            of_key := json_build_array(job.tenant, job.workflow, job.key);
            reached := NULL;
            IF NOT job.under_way THEN
                IF job.key_limit IS NOT NULL AND job.key IS NOT NULL AND NOT begun ? of_key THEN
                    begun := begun || jsonb_build_object(
                        of_key, processor.under_way(job.tenant, job.workflow, job.key));
                END IF;
                IF job.workflow_limit IS NOT NULL AND NOT begun ? of_workflow THEN
                    begun := begun || jsonb_build_object(of_workflow, processor.under_way(job.tenant, job.workflow));
                END IF;
                reached := CASE
                    WHEN job.key_limit <= (begun -> of_key)::int THEN 'key'
                    WHEN job.workflow_limit <= (begun -> of_workflow)::int THEN 'workflow'
                END;
            END IF;
            IF reached IS NULL THEN
                given := processor.give(job.tenant, job.job_id, by_worker, until, turn => true);
                mine := mine || given;
                computing := computing - given.computes::int;
                IF NOT job.under_way AND coalesce(job.workflow_limit, job.key_limit) IS NOT NULL THEN
                    begun := processor.one_more(processor.one_more(begun, of_workflow), of_key);
                END IF;
                EXIT WHEN cardinality(mine) >= wanted;
                CONTINUE;
            END IF;
            -- It is in nobody's way any more. The next claim goes on with those that this one does not come to.
            UPDATE processor.queue AS waiting SET blocked_by = reached
            WHERE waiting.tenant = job.tenant AND waiting.job_id = job.job_id;
            turned_away := turned_away + 1;
            IF reached = 'key' AND coalesce((begun -> of_workflow)::int < job.workflow_limit, true) THEN
                -- What room the workflow has, somebody with another key may use.
                PERFORM processor.unblock(job.tenant, job.workflow, NULL, 'workflow');
            END IF;
            EXIT WHEN turned_away >= enough;
        END LOOP;
        EXIT WHEN NOT looked;
    END LOOP;
    more := noticed OR turned_away > 0 OR cardinality(mine) >= wanted OR cardinality(mine) > 0 AND (others OR looked);
END;
$$;

DROP FUNCTION processor.claim(text, int, double precision);

-- The same with what a worker must know of them: the version of each, and of one that has not begun its first event.
-- If there are none, a row without a job says whether there may be more.
CREATE FUNCTION processor.claim(
    by_worker text, wanted int, lease_seconds double precision, computing int, per_tenant int)
RETURNS TABLE (
    more boolean, tenant text, job_id uuid, token bigint, failures int, lost boolean, under_way boolean, mail boolean,
    computes boolean, version bigint, created json)
LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    claimed record := processor.take(by_worker, wanted, lease_seconds, computing, per_tenant);
BEGIN
    -- A statement of its own: one that began before a job was there would not see it, although it has just taken it.
    RETURN QUERY
    SELECT
        claimed.more,
        one.tenant, one.job_id, one.token, one.failures, one.lost, one.under_way, one.mail, one.computes, job.version,
        CASE WHEN job.status = 'PENDING' THEN (
            SELECT event.data FROM events.events AS event
            WHERE event.version = 1 AND event.stream_id = (
                SELECT stream.id FROM events.streams AS stream
                WHERE stream.tenant = one.tenant AND stream.stream = 'job:' || one.job_id::text)
        ) END
    FROM unnest(claimed.mine) AS one
    CROSS JOIN LATERAL (
        SELECT * FROM processor.jobs AS job WHERE job.tenant = one.tenant AND job.id = one.job_id OFFSET 0
    ) AS job
    UNION ALL
    SELECT claimed.more, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    WHERE cardinality(claimed.mine) = 0;
END;
$$;

DROP TABLE processor.leases;

-- Append, project what was accepted, keep the queue, and move the given checkpoint: one statement, committed together.
CREATE OR REPLACE FUNCTION processor.append(
    tenants text[], stream_tenants int[], streams text[], stream_expected bigint[], stream_added bigint[],
    requests json, types text[], sources text[],
    event_streams int[], event_offsets bigint[], event_types int[],
    ids uuid[], times bigint[], traceparents text[], data json[],
    checkpoint_name text DEFAULT NULL, checkpoint_fence bigint DEFAULT NULL, checkpoint_position bigint DEFAULT NULL,
    OUT accepted_from bigint, OUT accepted_to bigint, OUT former_versions bigint[],
    OUT outcomes text[], OUT positions bigint[], OUT versions bigint[], OUT reused uuid[]
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT * INTO accepted_from, accepted_to, former_versions, outcomes, positions, versions, reused
    FROM events.append(tenants, stream_tenants, streams, stream_expected, stream_added, requests, types, sources,
        event_streams, event_offsets, event_types, ids, times, traceparents, data);
    IF accepted_to >= accepted_from THEN
        PERFORM processor.project(accepted_from, accepted_to);
        IF types && ARRAY['job.created', 'job.completed', 'job.failed', 'job.cancelled'] THEN
            PERFORM processor.enqueue(accepted_from, accepted_to);
        END IF;
        IF types && ARRAY['workflow.published', 'workflow.retired'] THEN
            PERFORM processor.project_workflows(accepted_from, accepted_to);
        END IF;
        IF types && ARRAY['schedule.created', 'schedule.changed', 'schedule.fired', 'schedule.skipped',
            'schedule.paused', 'schedule.resumed', 'schedule.deleted'] THEN
            PERFORM processor.project_schedules(accepted_from, accepted_to);
        END IF;
        IF types && ARRAY['job.created'] THEN
            PERFORM processor.note_started();
        END IF;
    END IF;
    IF checkpoint_name IS NOT NULL THEN
        PERFORM events.save_checkpoint(checkpoint_name, checkpoint_fence, checkpoint_position);
    END IF;
END;
$$;

-- Make every projection anew from the log, and the queue from them; appends wait meanwhile. Returns how many events were
-- replayed.
CREATE OR REPLACE FUNCTION processor.rebuild(chunk bigint DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SET enable_seqscan = off  -- a table that was just emptied looks small, and is not
AS $$
DECLARE
    newest bigint;
BEGIN
    -- Whoever has appended holds a lock on the table until its commit: once it is ours, the log shows all that counts.
    LOCK TABLE processor.jobs IN EXCLUSIVE MODE;
    DELETE FROM processor.jobs;
    DELETE FROM processor.steps;
    DELETE FROM processor.workflows;
    DELETE FROM processor.schedules;
    SELECT head.position INTO newest FROM events.head;
    FOR start IN 1..newest BY chunk LOOP
        PERFORM processor.project(start, least(start + chunk - 1, newest));
        PERFORM processor.project_workflows(start, least(start + chunk - 1, newest));
        PERFORM processor.project_schedules(start, least(start + chunk - 1, newest));
        PERFORM processor.note_started();
    END LOOP;
    -- Who holds a job keeps it: only what was lost comes back, and what is finished goes.
    LOCK TABLE processor.queue IN EXCLUSIVE MODE;
    DELETE FROM processor.queue AS queued
    WHERE NOT EXISTS (
        SELECT FROM processor.jobs AS job
        WHERE job.tenant = queued.tenant AND job.id = queued.job_id AND job.finished_at IS NULL);
    INSERT INTO processor.queue (
        tenant, job_id, workflow, key, workflow_limit, key_limit, unique_key, computes, priority, due_at, under_way)
    SELECT
        job.tenant, job.id, job.workflow, job.key, job.workflow_limit, job.key_limit, job.unique_key, job.computes,
        job.priority, processor.own_time(job), job.status <> 'PENDING'
    FROM processor.jobs AS job
    WHERE job.finished_at IS NULL
    ON CONFLICT (tenant, job_id) DO NOTHING;
    RETURN newest;
END;
$$;

SELECT processor.rebuild();
