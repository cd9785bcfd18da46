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

-- A payload that Postgres can take apart: json holds an escaped NUL, but no text does. The log keeps the bytes.
CREATE FUNCTION processor.readable(data json) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos(data::text, '\u0000') > 0 THEN replace(data::text, '\u0000', '\ufffd')::json ELSE data END
$$;

-- Apply the events from `first` to `last` to the projections. Every job event says the resulting state, so only each
-- job's newest one counts, and it does not matter how the log is cut into ranges.
CREATE FUNCTION processor.project(first bigint, last bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO processor.jobs (
        tenant, id, workflow, status, progress_percent, current_step, step_message, version, position, input,
        created_at, updated_at)
    SELECT
        event.tenant, substr(event.stream, 5)::uuid, said.workflow, said.status, said.progress_percent,
        said.current_step, said.step_message, event.version, event.position, said.input, event.time, event.time
    FROM events.events AS event
    CROSS JOIN json_to_record(processor.readable(event.data)) AS said (
        workflow text, status text, progress_percent int, current_step text, step_message text, input json)
    WHERE event.position BETWEEN first AND last AND event.version = 1 AND event.stream LIKE 'job:%';

    UPDATE processor.jobs AS job
    SET status = said.status,
        progress_percent = said.progress_percent,
        current_step = said.current_step,
        step_message = said.step_message,
        version = newest.version,
        position = newest.position,
        result = said.result,
        error = said.error,
        started_at = coalesce(job.started_at, (  -- looked for in the range only: a rebuild comes to it in its own
            SELECT min(event.time) FROM events.events AS event
            WHERE event.stream_id = newest.stream_id AND event.type = 'job.started'
                AND event.position BETWEEN first AND newest.position
        )),
        finished_at = CASE WHEN said.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN newest.time END,
        updated_at = newest.time
    FROM (
        SELECT DISTINCT ON (event.stream_id)
            event.tenant, event.stream, event.stream_id, event.version, event.position, event.time, event.data
        FROM events.events AS event
        WHERE event.position BETWEEN first AND last AND event.version > 1 AND event.stream LIKE 'job:%'
        ORDER BY event.stream_id, event.position DESC
    ) AS newest
    CROSS JOIN json_to_record(processor.readable(newest.data)) AS said (
        status text, progress_percent int, current_step text, step_message text, result json, error json)
    WHERE job.tenant = newest.tenant AND job.id = substr(newest.stream, 5)::uuid;
END;
$$;

-- Append, project what was accepted, and move the given checkpoint: one statement, committed together.
CREATE FUNCTION processor.append(
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
    END IF;
    IF checkpoint_name IS NOT NULL THEN
        PERFORM events.save_checkpoint(checkpoint_name, checkpoint_fence, checkpoint_position);
    END IF;
END;
$$;

-- Make every projection anew from the log; appends wait meanwhile. Returns how many events were replayed.
CREATE FUNCTION processor.rebuild(chunk bigint DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SET enable_seqscan = off  -- a table that was just emptied looks small, and is not
AS $$
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
