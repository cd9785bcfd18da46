-- name: artifacts
-- Of a job, in the order of their steps, items and names, those after ($3, $4, $5). Whether others are called the same.
SELECT * FROM (
    SELECT
        step.step, nullif(step.item, -1) AS item, made.name, made.blob, made.bytes, made.content_type,
        step.finished_at AS made_at, count(*) OVER (PARTITION BY made.name) > 1 AS is_namesake
    FROM processor.steps AS step
    CROSS JOIN json_to_recordset(step.artifacts) AS made (name text COLLATE "C", blob text, bytes bigint, content_type text)
    WHERE step.tenant = $1 AND step.job_id = $2 AND step.artifacts IS NOT NULL
) AS artifact
WHERE $3::text IS NULL OR (step, coalesce(item, -1), name) > ($3::text, $4::int, $5::text)
ORDER BY step, coalesce(item, -1), name
LIMIT $6;

-- name: artifact
-- The one of this name: of the step $4 and the item $5, if they are given, and else the one that was made last.
SELECT made.name, made.blob, made.bytes, made.content_type
FROM processor.steps AS step
CROSS JOIN json_to_recordset(step.artifacts) AS made (name text, blob text, bytes bigint, content_type text)
WHERE step.tenant = $1 AND step.job_id = $2 AND step.artifacts IS NOT NULL AND made.name = $3
    AND ($4::text IS NULL OR step.step = $4) AND ($5::int IS NULL OR step.item = $5)
ORDER BY step.finished_at DESC, step.step, step.item DESC
LIMIT 1;
