-- Reading the log.

-- name: head
-- The log's identity and its newest position.
SELECT epoch, position FROM events.head;

-- name: read
-- The events after a position, in the log's order.
SELECT position, version, tenant, stream, id, type, source, time, traceparent, data
FROM events.events
WHERE position > $1
ORDER BY position
LIMIT $2;

-- name: read_tenant
-- The same, of one tenant only: positions rise but are not dense.
SELECT position, version, tenant, stream, id, type, source, time, traceparent, data
FROM events.events
WHERE position > $1 AND tenant = $3
ORDER BY position
LIMIT $2;

-- name: read_category
-- The same, of the tenant's streams that begin with $4.
SELECT position, version, tenant, stream, id, type, source, time, traceparent, data
FROM events.events
WHERE position > $1 AND tenant = $3 AND starts_with(stream, $4)
ORDER BY position
LIMIT $2;

-- name: read_stream
-- The events of a stream after a version.
SELECT position, version, tenant, stream, id, type, source, time, traceparent, data
FROM events.events
WHERE stream_id = (SELECT id FROM events.streams WHERE tenant = $1 AND stream = $2) AND version > $3
ORDER BY version
LIMIT $4;

-- name: stream_version
-- A stream's newest version: 0 if it is only reserved, no row if nobody has heard of it.
SELECT version FROM events.streams WHERE tenant = $1 AND stream = $2;

-- name: reserve
-- Promise a stream to a client before its first event.
SELECT events.reserve($1, $2);

-- name: known
-- Which of these (tenant, id) the log holds, as 1-based indexes.
SELECT events.known($1::text[], $2::uuid[]);

-- name: prepare_appends
-- For a connection that appends. A plan is made once per connection, perhaps while the tables are empty: it must not
-- scan what will grow. An append waits for the head, or for a reservation of its stream that has not committed; never
-- for long. (Set on the functions themselves, these would cost as much as ten events per call.)
SELECT
    set_config('plan_cache_mode', 'force_generic_plan', false),
    set_config('enable_seqscan', 'off', false),
    set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false),
    set_config('jit', 'off', false),
    set_config('lock_timeout', '10s', false);

-- name: recognise
-- For a new connection that appends: the log's epoch, another one if this is not the log that was known.
SELECT events.recognise($1, $2);

-- name: ring
-- Wake whoever listens to the channel $1. Nothing is lost if a ring is, so its commit need not wait for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '');

-- name: acquire_checkpoint
-- Take a checkpoint over from whoever has it.
SELECT name, position, epoch, fence FROM events.acquire_checkpoint($1);

-- name: save_checkpoint
-- Move a checkpoint, unless somebody has taken it over.
SELECT events.save_checkpoint($1, $2, $3);

-- name: fence
-- Who has the checkpoint now.
SELECT fence FROM events.checkpoints WHERE name = $1;

-- name: is_in_log
-- Whether the checkpoint is a place in the log as it is now.
SELECT checkpoint.epoch = head.epoch AND checkpoint.position <= head.position
FROM events.checkpoints AS checkpoint, events.head AS head
WHERE checkpoint.name = $1;

-- name: begin_subscription
SELECT events.begin_subscription($1, $2);

-- name: acquire_subscription
SELECT name, position, epoch, fence FROM events.acquire_subscription($1);

-- name: save_subscription
SELECT events.save_subscription($1, $2, $3);

-- name: park
SELECT events.park($1, $2, $3);

-- name: is_parked
SELECT events.is_parked($1, $2, $3);

-- name: unpark
SELECT events.unpark($1, $2);

-- name: replay
SELECT events.replay($1, $2);
