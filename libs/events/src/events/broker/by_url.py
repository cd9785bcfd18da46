"""Which broker a URL names."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.broker.broker import Broker
from events.broker.memory import MemoryBroker
from events.broker.rabbitmq import RabbitBroker
from events.errors import StartupError


@asynccontextmanager
async def open_broker(url: str, *, name: str) -> AsyncIterator[Broker]:
    """`amqp://` or `amqps://` for RabbitMQ, connected when first needed; `memory://` for this process alone."""
    match url.partition("://")[0]:
        case "memory":
            yield MemoryBroker()
        case "amqp" | "amqps":
            broker = RabbitBroker(url, name=name)
            try:
                yield broker
            finally:
                await broker.close()
        case _:
            raise StartupError("MILLRACE_BROKER_URL must begin with amqp://, amqps:// or memory://.")
