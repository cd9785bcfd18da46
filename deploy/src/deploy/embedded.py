"""`make run`: all four services in one process.

They stand on a real PostgreSQL from a wheel, the memory broker, and blobs on the local disk.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from deploy.data_directory import DataDirectory
from events.broker_memory import MemoryBroker
from events.lifecycle import Address, listen

_DATABASE = "millrace"


@asynccontextmanager
async def open_embedded(data: DataDirectory, host: str, port: int) -> AsyncIterator[Address]:
    """Everything, ready to serve at the address of its gateway. Stopped from the door inwards."""
    listen(host, port).close()
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(_open_database(data))
        broker = await parts.enter_async_context(MemoryBroker())
