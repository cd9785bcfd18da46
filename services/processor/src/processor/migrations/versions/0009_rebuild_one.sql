-- Make one projection anew from the log; appends wait meanwhile. `jobs` has the jobs' steps, and the queue where it has
-- lost something; `schedules` needs the jobs. Tells how far it is by notices. Returns how many events were replayed.
CREATE FUNCTION processor.rebuild_one(projection text, chunk bigint DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql
SET enable_seqscan = off  -- a table that was just emptied looks small, and is not
AS $$
DECLARE
    newest bigint;
    reached bigint;
BEGIN
    -- Whoever has appended holds a lock on the table until its commit: once it is ours, the log shows all that counts.
    LOCK TABLE processor.jobs IN EXCLUSIVE MODE;
    CASE projection
        WHEN 'jobs' THEN
            DELETE FROM processor.jobs;
            DELETE FROM processor.steps;
        WHEN 'workflows' THEN
            DELETE FROM processor.workflows;
        WHEN 'schedules' THEN
            DELETE FROM processor.schedules;
    END CASE;
    SELECT head.position INTO newest FROM events.head;
    FOR start IN 1..newest BY chunk LOOP
        reached := least(start + chunk - 1, newest);
        CASE projection
            WHEN 'jobs' THEN
                PERFORM processor.project(start, reached);
            WHEN 'workflows' THEN
                PERFORM processor.project_workflows(start, reached);
            WHEN 'schedules' THEN
                PERFORM processor.project_schedules(start, reached);
        END CASE;
        RAISE NOTICE '%/%', reached, newest;
    END LOOP;
    IF projection = 'schedules' THEN
        PERFORM processor.note_started();
    ELSIF projection = 'jobs' THEN
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
    END IF;
    RETURN newest;
END;
$$;
