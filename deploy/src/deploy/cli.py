"""The operator's command, `millrace`."""

import argparse
import asyncio
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Mapping
from importlib.metadata import version
from pathlib import Path

import asyncpg
import uvloop

from deploy.data_directory import open_data_directory
from deploy.embedded import open_embedded
from deploy.prometheus import watched
from deploy.provision import ROLES, migrate_all, provision
from deploy.settings import DeploySettings, unknown_settings
from deploy.stack import Stack
from events import subscribe
from events.database import open_pool
from events.errors import NotFound, StartupError
from events.lifecycle import stop_signal
from events.telemetry import configure_logging
from gateway.auth.keys import new_key
from processor.projections import rebuild


async def up() -> None:
    """Run everything in this process."""
    settings = _settings()
    if settings.broker_url.get_secret_value() not in ("", "memory://"):
        raise StartupError(
            "MILLRACE_BROKER_URL is set, and `make run` has a broker of its own, in its memory. Unset it, "
            "or use `make stack`, which runs RabbitMQ."
        )
    stop = stop_signal()
    with open_data_directory(settings.data_dir) as data:
        configure_logging(data.logs / "millrace.log", settings.log_level)
        async with open_embedded(data, settings.host, settings.port) as address:
            _welcome(address.url, data.admin_key_file)
            await stop.wait()
    print("Millrace has stopped.")


async def stack() -> None:
    """Run the production shape: four processes, RabbitMQ, PostgreSQL."""
    settings = _settings()
    stop = stop_signal()
    async with Stack.open(settings.data_dir / "stack", host=settings.host, port=settings.port) as running:
        configure_logging(running.logs / "stack.log", settings.log_level)
        _welcome(running.base_url, running.admin_key_file)
        worker = (
            f"MILLRACE_BROKER_URL=$(cat {_quoted(running.broker_url_file)}) .venv/bin/python deploy/examples/worker.py"
        )
        print(f"Do steps of workflows in a process of your own:\n\n  {worker}\n")
        print(f"Each process writes its log to {running.logs}/<service>.log.\n", flush=True)
        supervising = asyncio.create_task(running.supervise())
        async with watched(running) as sentence:
            print(f"{sentence}\n", flush=True)
            await stop.wait()
        supervising.cancel()
    print("Millrace has stopped.")


async def migrate() -> None:
    """Bring the database at MILLRACE_DATABASE_URL to the newest schema, as its owner."""
    await migrate_all(await _database("MILLRACE_DATABASE_URL"))


async def provide() -> None:
    """Make roles and database on the server at MILLRACE_ADMIN_DATABASE_URL; MILLRACE_ROLE_PASSWORD is theirs."""
    passwords = dict.fromkeys(ROLES, _required("MILLRACE_ROLE_PASSWORD"))
    await provision(await _database("MILLRACE_ADMIN_DATABASE_URL"), "millrace", passwords)


async def rebuild_projections() -> None:
    """Make every projection anew from the log, as the owner of the database at MILLRACE_DATABASE_URL."""
    async with open_pool(await _database("MILLRACE_DATABASE_URL"), name="rebuild", size=2) as pool:
        print(f"Replayed {await rebuild(pool)} events.")


async def replay(group: str, position: int) -> None:
    """Hand everything after a position of the log to a group of subscribers again, in the database at
    MILLRACE_DATABASE_URL."""
    await subscribe.replay(group, position, database_url=await _database("MILLRACE_DATABASE_URL"))


async def print_new_key() -> None:
    """Print a new API key, as MILLRACE_ADMIN_KEY of a gateway wants it."""
    print(new_key())


COMMANDS: Mapping[str, Callable[..., Coroutine[None, None, None]]] = {
    "up": up,
    "stack": stack,
    "migrate": migrate,
    "provision": provide,
    "rebuild": rebuild_projections,
    "replay": replay,
    "new-key": print_new_key,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="millrace", description="Runs Millrace, and keeps it in order.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.__doc__)
        for argument, kind in inspect.get_annotations(command).items():
            if argument != "return":
                own.add_argument(argument, type=kind)
    given = vars(parser.parse_args())
    chosen = COMMANDS[given.pop("command")]
    try:
        uvloop.run(chosen(**given))
    except (StartupError, NotFound) as sentence:
        sys.exit(str(sentence))


def _settings() -> DeploySettings:
    for sentence in unknown_settings():
        print(sentence, file=sys.stderr)
    return DeploySettings.from_environment()


def _required(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise StartupError(f"{variable} is not set.")
    return value


async def _database(variable: str) -> str:
    """The URL in the variable, of a database that has just let us in."""
    url = _required(variable)
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as refused:
        raise StartupError(f"The database at {variable} does not let us in: {refused}.") from None
    await connection.close()
    return url


def _welcome(url: str, admin_key_file: Path) -> None:
    authorization = f'"Authorization: Bearer $(cat {_quoted(admin_key_file)})"'
    body = "\"$(printf 'name,age\\nAda,36\\nGrace,45\\n')\""
    upload = f"'{url}/api/v1/uploads?workflow=csv-profile&filename=people.csv'"
    print(f"Millrace {version('millrace-deploy')} is ready at {url}. Upload a first file:\n")
    print(f"  curl -H {authorization} -H 'Content-Type: text/csv' --data-binary {body} {upload}\n", flush=True)


def _quoted(file: Path) -> str:
    return shlex.quote(str(file))
