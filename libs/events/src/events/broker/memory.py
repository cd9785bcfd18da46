"""The broker within one process. It may lose what it holds when the process dies: the outbox and the log repair that,
just as they repair a purged RabbitMQ."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from events.broker.arrivals import Arrivals
from events.broker.broker import MANDATORY, NAMED, QUEUE_OF, Delivery, Exchange, Message, Queue, named_queue, task_queue
from events.errors import BrokerUnavailable, PartlyConfirmed, Unroutable

CAPACITY = 100_000


@dataclass(slots=True)
class _DurableQueue:
    waiting: deque[tuple[Message, bool]] = field(default_factory=deque)  # the message, and whether it came before
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)


class MemoryBroker:
    system = "memory"

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._queues: dict[str, _DurableQueue] = {queue: _DurableQueue() for queue in Queue}
        self._subscriptions: dict[Exchange, set[Arrivals[Message]]] = {exchange: set() for exchange in Exchange}

    async def publish(self, exchange: Exchange, message: Message) -> None:
        for subscription in self._subscriptions[exchange]:
            subscription.put(message)
        queue = named_queue(exchange, message.routing_key) if exchange in NAMED else QUEUE_OF.get(exchange)
        if queue is None or queue not in self._queues:
            if exchange in MANDATORY:
                raise Unroutable(f"No queue is bound to {exchange} for {message.routing_key!r}.")
            return
        held = self._queues[queue]
        if len(held.waiting) >= self._capacity:
            raise BrokerUnavailable(f"The queue {queue} is full.")
        held.waiting.append((message, False))
        await _announce(held)

    async def publish_all(self, exchange: Exchange, messages: Sequence[Message]) -> None:
        for confirmed, message in enumerate(messages):
            try:
                await self.publish(exchange, message)
            except (Unroutable, BrokerUnavailable) as refused:
                raise PartlyConfirmed(refused.detail, confirmed=confirmed) from refused

    async def declare_tasks(self, name: str) -> None:
        self._queues.setdefault(task_queue(name), _DurableQueue())

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int) -> AsyncIterator[AsyncIterator[Delivery]]:
        consumer = _Consumer(self._queues[queue], prefetch)
        try:
            yield consumer.deliveries()
        finally:
            await consumer.close()

    @asynccontextmanager
    async def take(self, name: str, *, exchange: Exchange = Exchange.TASKS) -> AsyncIterator[AsyncIterator[Delivery]]:
        queue = named_queue(exchange, name)
        self._queues.setdefault(queue, _DurableQueue())
        async with self.consume(queue, prefetch=self._capacity) as deliveries:
            yield deliveries  # here nothing leaves a queue before it is asked for

    @asynccontextmanager
    async def subscribe(self, exchange: Exchange, *, limit: int) -> AsyncIterator[AsyncIterator[Message]]:
        subscription = Arrivals[Message](limit)
        self._subscriptions[exchange].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[exchange].discard(subscription)

    async def depth(self, queue: str) -> int:
        return len(self._queues[queue].waiting) if queue in self._queues else 0

    async def purge(self, queue: str) -> int:
        waiting = self._queues[queue].waiting
        purged = len(waiting)
        waiting.clear()
        return purged

    async def ping(self) -> None:
        """A part of this process is there as long as the process is."""


class _MemoryDelivery:
    def __init__(self, message: Message, redelivered: bool, consumer: "_Consumer") -> None:
        self.message = message
        self.redelivered = redelivered
        self._consumer = consumer

    async def ack(self) -> None:
        await self._consumer.settle(self, again=False)

    async def reject(self) -> None:
        await self._consumer.settle(self, again=True)


class _Consumer:
    def __init__(self, queue: _DurableQueue, prefetch: int) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._unsettled: dict[int, _MemoryDelivery] = {}

    async def deliveries(self) -> AsyncIterator[Delivery]:
        while True:
            async with self._queue.arrived:
                await self._queue.arrived.wait_for(
                    lambda: self._queue.waiting and len(self._unsettled) < self._prefetch
                )
                message, redelivered = self._queue.waiting.popleft()
            delivery = _MemoryDelivery(message, redelivered, self)
            self._unsettled[id(delivery)] = delivery
            yield delivery

    async def settle(self, delivery: _MemoryDelivery, *, again: bool) -> None:
        if self._unsettled.pop(id(delivery), None) is None:
            return
        if again:
            self._queue.waiting.append((delivery.message, True))
        await _announce(self._queue)

    async def close(self) -> None:
        """What was not settled is delivered again, to whoever comes next."""
        for delivery in reversed(self._unsettled.values()):
            self._queue.waiting.appendleft((delivery.message, True))
        self._unsettled.clear()
        await _announce(self._queue)


async def _announce(queue: _DurableQueue) -> None:
    async with queue.arrived:
        queue.arrived.notify_all()
