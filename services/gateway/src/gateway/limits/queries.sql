-- name: prepare
-- A handful of rows is found by their names, however small the planner believes the table to be.
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;

-- name: give_up
-- Nothing is spent by a call that nobody waits for any more.
SELECT set_config('statement_timeout', $1, false);

-- name: spend
SELECT admitted, owed FROM gateway.spend($1, $2, $3, $4, $5);

-- name: connect
SELECT connects, wait FROM gateway.connect($1, $2, $3, $4);

-- name: sweep
-- Full buckets need no row, and connects of long ago count for nothing. Rows that somebody holds are left alone, so this
-- waits for nobody.
WITH full_buckets AS (
    DELETE FROM gateway.buckets WHERE bucket IN (
        SELECT bucket FROM gateway.buckets WHERE full_at < (SELECT gateway.clock_ns()) LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
), old_connects AS (
    DELETE FROM gateway.connects WHERE place IN (
        SELECT place FROM gateway.connects
        WHERE coalesce(times[cardinality(times)], 0) < (SELECT gateway.clock_ns()) - $2
        LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT greatest((SELECT count(*) FROM full_buckets), (SELECT count(*) FROM old_connects));
