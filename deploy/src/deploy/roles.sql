-- Who may do what in the database.

-- name: create_groups
-- What a role may do to the log. Nobody may insert into it: its functions do.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['millrace_reader', 'millrace_reserver', 'millrace_appender'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
        END IF;
    END LOOP;
END
$$;

-- name: login_role
-- The statement that makes the role $1 with the password $2, or gives it that password.
SELECT CASE
    WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text) THEN format('ALTER ROLE %I LOGIN PASSWORD %L', $1, $2::text)
    ELSE format('CREATE ROLE %I LOGIN PASSWORD %L', $1, $2::text)
END;

-- name: let_see
-- What `doctor` looks for, it must be able to see: others' connections. Not every service lets its administrator say so.
DO $$
BEGIN
    GRANT pg_read_all_stats TO millrace_owner;
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END
$$;

-- name: grants
-- The statements that let the role $2 work with the rows of the schema $1, but not change its shape. None if there is
-- no such schema.
SELECT unnest(ARRAY[
    format('GRANT USAGE ON SCHEMA %I TO %I', nspname, $2::text),
    format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', nspname, $2),
    format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO %I', nspname, $2),
    format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %I TO %I', nspname, $2)
])
FROM pg_namespace
WHERE nspname = $1::text;
