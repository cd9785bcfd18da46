#!/bin/sh
# As far as compose.yaml asks for it, what the image's own entrypoint does: a cluster with a password, then the command.
set -eu
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"
PGDATA=/var/lib/postgresql/stand-in
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password && chown postgres /tmp/password
    as_postgres initdb --pgdata="$PGDATA" --auth-host=scram-sha-256 --pwfile=/tmp/password --encoding=UTF8 --locale=C
    rm /tmp/password
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups "$@" -D "$PGDATA" --listen_addresses='*'
