-- Who works on which job. No projection: nothing here must be remembered, so a row that a crash of the database loses
-- does no harm. What a former holder still writes is refused by the log, since it expects an older version.
CREATE TABLE processor.leases (
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    worker text,  -- who holds it; null once it is given back
    token bigint NOT NULL DEFAULT 1,  -- the fence: rises each time that somebody takes the job
    failures int NOT NULL DEFAULT 0,  -- how often the job's step, or its worker, died
    expires_at timestamptz NOT NULL,  -- from then on, anybody may take the job
    PRIMARY KEY (tenant, job_id)
) WITH (fillfactor = 50);

-- Jobs that somebody has to work on, the oldest first.
CREATE INDEX jobs_unfinished ON processor.jobs (created_at, id) WHERE finished_at IS NULL;

-- Take up to `wanted` jobs that nobody holds. A job whose holder let the lease expire counts one more failure.
CREATE FUNCTION processor.claim(by_worker text, wanted int, lease_seconds double precision)
RETURNS SETOF processor.leases
LANGUAGE sql AS $$
    SELECT set_config('synchronous_commit', 'off', true);
    WITH free AS (
        SELECT job.tenant, job.id
        FROM processor.jobs AS job
        LEFT JOIN processor.leases AS held ON held.tenant = job.tenant AND held.job_id = job.id
        WHERE job.finished_at IS NULL AND (held.job_id IS NULL OR held.expires_at <= now())
        ORDER BY job.created_at, job.id
        LIMIT wanted
        FOR NO KEY UPDATE OF job SKIP LOCKED
    )
    INSERT INTO processor.leases AS lease (tenant, job_id, worker, expires_at)
    SELECT free.tenant, free.id, by_worker, now() + make_interval(secs => lease_seconds) FROM free
    ON CONFLICT (tenant, job_id) DO UPDATE
    SET worker = excluded.worker,
        token = lease.token + 1,
        failures = lease.failures + (lease.worker IS NOT NULL)::int,
        expires_at = excluded.expires_at
    WHERE lease.expires_at <= now()
    RETURNING lease.*
$$;
