-- What an owner still has to tell the log. Each owner has such a table of its own, in its own schema:
-- see ingest/migrations/versions/0001_uploads.sql.

-- name: open
INSERT INTO {schema}.outbox (tenant, event_id, event, due_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4));

-- name: take_due
-- Rows that are due, put off at once, so that another replica does not publish them too.
UPDATE {schema}.outbox AS row SET due_at = now() + make_interval(secs => $2)
FROM (
    SELECT tenant, event_id FROM {schema}.outbox WHERE due_at <= now()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
) AS due
WHERE row.tenant = due.tenant AND row.event_id = due.event_id
RETURNING row.tenant, row.event_id, row.event;

-- name: close
DELETE FROM {schema}.outbox AS row USING unnest($1::text[], $2::uuid[]) AS held (tenant, event_id)
WHERE row.tenant = held.tenant AND row.event_id = held.event_id;

-- name: survey
-- How many are open, up to a bound, and how many seconds ago the oldest of these events was. Its time comes before anything
-- in an envelope that a client could have written.
SELECT count(*) AS open, greatest(0, extract(epoch FROM now() - min(
    substring(encode(substring(event FOR 512), 'escape') FROM '"time":"([^"]+)"')::timestamptz)))::float8 AS oldest
FROM (SELECT event FROM {schema}.outbox LIMIT 10000) AS row;
