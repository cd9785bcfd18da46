"""Opens private servers: as containers where a Docker engine can, else as native processes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from deploy import containers, packages, postgres, rabbitmq
from deploy.postgres import PostgresServer
from deploy.rabbitmq import RabbitServer


@asynccontextmanager
async def open_postgres(
    directory: Path, *, password: str | None = None, settings: Mapping[str, str] | None = None
) -> AsyncIterator[PostgresServer]:
    """A running server that keeps its data in `directory`. Stopped in order at the end."""
    password = password or secrets.token_urlsafe(24)
    server = await asyncio.to_thread(_prepare_postgres, directory, password, settings or {})
    try:
        await server.start()
        yield server
    finally:
        await server.remove()


@asynccontextmanager
async def open_rabbitmq(directory: Path, *, password: str | None = None) -> AsyncIterator[RabbitServer]:
    """A running server that keeps its data in `directory`. Stopped in order at the end."""
    server = await asyncio.to_thread(_prepare_rabbitmq, directory, password or secrets.token_urlsafe(24))
    try:
        await server.start()
        yield server
    finally:
        await server.remove()


def _prepare_postgres(directory: Path, password: str, settings: Mapping[str, str]) -> PostgresServer:
    directory.mkdir(parents=True, exist_ok=True)
    if containers.engine_has(containers.POSTGRES_IMAGE):
        return containers.postgres_server(directory, password, settings)
    return postgres.native_server(packages.postgres_binaries(), directory, password, settings)


def _prepare_rabbitmq(directory: Path, password: str) -> RabbitServer:
    directory.mkdir(parents=True, exist_ok=True)
    if containers.engine_has(containers.RABBITMQ_IMAGE):
        return containers.rabbitmq_server(directory, password)
    return rabbitmq.native_server(packages.rabbitmq_program(), directory, password)
