"""The Millrace that a command is about: one that runs elsewhere, by its settings, or one on a directory of ours."""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from obstore.store import MemoryStore

from deploy import servers
from deploy.data_directory import open_data_directory
from deploy.exits import Unreachable, WrongSettings
from deploy.postgres_wheel import open_server
from deploy.printing import note, reason
from deploy.provision import OWNER, provision_roles
from deploy.settings import DeploySettings
from events.blobs.blobs import Blobs, open_blobs
from events.database import Pool, open_pool

CONNECT_SECONDS = 10.0
# What a parser says of a malformed URL may have a part of the password in it, so that is not repeated.
WELL_FORMED = (
    "It is postgresql://millrace_owner:password@host:5432/millrace, and what is no letter or digit of a password is "
    "percent-encoded in it."
)
_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Target:
    """`directory` is None for one that runs elsewhere."""

    directory: Path | None
    running: bool

    @property
    def name(self) -> str:
        if self.directory is None:
            return "the deployment at MILLRACE_DATABASE_URL"
        return f"{'make stack' if self.is_stack else 'make run'} on {self.directory}"

    @property
    def is_stack(self) -> bool:
        return self.directory is not None and (self.directory / "rabbitmq").exists()

    @property
    def start_command(self) -> str:
        return "make stack" if self.is_stack else "make run"

    @property
    def url(self) -> str | None:
        """Its gateway's."""
        return os.environ.get("MILLRACE_URL") or self._kept("url")

    @property
    def key(self) -> str | None:
        """One that its gateway takes."""
        return os.environ.get("MILLRACE_KEY") or self._kept("admin-key")

    @property
    def broker_url(self) -> str | None:
        """None where it is not told, or the broker is in the memory of `make run`."""
        given = os.environ.get("MILLRACE_BROKER_URL", "")
        if self.directory is None:
            return given if given.startswith("amqp") else None
        return self._kept("broker-url")

    @property
    def blobs_url(self) -> str | None:
        """None where it is not told."""
        if given := os.environ.get("MILLRACE_BLOBS_URL"):
            return given
        # Where the database is told, a data directory that is at hand is another Millrace's, and so are its blobs.
        return None if self.directory is None else str(self.directory / "blobs")

    def blobs(self) -> Blobs:
        if self.blobs_url is None:
            raise WrongSettings(
                "MILLRACE_BLOBS_URL is not set. Where MILLRACE_DATABASE_URL is, it says where the blobs of that "
                "database are (s3://bucket/path, file:///srv/millrace/blobs): those of a data directory are another's."
            )
        return open_blobs(self.blobs_url)

    def blobs_if_told(self) -> Blobs:
        """An empty store where we have not been told which it is: for those who can do without."""
        return Blobs(MemoryStore()) if self.blobs_url is None else self.blobs()

    def _kept(self, file: str) -> str | None:
        if self.directory is None or not (self.directory / file).exists():
            return None
        return (self.directory / file).read_text().strip() or None


def find_target() -> Target:
    """By MILLRACE_DATABASE_URL, or else on MILLRACE_DATA_DIR or the `stack` in it: whichever runs, or else whichever
    there is."""
    if url := os.environ.get("MILLRACE_DATABASE_URL"):
        _check_form(url)
        return Target(None, running=True)
    folder = DeploySettings.from_environment().data_dir.absolute()
    there = [Target(path, is_running(path)) for path in (folder, folder / "stack") if (path / "postgres").exists()]
    if not there:
        raise WrongSettings(
            f"There is no Millrace in {folder}. Set MILLRACE_DATA_DIR to the directory of one, or "
            "MILLRACE_DATABASE_URL for one that runs elsewhere."
        )
    return next((target for target in there if target.running), there[0])


def _check_form(url: str) -> None:
    """Of a command that would otherwise look at other parts first, too."""
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        ports = all((urlsplit(f"//{host}").port or 0) >= 0 for host in hosts)  # raises at what is none
        well_formed = parts.scheme in ("postgresql", "postgres") and ports
    except ValueError:
        well_formed = False
    if not well_formed:
        raise WrongSettings(f"What is at MILLRACE_DATABASE_URL is no URL of a database. {WELL_FORMED}")


def is_running(directory: Path) -> bool:
    """Whether a Millrace holds the directory."""
    if not (directory / "lock").exists():
        return False
    with (directory / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@asynccontextmanager
async def open_database(target: Target) -> AsyncIterator[str]:
    """The URL of its database, which has let us in. Where nothing runs, its PostgreSQL is started for us alone."""
    if target.directory is None:
        yield await let_in(os.environ["MILLRACE_DATABASE_URL"], "at MILLRACE_DATABASE_URL")
        return
    if target.running:
        kept = target.directory / "database-url"
        if not kept.exists():
            raise Unreachable(f"{target.name} has not started its database yet. Try again in a moment.")
        yield await let_in(kept.read_text().strip(), f"of {target.name}")
        return
    note(f"Nothing runs on {target.directory}: its PostgreSQL is started for this command.")
    with open_data_directory(target.directory) as data:
        opening = (
            servers.open_postgres(data.path / "postgres", password=data.secrets.postgres)
            if target.is_stack
            else open_server(data)
        )
        async with opening as server:
            yield await provision_roles(server.admin_url(), "millrace", data.secrets.roles)


@asynccontextmanager
async def open_owner_pool(target: Target, *, size: int = _CONNECTIONS) -> AsyncIterator[Pool]:
    """Connections for what takes as long as the log is."""
    async with open_database(target) as url, open_pool(url, name="operator", size=size) as pool:
        yield pool


async def let_in(url: str, which: str) -> str:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except ValueError:
        raise WrongSettings(f"What is {which} is no URL of a database. {WELL_FORMED}") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as no:
        raise Unreachable(f"The database {which} does not let us in: {reason(no)}.") from None
    await connection.close()
    return url


def required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise WrongSettings(f"{variable} is not set.")
    return value


OWNER_ROLE = f"millrace_{OWNER}"
