"""Private servers for a benchmark, as durable as in production."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy import servers
from deploy.provision import Database, new_passwords, provision


@asynccontextmanager
async def open_database() -> AsyncIterator[Database]:
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        async with servers.open_postgres(Path(folder)) as server:
            yield await provision(server.admin_url(), "millrace", new_passwords())


@asynccontextmanager
async def open_broker() -> AsyncIterator[str]:
    """The URL of a fresh virtual host."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        async with servers.open_rabbitmq(Path(folder)) as server:
            await server.create_vhost("bench")
            yield server.url("bench")
