-- The files that a step, or an item of a map, has made for whoever has started the job.
ALTER TABLE processor.steps ADD COLUMN artifacts json;

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
        tenant, job_id, step, item, status, attempt, output, artifacts, error, due_at, items, child, reused,
        started_at, finished_at, updated_at)
    SELECT DISTINCT ON (event.stream_id, change.step, coalesce(change.item, -1))
        event.tenant, substr(event.stream, 5)::uuid, change.step, coalesce(change.item, -1), change.became,
        coalesce(change.attempt, 1), coalesce(change.output, change.blob), change.artifacts, change.error, change.due_at,
        max(change.items) OVER one, change.child, coalesce(change.reused, false),
        min(event.time) FILTER (WHERE change.became IN ('RUNNING', 'WAITING')) OVER one,
        CASE WHEN change.became IN ('COMPLETED', 'FAILED', 'SKIPPED', 'CANCELLED') THEN event.time END,
        event.time
    FROM events.events AS event
    CROSS JOIN ROWS FROM (json_to_recordset(processor.readable(event.data) -> 'changes') AS (
        step text, item int, became text, attempt int, output json, blob json, artifacts json, error json,
        due_at timestamptz, items int, child uuid, reused boolean)) WITH ORDINALITY AS change (
        step, item, became, attempt, output, blob, artifacts, error, due_at, items, child, reused, index)
    WHERE event.position BETWEEN first AND last AND event.version > 1 AND event.stream LIKE 'job:%'
    WINDOW one AS (PARTITION BY event.stream_id, change.step, coalesce(change.item, -1))
    ORDER BY event.stream_id, change.step, coalesce(change.item, -1), event.position DESC, change.index DESC
    ON CONFLICT (tenant, job_id, step, item) DO UPDATE
    SET status = excluded.status,
        attempt = excluded.attempt,
        output = excluded.output,
        artifacts = excluded.artifacts,
        error = excluded.error,
        due_at = excluded.due_at,
        items = coalesce(excluded.items, step.items),
        child = coalesce(excluded.child, step.child),
        started_at = coalesce(step.started_at, excluded.started_at),
        finished_at = excluded.finished_at,
        updated_at = excluded.updated_at;
END;
$$;
