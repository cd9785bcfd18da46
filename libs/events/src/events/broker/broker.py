"""The broker wakes and carries; it is never the truth.

`Broker` is the protocol; `rabbitmq.py` and `memory.py` are its adapters, and one contract suite
(tests/contract/test_broker.py) holds for both.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Exchange(StrEnum):
    INTAKE = "millrace.intake"  # topic: what the edge has to say → processor
    EVENTS = "millrace.events"  # topic, `<tenant>.<category>.<verb>`: every event, for internal services
    FEED = "millrace.feed"  # fanout: the same events in batches, one queue per notifier
    DEAD = "millrace.dead"  # what could not be handled, with the reason
    TASKS = "millrace.tasks"  # direct, by the queue's name: what remote workers are to do
    CONTROL = "millrace.control"  # fanout: what they are to leave
    SUBSCRIBERS = "millrace.subscribers"  # direct, by the group's name: dead letters that it is to try again


class Queue(StrEnum):
    INTAKE = "millrace.intake"
    DEAD = "millrace.dead"


# The durable queues that we own, each bound to all of its exchange. Whoever reads EVENTS binds queues of their own.
QUEUE_OF = {Exchange.INTAKE: Queue.INTAKE, Exchange.DEAD: Queue.DEAD}


# Messages that somebody must receive: the broker returns them if no queue is bound. Feeds and events may
# have nobody listening.
MANDATORY = frozenset({Exchange.INTAKE, Exchange.DEAD, Exchange.TASKS, Exchange.SUBSCRIBERS})


# Where each queue has a name of its own, which is the routing key.
NAMED = frozenset({Exchange.TASKS, Exchange.SUBSCRIBERS})


def named_queue(exchange: Exchange, name: str) -> str:
    """The durable queue for the routing key `name`. Whoever comes first makes it."""
    return f"{exchange}.{name}"


def task_queue(name: str) -> str:
    return named_queue(Exchange.TASKS, name)


UNCONFIRMED = 100  # publishes in flight; RabbitMQ gains nothing from more


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
    @property
    def system(self) -> str:
        """What traces call it."""

    async def publish(self, exchange: Exchange, message: Message) -> None:
        """Return once the broker has confirmed. Raise `Unroutable` or `BrokerUnavailable`: then the message may or
        may not have arrived, and the caller publishes it again under the same id."""

    async def publish_all(self, exchange: Exchange, messages: Sequence[Message]) -> None:
        """Publish them in their order, none waiting for another's confirm, and return once all are confirmed. Raise
        `BrokerUnavailable`: then the caller publishes all of them again; or all but the first so many, if it is
        `PartlyConfirmed`. Whoever reads them may get some twice, and has all in order from any that comes again."""

    async def declare_tasks(self, name: str) -> None:
        """Make the queue `task_queue(name)`, bound to TASKS, unless there is one. Raise `BrokerUnavailable`, or
        `Conflict` if somebody has made it otherwise."""

    def consume(self, queue: str, *, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Deliveries of a durable queue. Survives a lost connection; unsettled deliveries come again."""

    def take(
        self, name: str, *, exchange: Exchange = Exchange.TASKS
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Deliveries of `named_queue(exchange, name)`, each only when it is asked for: what waits is there for
        everybody. Survives as `consume` does."""

    def subscribe(self, exchange: Exchange, *, limit: int) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """A private, bounded queue of what is published from now on. When it is full, or while the broker is away,
        the oldest is dropped: the reader notices the gap and repairs it from the log. Who waits for a message may give
        up, and ask again."""

    async def depth(self, queue: str) -> int:
        """How many messages wait in the queue; none if there is no such queue."""

    async def purge(self, queue: str) -> int: ...

    async def ping(self) -> None:
        """Raise `BrokerUnavailable` if the broker does not answer within two seconds."""
