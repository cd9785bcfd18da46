-- name: lock_rotation
-- One replica at a time.
SELECT pg_advisory_xact_lock(hashtext('millrace signing keys'));

-- name: next_signs_from
-- When a key has to start that is not there yet: the first at once, the next one a period of $1 seconds after the
-- newest, known $2 seconds before. Null if it is not yet time to make it.
SELECT CASE
    WHEN max(signs_from) IS NULL THEN now()
    WHEN max(signs_from) + make_interval(secs => $1) <= now() + make_interval(secs => $2)
        THEN greatest(max(signs_from) + make_interval(secs => $1), now() + make_interval(secs => $2))
END
FROM gateway.signing_keys;

-- name: insert_key
INSERT INTO gateway.signing_keys (kid, sealed, signs_from) VALUES ($1, $2, $3);

-- name: remove_outlived
-- A key goes when its successor has signed for $1 seconds: by then its own last token has expired.
DELETE FROM gateway.signing_keys AS old
WHERE EXISTS (
    SELECT FROM gateway.signing_keys AS successor
    WHERE successor.signs_from > old.signs_from AND successor.signs_from < now() - make_interval(secs => $1)
);

-- name: keys
-- All that verify, in the order in which they sign.
SELECT kid, sealed, signs_from <= now() AS has_begun
FROM gateway.signing_keys
ORDER BY signs_from;
