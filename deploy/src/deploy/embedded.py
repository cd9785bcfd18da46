"""`make run`: all four services in one process.

They stand on a real PostgreSQL from a wheel, the memory broker, and blobs on the local disk.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import gateway.app
import ingest.app
import notifier.app
import processor.app
from deploy.data_directory import DataDirectory
from deploy.postgres_wheel import open_server
from deploy.process import free_port
from deploy.provision import Database, provision
from deploy.supervision import supervise
from events.broker.memory import MemoryBroker
from events.lifecycle import Address, OpenService, S, listen, open_parts, serve
from gateway.auth.keys import new_key
from gateway.settings import GatewaySettings
from ingest.settings import IngestSettings
from notifier.settings import NotifierSettings
from processor.settings import ProcessorSettings

_DATABASE = "millrace"


@asynccontextmanager
async def open_embedded(data: DataDirectory, host: str, port: int) -> AsyncIterator[Address]:
    """Everything, ready to serve at the address of its gateway. Stopped from the door inwards."""
    listen(host, port).close()
    door = Address(host, port or free_port())
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(_open_database(data))
        broker = MemoryBroker()

        def ours(name: str) -> dict[str, Any]:
            return {
                "host": "127.0.0.1",
                "port": 0,
                "data_dir": data.path,
                "database_url": database.url(name),
                "principal_secret": data.secrets.principal,
            }

        async def opened(name: str, settings_type: type[S], open_service: OpenService[S], **more: Any) -> Address:
            settings = settings_type.from_environment(**ours(name) | more)
            own = await parts.enter_async_context(open_parts(settings, name, broker=broker))
            service = await parts.enter_async_context(open_service(settings, own))
            return await parts.enter_async_context(
                serve(service, settings.host, settings.port, grace=settings.shutdown_grace)
            )

        ingest_at = await opened("ingest", IngestSettings, ingest.app.open_service)
        processor_at = await opened("processor", ProcessorSettings, processor.app.open_service)
        notifier_at = await opened("notifier", NotifierSettings, notifier.app.open_service, gateway_url=door.url)
        gateway_at = await opened(
            "gateway",
            GatewaySettings,
            gateway.app.open_service,
            host=door.host,
            port=door.port,
            ingest_url=ingest_at.url,
            processor_url=processor_at.url,
            notifier_url=notifier_at.url,
            admin_key=data.admin_key(new_key),
            key_pepper=data.secrets.key_pepper,
        )
        data.keep_url(door.url)
        yield gateway_at


@asynccontextmanager
async def _open_database(data: DataDirectory) -> AsyncIterator[Database]:
    async with open_server(data) as server:
        watching = asyncio.create_task(supervise(server.name, server.wait, server.start))
        try:
            database = await provision(server.admin_url(), _DATABASE, data.secrets.roles)
            data.keep_database_url(database.admin_url)
            yield database
        finally:
            watching.cancel()
