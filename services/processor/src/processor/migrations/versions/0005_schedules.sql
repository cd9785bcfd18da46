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
    DELETE FROM processor.queue AS queued
    WHERE NOT EXISTS (
        SELECT FROM processor.jobs AS job
        WHERE job.tenant = queued.tenant AND job.id = queued.job_id AND job.finished_at IS NULL);
    INSERT INTO processor.queue (
        tenant, job_id, workflow, key, workflow_limit, key_limit, unique_key, computes, priority, due_at, under_way)
    SELECT
        job.tenant, job.id, job.workflow, job.key, job.workflow_limit, job.key_limit, job.unique_key, job.computes,
        job.priority, coalesce(job.start_at, job.created_at), job.status <> 'PENDING'
    FROM processor.jobs AS job
    WHERE job.finished_at IS NULL
    ON CONFLICT (tenant, job_id) DO NOTHING;
    RETURN newest;
END;
$$;
