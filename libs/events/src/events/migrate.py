"""Runs the plain-SQL migrations of one owner by Alembic. Each owner has its own schema and its own history.

An owner is a package (`events`, `ingest`, …) with a folder `migrations/versions`. Its schema has the package's
name. A revision is a `.sql` file and a `.py` file of the same name that only runs it.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from alembic import op
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from events.errors import StartupError

# Two processes that start at once must not migrate at once.
_MIGRATION_LOCK = 0x6D696C6C72616365


async def migrate(url: str, owner: str, *, to: str = "head") -> None:
    """Bring the owner's schema to its newest revision, or to an older one. Does nothing if it is there already."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, owner, to)
    finally:
        await engine.dispose()


def revisions(owner: str) -> Sequence[str]:
    """What this release knows of the owner's schema, the newest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config(owner)).walk_revisions()]


def newest_revision(owner: str) -> str:
    """What this release migrates the owner's schema to."""
    return revisions(owner)[0]


def run_sql(revision_file: str) -> None:
    """Run the `.sql` file beside a revision's `.py` file, as one script."""
    script = Path(revision_file).with_suffix(".sql").read_text()
    op.get_bind().connection.run_async(lambda connection: connection.execute(script))


def _upgrade(connection: Connection, owner: str, to: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{owner}"'))
    scripts = ScriptDirectory.from_config(_config(owner))
    with EnvironmentContext(
        _config(owner),
        scripts,
        fn=lambda revision, _context: scripts._upgrade_revs(to, revision),  # noqa: SLF001 - Alembic's own recipe
    ) as environment:
        environment.configure(connection=connection, version_table_schema=owner)
        try:
            environment.run_migrations()
        except CommandError as unknown:
            raise StartupError(
                f"The schema {owner} was migrated by a release that this one does not know ({unknown}). Use that one."
            ) from None


def _config(owner: str) -> Config:
    config = Config()
    with resources.as_file(resources.files(owner).joinpath("migrations")) as folder:
        config.set_main_option("script_location", str(folder))
    return config
