"""Makes a server into Millrace's database: login roles, memberships, migrations, grants.

The same for tests, `make run`, `make stack` and an operator's own server. Everything is idempotent.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from events.database import load_queries

OWNER = "owner"  # owns every schema and runs the migrations; no service uses it

# Each service's role and what it may do to the log.
MEMBERSHIPS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("millrace_reserver",),
    "processor": ("millrace_reader", "millrace_reserver", "millrace_appender"),
    "notifier": ("millrace_reader",),
    "gateway": ("millrace_reserver",),
}
ROLES = (OWNER, *MEMBERSHIPS)

# The packages that own a schema, in the order in which they depend on each other.
SCHEMAS = ("events", "ingest", "processor", "gateway", "notifier")


@dataclass(frozen=True, slots=True)
class Database:
    """One database, and how each role gets in."""

    admin_url: str = field(repr=False)
    passwords: Mapping[str, str] = field(repr=False)  # role → password

    @property
    def name(self) -> str:
        return urlsplit(self.admin_url).path.removeprefix("/")

    def url(self, role: str) -> str:
        server = urlsplit(self.admin_url)
        address = server.netloc.rpartition("@")[2]
        user = f"millrace_{role}:{quote(self.passwords[role], safe='')}"
        return urlunsplit(server._replace(netloc=f"{user}@{address}"))


def new_passwords() -> dict[str, str]:
    return {role: secrets.token_urlsafe(24) for role in ROLES}


async def provision(admin_url: str, name: str, passwords: Mapping[str, str]) -> Database:
    """Bring the database `name` on the superuser's server to the newest schema, creating what is missing."""
    database = Database(await provision_roles(admin_url, name, passwords), passwords)
    await migrate_all(database.url(OWNER))
    return database


async def provision_roles(admin_url: str, name: str, passwords: Mapping[str, str]) -> str:
    """Only the roles and the database, whatever is in it. Returns its URL, as the superuser."""
    async with _connected(admin_url) as connection:
        await _create_roles(connection, passwords)
        await _create_database(connection, name)
    return urlunsplit(urlsplit(admin_url)._replace(path=f"/{name}"))


async def keep_epoch_on_failover(database_url: str) -> None:
    """Say that a promoted standby has all that was committed: see events.recognise. As the superuser; it stays."""
    async with _connected(database_url) as connection:
        name = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {name} SET millrace.failover = 'lossless'")


async def migrate_all(owner_url: str) -> None:
    """Run every owner's migrations, then let each service use its own schema."""
    from events.migrate import migrate  # here: Alembic takes half a second, of most commands for nothing

    for schema in SCHEMAS:
        if resources.files(schema).joinpath("migrations").is_dir():
            await migrate(owner_url, schema)
    queries = load_queries("deploy", "roles.sql")
    async with _connected(owner_url) as connection:
        for service in MEMBERSHIPS:
            for (statement,) in await connection.fetch(queries["grants"], service, f"millrace_{service}"):
                await connection.execute(statement)


async def _create_roles(connection: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    queries = load_queries("deploy", "roles.sql")
    async with connection.transaction():
        await connection.execute(queries["create_groups"])
        for role, password in passwords.items():
            await connection.execute(await connection.fetchval(queries["login_role"], f"millrace_{role}", password))
        if OWNER in passwords:
            await connection.execute(queries["let_see"])
        for role, groups in MEMBERSHIPS.items():
            for group in groups:
                await connection.execute(f"GRANT {group} TO millrace_{role}")


async def _create_database(connection: asyncpg.Connection, name: str) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
        await connection.execute(f'CREATE DATABASE "{name}" OWNER millrace_{OWNER}')
    await let_in(connection, name)


async def let_in(connection: asyncpg.Connection, database: str) -> None:
    """Let our roles connect to the database, and nobody else."""
    await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    for role in MEMBERSHIPS:
        await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO millrace_{role}')


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
