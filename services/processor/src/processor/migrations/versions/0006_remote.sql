-- Steps that remote workers do: the message to be sent, who has taken it, and until when to wait for a word. No
-- projection: the log says which step waits for which task, and the job's holder sends again what is missing here.
CREATE TABLE processor.remote_tasks (
    id uuid PRIMARY KEY,
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    step text COLLATE "C" NOT NULL,
    item int NOT NULL,  -- -1: the step as a whole
    attempt int NOT NULL,
    queue text NOT NULL,
    body text NOT NULL,  -- of the message
    traceparent text,
    lost_seconds double precision NOT NULL,  -- after so long a silence, its worker counts as dead
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,  -- when the broker has last confirmed it
    looks int NOT NULL DEFAULT 0,  -- how often somebody has looked whether it still waits in its queue
    worker text,
    taken_at timestamptz,
    beat_at timestamptz,
    look_at timestamptz NOT NULL,  -- when somebody must look after it
    unwanted boolean NOT NULL DEFAULT false,  -- its worker was given up, or is told to stop
    ended boolean NOT NULL DEFAULT false,  -- its worker has said its last word
    done double precision NOT NULL DEFAULT 0,  -- its share, 0 to 1
    message text,
    told_at timestamptz,  -- when the job has last heard of its progress …
    untold boolean NOT NULL DEFAULT false  -- … and whether there is more to tell
) WITH (fillfactor = 50);

CREATE INDEX remote_tasks_to_look_after ON processor.remote_tasks (look_at);
CREATE INDEX remote_tasks_untold ON processor.remote_tasks (told_at) WHERE untold;
CREATE INDEX remote_tasks_by_job ON processor.remote_tasks (tenant, job_id);

-- Whether the step still waits for it.
CREATE FUNCTION processor.wanted(task processor.remote_tasks) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM processor.steps AS step
        WHERE step.tenant = task.tenant AND step.job_id = task.job_id AND step.step = task.step
            AND step.item = task.item AND step.child = task.id AND step.status = 'WAITING')
$$;

-- Say of a task what its job is to know. Once for each id, and each word: a worker chooses its ids, perhaps one for all.
CREATE FUNCTION processor.post_remote(id uuid, task processor.remote_tasks, said json) RETURNS boolean
LANGUAGE sql AS $$
    SELECT processor.post(md5(concat_ws(' ', id, task.id, said::text))::uuid, task.tenant, task.job_id, 'remote', json_build_object(
        'task', task.id, 'step', task.step, 'item', nullif(task.item, -1), 'attempt', task.attempt, 'said', said))
$$;
