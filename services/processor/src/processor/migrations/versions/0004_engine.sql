-- What jobs of many steps, workflows and schedules are now: folds of their streams. Who works on them is the next one.

ALTER TABLE processor.jobs
    ADD COLUMN workflow_version int NOT NULL DEFAULT 1,
    ADD COLUMN sub_status text,
    ADD COLUMN eta_seconds int,
    ADD COLUMN attempts int NOT NULL DEFAULT 0,  -- how often a worker has begun it or taken it over
    ADD COLUMN priority int NOT NULL DEFAULT 0,
    ADD COLUMN start_at timestamptz,
    ADD COLUMN key text,
    ADD COLUMN workflow_limit int,
    ADD COLUMN key_limit int,
    ADD COLUMN unique_key text,
    ADD COLUMN computes boolean NOT NULL DEFAULT true,
    ADD COLUMN parent json,
    ADD COLUMN retry_of uuid,
    ADD COLUMN schedule uuid;

DROP INDEX processor.jobs_unfinished;
CREATE INDEX jobs_unfinished ON processor.jobs (tenant, created_at) WHERE finished_at IS NULL;
CREATE INDEX jobs_retries ON processor.jobs (tenant, retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX jobs_to_retry ON processor.jobs (tenant, id) WHERE status IN ('FAILED', 'CANCELLED');

-- What became of each step, and of each item of a map (-1: the step as a whole).
CREATE TABLE processor.steps (
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    step text COLLATE "C" NOT NULL,
    item int NOT NULL,
    status text NOT NULL,
    attempt int NOT NULL,
    output json,
    error json,
    due_at timestamptz,
    items int,
    child uuid,
    reused boolean NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, job_id, step, item)
) WITH (fillfactor = 80);

-- Jobs whose history a worker could not read, at this version, and since when. No projection: another release may read it.
CREATE TABLE processor.unreadable (
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    version bigint NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),  -- the last time
    PRIMARY KEY (tenant, job_id)
);

-- Apply the events from `first` to `last` to the projections. Every job event says the resulting state, so only each
-- job's newest one counts, and it does not matter how the log is cut into ranges.
CREATE OR REPLACE FUNCTION processor.project(first bigint, last bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO processor.jobs (
        tenant, id, workflow, workflow_version, status, progress_percent, current_step, step_message, version, position,
        input, priority, start_at, key, workflow_limit, key_limit, unique_key, computes, parent, retry_of, schedule,
        created_at, updated_at)
    SELECT
        event.tenant, substr(event.stream, 5)::uuid, said.workflow, coalesce(said.version, 1), said.status,
        said.progress_percent, said.current_step, said.step_message, event.version, event.position,
        said.input, coalesce(said.priority, 0), said.start_at, said.key, said.workflow_limit, said.key_limit,
        said."unique", coalesce(said.computes, true), said.parent, said.retry_of, said.schedule,
        event.time, event.time
    FROM events.events AS event
    CROSS JOIN json_to_record(processor.readable(event.data)) AS said (
        workflow text, version int, status text, progress_percent int, current_step text, step_message text, input json,
        priority int, start_at timestamptz, key text, workflow_limit int, key_limit int, "unique" text,
        computes boolean, parent json, retry_of uuid, schedule uuid)
    WHERE event.position BETWEEN first AND last AND event.version = 1 AND event.stream LIKE 'job:%';

    UPDATE processor.jobs AS job
    SET status = said.status,
        sub_status = said.sub_status,
        progress_percent = said.progress_percent,
        eta_seconds = said.eta_seconds,
        current_step = said.current_step,
        step_message = said.step_message,
        version = newest.version,
        position = newest.position,
        result = said.result,
        error = said.error,
        attempts = job.attempts + newest.begun,
        started_at = coalesce(job.started_at, newest.started),
        finished_at = CASE WHEN said.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN newest.time END,
        updated_at = newest.time
    FROM (
        SELECT DISTINCT ON (event.stream_id)
            event.tenant, event.stream, event.version, event.position, event.time, event.data,
            count(*) FILTER (WHERE event.type IN ('job.started', 'job.claimed')) OVER (PARTITION BY event.stream_id)
                AS begun,
            min(event.time) FILTER (WHERE event.type = 'job.started') OVER (PARTITION BY event.stream_id) AS started
        FROM events.events AS event
        WHERE event.position BETWEEN first AND last AND event.version > 1 AND event.stream LIKE 'job:%'
        ORDER BY event.stream_id, event.position DESC
    ) AS newest
    CROSS JOIN json_to_record(processor.readable(newest.data)) AS said (
        status text, sub_status text, progress_percent int, eta_seconds int, current_step text, step_message text,
        result json, error json)
    WHERE job.tenant = newest.tenant AND job.id = substr(newest.stream, 5)::uuid;

    INSERT INTO processor.steps AS step (
        tenant, job_id, step, item, status, attempt, output, error, due_at, items, child, reused,
        started_at, finished_at, updated_at)
    SELECT DISTINCT ON (event.stream_id, change.step, coalesce(change.item, -1))
        event.tenant, substr(event.stream, 5)::uuid, change.step, coalesce(change.item, -1), change.became,
        coalesce(change.attempt, 1), coalesce(change.output, change.blob), change.error, change.due_at,
        max(change.items) OVER one, change.child, coalesce(change.reused, false),
        min(event.time) FILTER (WHERE change.became IN ('RUNNING', 'WAITING')) OVER one,
        CASE WHEN change.became IN ('COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED') THEN event.time END,
        event.time
    FROM events.events AS event
    CROSS JOIN ROWS FROM (json_to_recordset(processor.readable(event.data) -> 'changes') AS (
        step text, item int, became text, attempt int, output json, blob json, error json, due_at timestamptz,
        items int, child uuid, reused boolean)) WITH ORDINALITY AS change (
        step, item, became, attempt, output, blob, error, due_at, items, child, reused, index)
    WHERE event.position BETWEEN first AND last AND event.version > 1 AND event.stream LIKE 'job:%'
    WINDOW one AS (PARTITION BY event.stream_id, change.step, coalesce(change.item, -1))
    ORDER BY event.stream_id, change.step, coalesce(change.item, -1), event.position DESC, change.index DESC
    ON CONFLICT (tenant, job_id, step, item) DO UPDATE
    SET status = excluded.status,
        attempt = excluded.attempt,
        output = excluded.output,
        error = excluded.error,
        due_at = excluded.due_at,
        items = coalesce(excluded.items, step.items),
        child = coalesce(excluded.child, step.child),
        started_at = coalesce(step.started_at, excluded.started_at),
        finished_at = excluded.finished_at,
        updated_at = excluded.updated_at;
END;
$$;

-- Every version of every workflow, as it was published; the built-in ones are code.
CREATE TABLE processor.workflows (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version int NOT NULL,
    document json NOT NULL,
    published_at timestamptz NOT NULL,
    published_by text,
    position bigint NOT NULL,  -- of the event that published it
    retired_at timestamptz,  -- if its newest version is, nobody can start it any more
    PRIMARY KEY (tenant, name, version)
);

-- Apply the events of workflows from `first` to `last`.
CREATE FUNCTION processor.project_workflows(first bigint, last bigint) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO processor.workflows (tenant, name, version, document, published_at, published_by, position)
    SELECT
        event.tenant, substr(event.stream, 10), (said.data ->> 'version')::int, said.data -> 'document',
        event.time, said.data ->> 'by', event.position
    FROM events.events AS event
    CROSS JOIN LATERAL (SELECT processor.readable(event.data) AS data) AS said
    WHERE event.position BETWEEN first AND last AND event.type = 'workflow.published';

    UPDATE processor.workflows AS workflow SET retired_at = event.time
    FROM events.events AS event
    WHERE event.position BETWEEN first AND last AND event.type = 'workflow.retired'
        AND workflow.tenant = event.tenant AND workflow.name = substr(event.stream, 10)
        AND workflow.position < event.position AND workflow.retired_at IS NULL;
$$;

-- Schedules: what starts which workflow when.
CREATE TABLE processor.schedules (
    tenant text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,  -- of its stream
    workflow text COLLATE "C" NOT NULL,
    workflow_version int,
    input json NOT NULL,
    priority int NOT NULL,
    cron text,
    time_zone text,
    every_seconds bigint,
    anchor_at timestamptz NOT NULL,
    overlap text NOT NULL,
    catch_up text NOT NULL,
    catch_up_seconds bigint,
    jitter_seconds bigint NOT NULL,
    next_at timestamptz,
    paused_at timestamptz,
    last_at timestamptz,  -- that it has fired for
    last_job_id uuid,
    last_version int,  -- of the workflow, then
    starting uuid,  -- the last job, until there is one
    skipped_at timestamptz,
    skipped_because text,
    created_at timestamptz NOT NULL,
    created_by text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 80);

CREATE INDEX schedules_due ON processor.schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_starting ON processor.schedules (tenant, id) WHERE starting IS NOT NULL;
CREATE INDEX jobs_of_schedules ON processor.jobs (tenant, schedule, id)
WHERE schedule IS NOT NULL AND finished_at IS NULL;

-- Apply the events of schedules from `first` to `last`; the jobs of that range are there already.
CREATE FUNCTION processor.project_schedules(first bigint, last bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    event record;
BEGIN
    FOR event IN
        SELECT
            said.tenant, substr(said.stream, 10)::uuid AS id, said.version, said.type, said.time,
            processor.readable(said.data) AS data
        FROM events.events AS said
        WHERE said.position BETWEEN first AND last AND said.stream LIKE 'schedule:%'
        ORDER BY said.position
    LOOP
        IF event.type IN ('schedule.created', 'schedule.changed') THEN
            INSERT INTO processor.schedules AS schedule (
                tenant, id, version, workflow, workflow_version, input, priority, cron, time_zone, every_seconds,
                anchor_at, overlap, catch_up, catch_up_seconds, jitter_seconds, next_at, created_at, created_by,
                updated_at)
            SELECT
                event.tenant, event.id, event.version, terms.workflow, terms.version, terms.input, terms.priority,
                terms.cron, terms.time_zone, terms.every_seconds, terms.anchor_at, terms.overlap, terms.catch_up,
                terms.catch_up_seconds, terms.jitter_seconds, terms.next_at, event.time, terms."by", event.time
            FROM json_to_record(event.data) AS terms (
                workflow text, version int, input json, priority int, cron text, time_zone text, every_seconds bigint,
                anchor_at timestamptz, overlap text, catch_up text, catch_up_seconds bigint, jitter_seconds bigint,
                next_at timestamptz, "by" text)
            ON CONFLICT (tenant, id) DO UPDATE
            SET workflow = excluded.workflow,
                workflow_version = excluded.workflow_version,
                input = excluded.input,
                priority = excluded.priority,
                cron = excluded.cron,
                time_zone = excluded.time_zone,
                every_seconds = excluded.every_seconds,
                anchor_at = excluded.anchor_at,
                overlap = excluded.overlap,
                catch_up = excluded.catch_up,
                catch_up_seconds = excluded.catch_up_seconds,
                jitter_seconds = excluded.jitter_seconds,
                next_at = excluded.next_at;
        ELSIF event.type = 'schedule.fired' THEN
            UPDATE processor.schedules AS schedule
            SET next_at = said.next_at,
                last_at = said.at,
                last_job_id = said.job_id,
                last_version = said.version,
                starting = said.job_id
            FROM json_to_record(event.data) AS said (at timestamptz, job_id uuid, version int, next_at timestamptz)
            WHERE schedule.tenant = event.tenant AND schedule.id = event.id;
        ELSIF event.type = 'schedule.skipped' THEN
            UPDATE processor.schedules AS schedule
            SET next_at = said.next_at, skipped_at = said.until, skipped_because = said.reason
            FROM json_to_record(event.data) AS said (until timestamptz, reason text, next_at timestamptz)
            WHERE schedule.tenant = event.tenant AND schedule.id = event.id;
        ELSIF event.type = 'schedule.paused' THEN
            UPDATE processor.schedules AS schedule SET next_at = NULL, paused_at = event.time
            WHERE schedule.tenant = event.tenant AND schedule.id = event.id;
        ELSIF event.type = 'schedule.resumed' THEN
            UPDATE processor.schedules AS schedule
            SET next_at = (event.data ->> 'next_at')::timestamptz, paused_at = NULL
            WHERE schedule.tenant = event.tenant AND schedule.id = event.id;
        ELSIF event.type = 'schedule.deleted' THEN
            DELETE FROM processor.schedules AS schedule
            WHERE schedule.tenant = event.tenant AND schedule.id = event.id;
        END IF;
        UPDATE processor.schedules AS schedule SET version = event.version, updated_at = event.time
        WHERE schedule.tenant = event.tenant AND schedule.id = event.id;
    END LOOP;
END;
$$;

-- What was started is not to be started any more. There is hardly ever anything to look for.
CREATE FUNCTION processor.note_started() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT schedule.tenant, schedule.id, schedule.starting FROM processor.schedules AS schedule
        WHERE schedule.starting IS NOT NULL
    LOOP
        UPDATE processor.schedules AS schedule SET starting = NULL
        WHERE schedule.tenant = one.tenant AND schedule.id = one.id
            AND EXISTS (SELECT FROM processor.jobs AS job WHERE job.tenant = one.tenant AND job.id = one.starting);
    END LOOP;
END;
$$;
