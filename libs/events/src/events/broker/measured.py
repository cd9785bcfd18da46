"""Any broker, and how it is used: what is being published and how that went, and what is in our hands."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter

from events.broker.broker import NAMED, UNCONFIRMED, Broker, Delivery, Exchange, Message
from events.errors import PartlyConfirmed, Unroutable
from events.metrics.metrics import Metrics, exemplar


class MeasuredBroker:
    def __init__(self, broker: Broker, metrics: Metrics) -> None:
        self._broker = broker
        self._publishing = metrics.gauge("millrace_broker_publishing", "Messages that are being published.")
        metrics.gauge("millrace_broker_publishing_max", "How many the broker is given at once.").set(UNCONFIRMED)
        self._seconds = metrics.histogram(
            "millrace_broker_publish_duration_seconds",
            "Until the broker has confirmed a message, with waiting for its turn; or a page of the log.",
            {"exchange": [*Exchange]},
        )
        self._published = metrics.counter(
            "millrace_broker_publishes_total",
            "Messages given to the broker, by how it went.",
            {"exchange": [*Exchange], "outcome": ["confirmed", "no_queue", "unroutable", "failed"]},
        )
        self._metrics = metrics

    @property
    def system(self) -> str:
        return self._broker.system

    async def publish(self, exchange: Exchange, message: Message) -> None:
        began = perf_counter()
        outcome = "failed"
        self._publishing.inc()
        try:
            await self._broker.publish(exchange, message)
            outcome = "confirmed"
        except Unroutable:
            # Queues of which whoever comes first makes his own: that nobody has come yet is nothing wrong.
            outcome = "no_queue" if exchange in NAMED else "unroutable"
            raise
        finally:
            self._publishing.dec()
            self._published.labels(exchange, outcome).inc()
        self._seconds.labels(exchange).observe(perf_counter() - began, exemplar(message.headers.get("traceparent", "")))

    async def publish_all(self, exchange: Exchange, messages: Sequence[Message]) -> None:
        """As one that is being published: they do not take turns with the others."""
        began = perf_counter()
        confirmed = 0
        self._publishing.inc()
        try:
            await self._broker.publish_all(exchange, messages)
            confirmed = len(messages)
        except PartlyConfirmed as partly:
            confirmed = partly.confirmed
            raise
        finally:
            self._publishing.dec()
            self._published.labels(exchange, "confirmed").inc(confirmed)
            self._published.labels(exchange, "failed").inc(len(messages) - confirmed)
        self._seconds.labels(exchange).observe(perf_counter() - began)

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int) -> AsyncIterator[AsyncIterator[Delivery]]:
        unsettled = _Unsettled(self._metrics, queue, prefetch)
        async with self._broker.consume(queue, prefetch=prefetch) as deliveries:
            try:
                yield unsettled.counted(deliveries)
            finally:
                unsettled.all_come_again()

    # What needs no measuring

    async def declare_tasks(self, name: str) -> None:
        await self._broker.declare_tasks(name)

    def take(
        self, name: str, *, exchange: Exchange = Exchange.TASKS
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        return self._broker.take(name, exchange=exchange)

    def subscribe(self, exchange: Exchange, *, limit: int) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        return self._broker.subscribe(exchange, limit=limit)

    async def depth(self, queue: str) -> int:
        return await self._broker.depth(queue)

    async def purge(self, queue: str) -> int:
        return await self._broker.purge(queue)

    async def ping(self) -> None:
        await self._broker.ping()


class _Unsettled:
    """What a consumer has been given and has not settled."""

    def __init__(self, metrics: Metrics, queue: str, prefetch: int) -> None:
        self._held = 0
        count = metrics.gauge(
            "millrace_broker_unsettled", "Messages delivered to this process and not acknowledged.", {"queue": [queue]}
        )
        count.labels(queue).set_function(lambda: self._held)
        most = metrics.gauge("millrace_broker_unsettled_max", "How many there may be.", {"queue": [queue]})
        most.labels(queue).set(prefetch)

    async def counted(self, deliveries: AsyncIterator[Delivery]) -> AsyncIterator[Delivery]:
        async for delivery in deliveries:
            self._held += 1
            yield _MeasuredDelivery(delivery, self)

    def settled(self) -> None:
        self._held -= 1

    def all_come_again(self) -> None:
        self._held = 0


class _MeasuredDelivery:
    def __init__(self, delivery: Delivery, unsettled: _Unsettled) -> None:
        self._delivery = delivery
        self._unsettled = unsettled
        self.message = delivery.message
        self.redelivered = delivery.redelivered

    async def ack(self) -> None:
        await self._delivery.ack()
        self._unsettled.settled()

    async def reject(self) -> None:
        await self._delivery.reject()
        self._unsettled.settled()
