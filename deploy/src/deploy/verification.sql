-- Whether the log is what its writers promise, and the projections what the log says. Writers go on meanwhile, so a
-- statement compares only what one commit changes together, or what never changes: events up to a head.

-- name: head
SELECT epoch, position FROM events.head;

-- name: count
-- How many events are there after $1 up to $2.
SELECT count(*) FROM events.events WHERE position > $1 AND position <= $2;

-- name: holes
-- Which positions are missing after $1 up to $2, as ranges.
SELECT position + 1 AS first, following - 1 AS last
FROM (
    SELECT position, lead(position, 1, $2::bigint + 1) OVER (ORDER BY position) AS following
    FROM (
        SELECT position FROM events.events WHERE position > $1 AND position <= $2 UNION ALL SELECT $1::bigint
    ) AS there
) AS pairs
WHERE following > position + 1
LIMIT 20;

-- name: beyond
SELECT position FROM events.events WHERE position > (SELECT head.position FROM events.head) ORDER BY position LIMIT 20;

-- name: ids
-- Events after $1 up to $2 that the table of ids does not have, or has elsewhere.
SELECT event.position
FROM events.events AS event
LEFT JOIN events.event_ids AS known ON known.tenant = event.tenant AND known.id = event.id
WHERE event.position > $1 AND event.position <= $2 AND known.position IS DISTINCT FROM event.position
LIMIT 20;

-- name: ids_of_nothing
-- Ids of no event, in the page after the key ($1, $2): the page's last key, and their positions. No row after the last.
WITH page AS MATERIALIZED (
    SELECT known.tenant, known.id, known.position FROM events.event_ids AS known
    WHERE (known.tenant, known.id) > ($1::text, $2::uuid)
    ORDER BY known.tenant, known.id
    LIMIT 50000
)
SELECT last.tenant, last.id, ARRAY(
    SELECT page.position::text FROM page
    -- An index look-up each: a join might read the whole log for each page.
    WHERE (SELECT event.position FROM events.events AS event WHERE event.position = page.position) IS NULL
    LIMIT 20
) AS wrong
FROM (SELECT page.tenant, page.id FROM page ORDER BY page.tenant DESC, page.id DESC LIMIT 1) AS last;

-- name: names
-- Events after $1 up to $2 whose stream has another number.
SELECT event.position
FROM events.events AS event
LEFT JOIN events.streams AS named ON named.tenant = event.tenant AND named.stream = event.stream
WHERE event.position > $1 AND event.position <= $2 AND named.id IS DISTINCT FROM event.stream_id
LIMIT 20;

-- name: disorder
-- Events after $1 up to $2 that come before the one which precedes them in their stream.
SELECT event.position
FROM events.events AS event
JOIN events.events AS former ON former.stream_id = event.stream_id AND former.version = event.version - 1
WHERE event.position > $1 AND event.position <= $2 AND former.position > event.position
LIMIT 20;

-- name: versions
-- Streams whose versions are not 1, 2, 3 … up to what the table of streams says, in the page after the key ($1, $2): the
-- page's last key, and their names. No row after the last. (An event of no stream is found by `names`.)
WITH page AS MATERIALIZED (
    SELECT named.tenant, named.stream, named.id, named.version FROM events.streams AS named
    WHERE (named.tenant, named.stream) > ($1::text, $2::text)
    ORDER BY named.tenant, named.stream
    LIMIT 10000
)
SELECT last.tenant, last.stream, ARRAY(
    SELECT page.tenant || '/' || page.stream
    FROM page
    CROSS JOIN LATERAL (
        SELECT count(*) AS events, count(DISTINCT event.version) AS versions,
            min(event.version) AS first, max(event.version) AS last
        FROM events.events AS event
        WHERE event.stream_id = page.id
    ) AS told
    WHERE page.version <> told.events
        OR told.events > 0 AND (told.first, told.last, told.versions) <> (1, page.version, told.events)
    LIMIT 20
) AS wrong
FROM (SELECT page.tenant, page.stream FROM page ORDER BY page.tenant DESC, page.stream DESC LIMIT 1) AS last;

-- name: checkpoints
-- Readers that have come further than the log.
SELECT checkpoint.name FROM events.checkpoints AS checkpoint, events.head AS head
WHERE checkpoint.epoch = head.epoch AND checkpoint.position > head.position;

-- name: not_queued
-- Unfinished jobs that no worker would look at.
SELECT job.tenant || '/' || job.id AS job FROM processor.jobs AS job
WHERE job.finished_at IS NULL
    AND NOT EXISTS (SELECT FROM processor.queue AS queued WHERE queued.tenant = job.tenant AND queued.job_id = job.id)
LIMIT 20;

-- name: functions
-- What makes the projections.
SELECT pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'processor'::regnamespace
    AND proname IN ('readable', 'project', 'project_workflows', 'project_schedules', 'note_started');
