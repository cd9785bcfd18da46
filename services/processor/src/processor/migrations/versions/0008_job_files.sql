-- Jobs whose steps have left files, noted before there is the first: what of them is nobody's is removed when the job has
-- ended. No projection: a row that is lost means files that are not removed.
CREATE TABLE processor.job_files (
    tenant text COLLATE "C" NOT NULL,
    job_id uuid NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),  -- the last time
    PRIMARY KEY (tenant, job_id)
);
