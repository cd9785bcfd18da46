-- name: now
SELECT clock_timestamp();

-- name: upcoming
-- Schedules with a job that is still to be started, and those that fire next: $1 of each, without those of $2.
SELECT tenant, id, NULL AS next_at FROM (
    SELECT tenant, id FROM processor.schedules
    WHERE starting IS NOT NULL AND id <> ALL ($2::uuid[])
    ORDER BY tenant, id
    LIMIT $1
) AS starting
UNION ALL
SELECT tenant, id, next_at FROM (
    SELECT tenant, id, next_at FROM processor.schedules
    WHERE next_at IS NOT NULL AND id <> ALL ($2::uuid[])
    ORDER BY next_at
    LIMIT $1
) AS next;

-- name: schedule
SELECT * FROM processor.schedules WHERE tenant = $1 AND id = $2;

-- name: schedules
-- A tenant's, the newest first, those older than $2.
SELECT * FROM processor.schedules
WHERE tenant = $1 AND ($2::uuid IS NULL OR id < $2) AND ($4::text IS NULL OR workflow = $4)
ORDER BY id DESC
LIMIT $3;

-- name: take_turn
-- Until the transaction ends, schedules of this tenant are made by nobody else.
SELECT pg_advisory_xact_lock(hashtextextended('processor.schedules of ' || $1, 0));

-- name: count
SELECT count(*) FROM processor.schedules WHERE tenant = $1;

-- name: unfinished
-- Jobs of a schedule that have not ended, up to $3.
SELECT count(*) FROM (
    SELECT FROM processor.jobs WHERE tenant = $1 AND schedule = $2 AND finished_at IS NULL LIMIT $3
) AS job;

-- name: former
-- Those that were made before $3: ids rise with the time that was fired for.
SELECT id FROM processor.jobs
WHERE tenant = $1 AND schedule = $2 AND finished_at IS NULL AND id < $3
ORDER BY id;

-- name: created_by_event
-- The schedule that an event has begun.
SELECT event.stream, event.data
FROM events.event_ids AS known
JOIN events.events AS event ON event.position = known.position
WHERE known.tenant = $1 AND known.id = $2;
