-- Who is present where.

-- name: beat
-- Say that we live, and who of ours came ($5: the subject) or left (NULL).
SELECT notifier.beat($1, $2::text[], $3::text[], $4::uuid[], $5::text[]);

-- name: present
-- Who is in a channel. Notifiers that have not beaten for $3 seconds are dead.
SELECT client, subject
FROM notifier.present JOIN notifier.notifiers ON notifiers.id = present.notifier
WHERE tenant = $1 AND channel = $2 AND beat_at > now() - make_interval(secs => $3);

-- name: count_present
-- How many clients, and how many subjects.
SELECT count(*) AS clients, count(DISTINCT subject) AS subjects
FROM notifier.present JOIN notifier.notifiers ON notifiers.id = present.notifier
WHERE tenant = $1 AND channel = $2 AND beat_at > now() - make_interval(secs => $3);

-- name: sweep
-- Forget notifiers that have been dead for long, and whoever was present through them. Those that another one is
-- forgetting are left to it.
DELETE FROM notifier.notifiers
WHERE id IN (
    SELECT id FROM notifier.notifiers WHERE beat_at < now() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED
);

-- name: leave
-- Forget ourselves.
DELETE FROM notifier.notifiers WHERE id = $1;
