-- What jobs are now: a fold of their streams. It can be dropped, and `rebuild` makes the same rows from the log again.
CREATE TABLE processor.jobs (
    tenant text COLLATE "C" NOT NULL,
    id uuid NOT NULL,
    workflow text NOT NULL,
    status text NOT NULL,
    progress_percent int NOT NULL,
    current_step text,
    step_message text,
    version bigint NOT NULL,  -- of the newest event in the job's stream
    position bigint NOT NULL,  -- of the same event in the log
    input json NOT NULL,
    result json,
    error json,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70);  -- progress changes no indexed column, so a row's new versions stay on its page

CREATE INDEX jobs_by_age ON processor.jobs (tenant, created_at, id);
CREATE INDEX jobs_by_status ON processor.jobs (tenant, status, created_at, id);

-- A payload that Postgres can take apart: json holds an escaped NUL, but no text does. The log keeps the bytes.
CREATE FUNCTION processor.readable(data json) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos(data::text, '\u0000') > 0 THEN replace(data::text, '\u0000', '\ufffd')::json ELSE data END
$$;

-- Apply the events from `first` to `last` to the projections. Every job event says the resulting state, so only each
-- job's newest one counts, and it does not matter how the log is cut into ranges.
CREATE FUNCTION processor.project(first bigint, last bigint) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET jit = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
    WITH touched AS (
        SELECT
            event.tenant, event.stream,
            max(event.position) AS newest,
            min(event.position) FILTER (WHERE event.version = 1) AS created,
            min(event.time) FILTER (WHERE event.type = 'job.started') AS started_at
        FROM events.events AS event
        WHERE event.position BETWEEN first AND last AND event.stream LIKE 'job:%'
        GROUP BY event.tenant, event.stream
    ),
    state AS MATERIALIZED (
        SELECT
            event.tenant, substr(event.stream, 5)::uuid AS id, event.version, event.position, event.time,
            touched.created, touched.started_at,
            fields.status, fields.progress_percent, fields.current_step, fields.step_message,
            fields.result, fields.error,
            CASE WHEN fields.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN event.time END AS finished_at
        FROM touched
        JOIN events.events AS event ON event.position = touched.newest
        CROSS JOIN json_to_record(processor.readable(event.data)) AS fields (
            status text, progress_percent int, current_step text, step_message text, result json, error json)
    ),
    continued AS (
        UPDATE processor.jobs AS job
        SET status = state.status,
            progress_percent = state.progress_percent,
            current_step = state.current_step,
            step_message = state.step_message,
            version = state.version,
            position = state.position,
            result = state.result,
            error = state.error,
            started_at = coalesce(job.started_at, state.started_at),
            finished_at = state.finished_at,
            updated_at = state.time
        FROM state
        WHERE state.created IS NULL AND job.tenant = state.tenant AND job.id = state.id
    )
    INSERT INTO processor.jobs (
        tenant, id, workflow, status, progress_percent, current_step, step_message, version, position,
        input, result, error, created_at, started_at, finished_at, updated_at)
    SELECT
        state.tenant, state.id, fields.workflow, state.status, state.progress_percent,
        state.current_step, state.step_message, state.version, state.position,
        fields.input, state.result, state.error, event.time, state.started_at, state.finished_at, state.time
    FROM state
    JOIN events.events AS event ON event.position = state.created
    CROSS JOIN json_to_record(processor.readable(event.data)) AS fields (workflow text, input json)
$$;

-- Append, project what was accepted, and move the given checkpoint: one statement, committed together.
CREATE FUNCTION processor.append(
    tenants text[], streams text[],
    request_streams int[], request_sizes int[], expected bigint[],
    event_requests int[], ids uuid[], types text[], sources text[],
    times timestamptz[], traceparents text[], data json[],
    checkpoint_name text DEFAULT NULL, checkpoint_fence bigint DEFAULT NULL, checkpoint_position bigint DEFAULT NULL,
    OUT outcomes text[], OUT positions bigint[], OUT versions bigint[], OUT reused uuid[],
    OUT accepted_from bigint, OUT accepted_to bigint
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT * INTO outcomes, positions, versions, reused, accepted_from, accepted_to
    FROM events.append(tenants, streams, request_streams, request_sizes, expected,
        event_requests, ids, types, sources, times, traceparents, data);
    IF accepted_to >= accepted_from THEN
        PERFORM processor.project(accepted_from, accepted_to);
    END IF;
    IF checkpoint_name IS NOT NULL THEN
        PERFORM events.save_checkpoint(checkpoint_name, checkpoint_fence, checkpoint_position);
    END IF;
END;
$$;

-- Make every projection anew from the log; appends wait meanwhile. Returns how many events were replayed.
CREATE FUNCTION processor.rebuild(chunk bigint DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    newest bigint;
BEGIN
    -- Whoever has appended holds a lock on the table until its commit: once it is ours, the log shows all that counts.
    LOCK TABLE processor.jobs IN EXCLUSIVE MODE;
    DELETE FROM processor.jobs;
    SELECT head.position INTO newest FROM events.head;
    FOR start IN 1..newest BY chunk LOOP
        PERFORM processor.project(start, least(start + chunk - 1, newest));
    END LOOP;
    RETURN newest;
END;
$$;
