-- What `millrace doctor` asks the database. Each of these is quick, however long the log is.

-- name: server
SELECT
    current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
    current_user AS role, pg_database_size(current_database()) AS bytes, pg_is_in_recovery() AS standby,
    -- Of others' connections a role without pg_read_all_stats sees neither the kind nor the times.
    (SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL AND usename IS NOT NULL
        AND coalesce(backend_type, 'client backend') = 'client backend') AS connections,
    current_setting('max_connections')::int AS most_connections,
    (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS age;

-- name: clock
SELECT clock_timestamp();

-- name: durable
-- Settings that lose what was acknowledged, or wear the database out.
-- With what mends it where it was set: a setting of the database or the role wins over the server's.
SELECT name, CASE source
        WHEN 'database' THEN format('ALTER DATABASE %I RESET %I', current_database(), name)
        WHEN 'user' THEN format('ALTER ROLE %I RESET %I', current_user, name)
        WHEN 'database user' THEN format('ALTER ROLE %I IN DATABASE %I RESET %I', current_user, current_database(), name)
        ELSE format('ALTER SYSTEM SET %I = on', name)
    END AS mend
FROM pg_settings
WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum') AND setting = 'off';

-- name: old_transactions
-- What keeps old rows alive, and migrations waiting.
SELECT pid, application_name, extract(epoch FROM now() - xact_start)::int AS seconds FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < now() - interval '5 minutes' AND pid <> pg_backend_pid()
ORDER BY xact_start LIMIT 5;

-- name: sees_all
SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all;

-- name: schemas
SELECT nspname::text AS name FROM pg_namespace WHERE nspname::text = ANY ($1);

-- name: roles
SELECT rolname::text AS name FROM pg_roles WHERE rolname LIKE 'millrace\_%';

-- name: memberships
-- Of $1, in $2: pairs that are missing.
SELECT asked.member, asked.group_ FROM unnest($1::text[], $2::text[]) AS asked (member, group_)
JOIN pg_roles AS members ON members.rolname = asked.member
JOIN pg_roles AS groups ON groups.rolname = asked.group_
WHERE NOT pg_has_role(members.oid, groups.oid, 'MEMBER');

-- name: strangers
SELECT rolname::text AS member FROM pg_roles
WHERE rolname = ANY ($1::text[]) AND NOT has_database_privilege(oid, current_database(), 'CONNECT');

-- name: grants
-- What the services' roles ($1) should be able to do in their own schemas ($2), and cannot.
SELECT asked.member, class.relname::text AS relation
FROM unnest($1::text[], $2::text[]) AS asked (member, schema)
JOIN pg_roles AS members ON members.rolname = asked.member
JOIN pg_namespace AS space ON space.nspname = asked.schema
JOIN pg_class AS class ON class.relnamespace = space.oid AND class.relkind IN ('r', 'p')
WHERE NOT has_schema_privilege(members.oid, space.oid, 'USAGE')
    OR NOT has_table_privilege(members.oid, class.oid, 'SELECT')
    OR NOT has_table_privilege(members.oid, class.oid, 'INSERT')
    OR NOT has_table_privilege(members.oid, class.oid, 'UPDATE')
    OR NOT has_table_privilege(members.oid, class.oid, 'DELETE')
LIMIT 5;

-- name: log_grants
-- What the log's groups must be able to do with it, and cannot. Migrations have granted it once, and do not again.
SELECT asked.group_, asked.privilege, asked.thing
FROM (VALUES
    ('millrace_reader', 'SELECT', 'events.head'), ('millrace_reader', 'SELECT', 'events.events'),
    ('millrace_reader', 'SELECT', 'events.streams'), ('millrace_reader', 'SELECT', 'events.event_ids'),
    ('millrace_reader', 'SELECT', 'events.checkpoints'), ('millrace_reader', 'SELECT', 'events.epochs')
) AS asked (group_, privilege, thing)
WHERE NOT has_table_privilege(asked.group_, asked.thing, asked.privilege)
UNION ALL
SELECT asked.group_, 'EXECUTE', 'FUNCTION ' || proc.oid::regprocedure::text
FROM (VALUES
    ('millrace_reserver', 'reserve'), ('millrace_reserver', 'known'), ('millrace_appender', 'append'),
    ('millrace_appender', 'acquire_checkpoint'), ('millrace_appender', 'save_checkpoint'), ('millrace_appender', 'recognise')
) AS asked (group_, name)
JOIN pg_proc AS proc ON proc.proname = asked.name AND proc.pronamespace = 'events'::regnamespace
WHERE NOT has_function_privilege(asked.group_, proc.oid, 'EXECUTE')
LIMIT 5;

-- name: writers
-- Who may write the log past its functions, so that one of the services ($1) can, and what takes it from them: leave
-- that was given, a table that is theirs, or a role that may do it.
WITH members AS (SELECT oid FROM pg_roles WHERE rolname = ANY ($1::text[]) AND NOT rolsuper),
tables AS (
    SELECT oid, oid::regclass::text AS name, relowner, relacl FROM pg_class
    WHERE oid IN ('events.events'::regclass, 'events.head'::regclass, 'events.streams'::regclass, 'events.event_ids'::regclass)
),
ways AS (
    SELECT given.grantee AS who, tables.name AS what,
        format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM ', tables.name)
            || CASE WHEN given.grantee = 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END AS mend
    FROM tables, aclexplode(tables.relacl) AS given
    WHERE given.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') AND given.grantee <> tables.relowner
    UNION
    SELECT relowner, name, format('ALTER TABLE %s OWNER TO millrace_owner', name) FROM tables
    WHERE relowner::regrole::text <> 'millrace_owner'
    UNION
    SELECT given.member, 'the log', format('REVOKE %s FROM %s', given.roleid::regrole, given.member::regrole)
    FROM pg_auth_members AS given
    WHERE given.roleid::regrole::text IN ('millrace_owner', 'pg_write_all_data')
        AND pg_has_role(given.member, given.roleid, 'USAGE')
)
SELECT CASE WHEN who = 0 THEN 'PUBLIC' ELSE who::regrole::text END AS who, what, mend FROM ways
WHERE who = 0 OR EXISTS (SELECT FROM members WHERE pg_has_role(members.oid, ways.who, 'USAGE'))
ORDER BY mend LIMIT 5;

-- name: newest
-- The end of the log, $1 events of it: how many there should be, are, and have their id.
SELECT head.position AS head, least(head.position, $1) AS expected, count(event.position) AS there,
    count(known.position) AS ids, (SELECT count(*) FROM events.events WHERE position > head.position) AS beyond
FROM events.head AS head
LEFT JOIN events.events AS event ON event.position > head.position - $1 AND event.position <= head.position
LEFT JOIN events.event_ids AS known
    ON known.tenant = event.tenant AND known.id = event.id AND known.position = event.position
GROUP BY head.position;

-- name: epoch
-- A standby cannot say where it is.
SELECT head.epoch, seen.because, seen.began_at,
    CASE WHEN pg_is_in_recovery() THEN true ELSE seen.place = events.place() END AS same_place
FROM events.head AS head, (SELECT * FROM events.epochs ORDER BY number DESC LIMIT 1) AS seen;

-- name: lags
-- Of each reader: events before it, and since when the first of them waits.
SELECT checkpoint.name, checkpoint.position, head.position - checkpoint.position AS events,
    checkpoint.epoch <> head.epoch AS of_another_log,
    (SELECT extract(epoch FROM now() - event.time) FROM events.events AS event
        WHERE event.position = checkpoint.position + 1) AS seconds
FROM events.checkpoints AS checkpoint, events.head AS head
ORDER BY checkpoint.name;

-- name: jobs
SELECT
    (SELECT count(*) FROM processor.jobs WHERE finished_at IS NULL) AS unfinished,
    (SELECT count(*) FROM processor.jobs AS job WHERE finished_at IS NULL AND NOT EXISTS (
        SELECT FROM processor.queue AS queued WHERE queued.tenant = job.tenant AND queued.job_id = job.id)) AS not_queued,
    (SELECT count(*) FROM processor.queue WHERE worker IS NOT NULL AND expires_at < now() - interval '30 seconds') AS abandoned,
    (SELECT count(*) FROM processor.queue WHERE worker IS NULL AND blocked_by IS NULL AND due_at < now() - interval '60 seconds') AS waiting,
    (SELECT extract(epoch FROM now() - min(due_at))::int FROM processor.queue
        WHERE worker IS NULL AND blocked_by IS NULL AND due_at < now() - interval '60 seconds') AS waiting_seconds,
    (SELECT count(*) FROM processor.unreadable) AS unreadable;

-- name: dead_letters
SELECT count(*) AS count, min(parked_at) AS oldest FROM processor.dead_letters WHERE replayed_at IS NULL;

-- name: outboxes
-- Rows that have waited for a minute: an event id is a UUIDv7, which begins with its time.
SELECT owner, count(*) AS count, min(made_at) AS oldest
FROM (
    SELECT owner, to_timestamp(('x' || left(replace(event_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) AS made_at
    FROM (SELECT 'ingest' AS owner, event_id FROM ingest.outbox
        UNION ALL SELECT 'gateway', event_id FROM gateway.outbox) AS open
) AS rows
WHERE made_at < now() - interval '1 minute'
GROUP BY owner ORDER BY owner;

-- name: uploads
-- The newest, whose bytes must be there: they are stored before there is a row.
SELECT blob, bytes FROM ingest.uploads
WHERE deleted_at IS NULL ORDER BY id DESC LIMIT 20;

-- name: deleted
SELECT FROM ingest.uploads WHERE blob = $1 AND deleted_at IS NOT NULL;
