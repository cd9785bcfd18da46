"""Makes a server into Millrace's database: login roles, memberships, migrations, grants.

The same for tests, `make run`, `make stack` and an operator's own server. Everything is idempotent.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import asyncpg

from deploy.postgres import PostgresServer
from events.database import load_queries
from events.migrate import migrate

OWNER = "owner"  # owns every schema and runs the migrations; no service uses it

# Each service's role and what it may do to the log.
MEMBERSHIPS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("millrace_reserver",),
    "processor": ("millrace_reader", "millrace_reserver", "millrace_appender"),
    "notifier": ("millrace_reader",),
    "gateway": ("millrace_reserver",),
}
ROLES = (OWNER, *MEMBERSHIPS)

# The owners of a schema, in the order in which they depend on each other.
SCHEMAS = ("events", "ingest", "processor", "gateway")


@dataclass(frozen=True, slots=True)
class Database:
    """One database on a server, and how each role gets in."""

    server: PostgresServer
    name: str
    passwords: Mapping[str, str] = field(repr=False)  # role → password

    def url(self, role: str) -> str:
        return self.server.url(f"millrace_{role}", self.passwords[role], self.name)

    @property
    def admin_url(self) -> str:
        return self.server.admin_url(self.name)


def new_passwords() -> dict[str, str]:
    return {role: secrets.token_urlsafe(24) for role in ROLES}


async def provision(server: PostgresServer, name: str, passwords: Mapping[str, str]) -> Database:
    """Bring the database to the newest schema, creating what is missing."""
    await create_roles(server.admin_url(), passwords)
    database = Database(server, name, passwords)
    await _create_if_missing(server.admin_url(), name)
    await migrate_all(database.url(OWNER))
    return database


async def create_roles(admin_url: str, passwords: Mapping[str, str]) -> None:
    queries = load_queries("deploy", "roles.sql")
    connection = await asyncpg.connect(admin_url)
    try:
        async with connection.transaction():
            await connection.execute(queries["create_groups"])
            for role, password in passwords.items():
                statement = await connection.fetchval(queries["login_role"], f"millrace_{role}", password)
                await connection.execute(statement)
            for role, groups in MEMBERSHIPS.items():
                for group in groups:
                    await connection.execute(f"GRANT {group} TO millrace_{role}")
    finally:
        await connection.close()


async def _create_if_missing(admin_url: str, name: str) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
            await connection.execute(f'CREATE DATABASE "{name}" OWNER millrace_{OWNER}')
            await connection.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        for role in MEMBERSHIPS:
            await connection.execute(f'GRANT CONNECT ON DATABASE "{name}" TO millrace_{role}')
    finally:
        await connection.close()


async def migrate_all(owner_url: str) -> None:
    """Run every owner's migrations, then let each service use its own schema."""
    for schema in SCHEMAS:
        if resources.files(schema).joinpath("migrations").is_dir():
            await migrate(owner_url, schema)
    queries = load_queries("deploy", "roles.sql")
    connection = await asyncpg.connect(owner_url)
    try:
        for service in MEMBERSHIPS:
            if await connection.fetchval(queries["has_schema"], service):
                for statement in await connection.fetch(queries["grants"], service, f"millrace_{service}"):
                    await connection.execute(statement[0])
    finally:
        await connection.close()
