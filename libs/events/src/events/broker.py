"""The broker wakes and carries; it is never the truth.

`Broker` is the protocol; `broker_rabbitmq.py` and `broker_memory.py` are its adapters, and one contract suite
(tests/contract/test_broker.py) holds for both.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Exchange(StrEnum):
    INTAKE = "millrace.intake"  # topic: what the edge has to say → processor
    EVENTS = "millrace.events"  # topic, `<tenant>.<category>.<verb>`: every event, for internal services
    FEED = "millrace.feed"  # fanout: the same events in batches, one queue per notifier
    DEAD = "millrace.dead"  # what could not be handled, with the reason


class Queue(StrEnum):
    INTAKE = "millrace.intake"
    DEAD = "millrace.dead"


# The durable queues that we own, each bound to all of its exchange. Whoever reads EVENTS binds queues of their own.
QUEUE_OF = {Exchange.INTAKE: Queue.INTAKE, Exchange.DEAD: Queue.DEAD}


# Messages that somebody must receive: the broker returns them if no queue is bound. Feeds and events may
# have nobody listening.
MANDATORY = frozenset({Exchange.INTAKE, Exchange.DEAD})


@dataclass(frozen=True, slots=True)
class Message:
    id: str  # the event's id; for a batch, its position range
    body: bytes
    routing_key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # traceparent, tenant, reason …


class Delivery(Protocol):
    """One message in a consumer's hands. Each is settled once; settling after a reconnect is a no-op, since the
    broker delivers the message again."""

    @property
    def message(self) -> Message: ...
    @property
    def redelivered(self) -> bool: ...
    async def ack(self) -> None: ...
    async def reject(self) -> None:
        """Give the message back to the queue, to whoever consumes next."""


class Broker(Protocol):
    async def publish(self, exchange: Exchange, message: Message) -> None:
        """Return once the broker has confirmed. Raise `Unroutable` or `BrokerUnavailable`: then the message may or
        may not have arrived, and the caller publishes it again under the same id."""

    def consume(self, queue: Queue, *, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Deliveries of a durable queue. Survives a lost connection; unsettled deliveries come again."""

    def subscribe(self, exchange: Exchange, *, limit: int) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """A private, bounded queue of what is published from now on. When it is full, or while the broker is away,
        the oldest is dropped: the reader notices the gap and repairs it from the log."""

    async def depth(self, queue: Queue) -> int:
        """How many messages wait in the queue."""

    async def purge(self, queue: Queue) -> int: ...

    async def ping(self) -> None:
        """Raise `BrokerUnavailable` if the broker does not answer within two seconds."""
