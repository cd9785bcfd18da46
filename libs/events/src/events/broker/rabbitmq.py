"""The broker on RabbitMQ, from 3.10 to 4.x.

Connections are plain, not self-healing ones: whoever needs one opens it again, so that it is always clear what a
confirm, a delivery or an ack belongs to. Publishing and consuming never share one, since RabbitMQ blocks a
publishing connection under memory or disk alarms.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue
from aio_pika.connection import make_url
from aio_pika.exceptions import (
    AMQPError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    PublishError,
)

from events.broker.arrivals import Arrivals
from events.broker.broker import (
    MANDATORY,
    QUEUE_OF,
    UNCONFIRMED,
    Delivery,
    Exchange,
    Message,
    Queue,
    named_queue,
    task_queue,
)
from events.broker.rabbitmq_pages import Page
from events.errors import BrokerUnavailable, Conflict, Unroutable
from events.running.tasks import end

CONNECT_SECONDS = 5.0
CONFIRM_SECONDS = 10.0
PING_SECONDS = 2.0
_RETRY_FIRST_SECONDS = 0.1
_RETRY_LONGEST_SECONDS = 2.0

_KINDS = {
    Exchange.INTAKE: aio_pika.ExchangeType.TOPIC,
    Exchange.EVENTS: aio_pika.ExchangeType.TOPIC,
    Exchange.FEED: aio_pika.ExchangeType.FANOUT,
    Exchange.DEAD: aio_pika.ExchangeType.TOPIC,
    Exchange.TASKS: aio_pika.ExchangeType.DIRECT,
    Exchange.CONTROL: aio_pika.ExchangeType.FANOUT,
    Exchange.SUBSCRIBERS: aio_pika.ExchangeType.DIRECT,
}

# Arguments cannot be changed once a queue exists, so they say only what never changes. Attempts are counted by the
# consumer; the limit is positive because unset and -1 mean different things in different versions.
_DURABLE_ARGUMENTS: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}

# What aio-pika raises when the connection is gone, going or not to be had. It raises RuntimeError for calls on a
# connection or channel that has just closed, and aiormq StopAsyncIteration if a server ends while it greets us.
_GONE = (AMQPError, OSError, TimeoutError, RuntimeError, StopAsyncIteration)

_Opened: TypeAlias = tuple[AbstractConnection, AbstractChannel]

T = TypeVar("T")


_Begin: TypeAlias = Callable[[AbstractChannel, Arrivals[T]], Awaitable[None]]


class RabbitBroker:
    system = "rabbitmq"

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._publisher: _Opened | None = None
        self._exchanges: dict[Exchange, AbstractExchange] = {}
        self._opening = asyncio.Lock()
        self._unconfirmed = asyncio.Semaphore(UNCONFIRMED)

    async def publish(self, exchange: Exchange, message: Message) -> None:
        async with self._unconfirmed:
            await self._publishing_channel()
            try:
                await self._exchanges[exchange].publish(
                    aio_pika.Message(
                        message.body,
                        message_id=message.id,
                        content_type="application/json",
                        headers=dict(message.headers),
                        delivery_mode=_delivery_mode(exchange),
                    ),
                    message.routing_key,
                    mandatory=exchange in MANDATORY,
                    timeout=CONFIRM_SECONDS,
                )
            except PublishError:
                raise Unroutable(f"No queue is bound to {exchange} for {message.routing_key!r}.") from None
            except DeliveryError as refused:
                raise BrokerUnavailable(f"RabbitMQ refused the message: {refused}.") from refused
            except _GONE as gone:
                raise BrokerUnavailable(f"RabbitMQ did not confirm: {gone!r}.") from gone

    async def publish_all(self, exchange: Exchange, messages: Sequence[Message]) -> None:
        _, channel = await self._publishing_channel()
        try:
            page = Page(await channel.get_underlay_channel(), CONFIRM_SECONDS)
        except _GONE as gone:
            raise BrokerUnavailable(f"RabbitMQ is not reachable: {gone!r}.") from gone
        persistent = _delivery_mode(exchange) is aio_pika.DeliveryMode.PERSISTENT
        await page.publish(exchange, messages, mandatory=exchange in MANDATORY, persistent=persistent)

    async def declare_tasks(self, name: str) -> None:
        try:
            async with self._admin_channel() as channel:
                await _declare_named(channel, Exchange.TASKS, name)
        except BrokerUnavailable as gone:
            if isinstance(gone.__cause__, ChannelPreconditionFailed):
                raise Conflict(f"The queue {task_queue(name)} was made with other arguments: {gone}") from None
            raise

    @asynccontextmanager
    async def consume(self, queue: str, *, prefetch: int) -> AsyncIterator[AsyncIterator[Delivery]]:
        async def begin(channel: AbstractChannel, arrived: Arrivals[Delivery]) -> None:
            await channel.set_qos(prefetch)
            source = await channel.get_queue(queue, ensure=False)
            arrived.clear()  # what a lost connection had delivered comes again

            async def deliver(incoming: AbstractIncomingMessage) -> None:
                arrived.put(RabbitDelivery(incoming))

            await source.consume(deliver)

        async with self._keep_open("consume", begin, Arrivals[Delivery](None)) as arrived:
            yield arrived

    @asynccontextmanager
    async def take(self, name: str, *, exchange: Exchange = Exchange.TASKS) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Between two deliveries nothing is subscribed: a message that waits here, unsettled and behind a long task,
        would be nobody's, and RabbitMQ would close the channel after half an hour of it."""
        async with contextlib.aclosing(self._take_for_ever(exchange, name)) as deliveries:
            yield deliveries

    async def _take_for_ever(self, exchange: Exchange, name: str) -> AsyncGenerator[Delivery, None]:
        pause = _RETRY_FIRST_SECONDS
        while True:
            with contextlib.suppress(BrokerUnavailable, *_GONE):
                connection, channel = await self._open("take")
                try:
                    lost = asyncio.Event()
                    channel.close_callbacks.add(lambda *_, lost=lost: lost.set())
                    await channel.set_qos(1)
                    source = await _declare_named(channel, exchange, name)
                    while (incoming := await _next(source, lost)) is not None:
                        pause = _RETRY_FIRST_SECONDS
                        yield RabbitDelivery(incoming)
                finally:
                    await _close(connection)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _RETRY_LONGEST_SECONDS)

    @asynccontextmanager
    async def subscribe(self, exchange: Exchange, *, limit: int) -> AsyncIterator[AsyncIterator[Message]]:
        async def begin(channel: AbstractChannel, arrived: Arrivals[Message]) -> None:
            private = await channel.declare_queue(
                exclusive=True, arguments={"x-max-length": limit, "x-overflow": "drop-head"}
            )
            await private.bind(exchange, routing_key="#")

            async def deliver(incoming: AbstractIncomingMessage) -> None:
                arrived.put(_message(incoming))

            await private.consume(deliver, no_ack=True)

        async with self._keep_open("subscribe", begin, Arrivals[Message](limit)) as arrived:
            yield arrived

    async def depth(self, queue: str) -> int:
        try:
            async with self._admin_channel() as channel:
                declared = await channel.declare_queue(queue, passive=True)
                return declared.declaration_result.message_count or 0
        except BrokerUnavailable as gone:
            if isinstance(gone.__cause__, ChannelNotFoundEntity):
                return 0
            raise

    async def purge(self, queue: str) -> int:
        async with self._admin_channel() as channel:
            purged = await (await channel.get_queue(queue, ensure=False)).purge()
            return purged.message_count or 0

    async def ping(self) -> None:
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self.depth(Queue.INTAKE)
        except TimeoutError:
            raise BrokerUnavailable("RabbitMQ does not answer.") from None

    async def close(self) -> None:
        if self._publisher is not None:
            await _close(self._publisher[0])

    async def _publishing_channel(self) -> _Opened:
        """The connection for publishing, opened if there is none. Its channel confirms, and raises what returns."""
        if self._publisher is None or self._publisher[1].is_closed:
            async with self._opening:
                if self._publisher is None or self._publisher[1].is_closed:
                    await self.close()
                    self._publisher = None
                    self._publisher = _, channel = await self._open("publish")
                    self._exchanges = {
                        exchange: await channel.get_exchange(exchange, ensure=False) for exchange in Exchange
                    }
        return self._publisher

    @asynccontextmanager
    async def _admin_channel(self) -> AsyncIterator[AbstractChannel]:
        try:
            async with (await self._publishing_channel())[0].channel() as channel:
                yield channel
        except _GONE as gone:
            raise BrokerUnavailable(f"RabbitMQ does not answer: {gone!r}.") from gone

    async def _open(self, purpose: str) -> _Opened:
        """A new connection with a confirming channel, and the topology declared."""
        connection = aio_pika.Connection(
            make_url(self._url), client_properties={"connection_name": f"millrace-{self._name}-{purpose}"}
        )
        try:
            await connection.connect(timeout=CONNECT_SECONDS)
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            await _declare_topology(channel)
        except BaseException as failed:
            await _close(connection)
            if isinstance(failed, _GONE):
                raise BrokerUnavailable(f"RabbitMQ is not reachable: {failed!r}.") from failed
            raise
        return connection, channel

    @asynccontextmanager
    async def _keep_open(self, purpose: str, begin: _Begin[T], arrived: Arrivals[T]) -> AsyncIterator[Arrivals[T]]:
        """Begin reading on a connection of its own, and again on a new one whenever it is lost."""
        keeping = asyncio.create_task(self._read_for_ever(purpose, begin, arrived), name=f"rabbitmq:{purpose}")
        try:
            yield arrived
        finally:
            await end(keeping)

    async def _read_for_ever(self, purpose: str, begin: _Begin[T], arrived: Arrivals[T]) -> None:
        pause = _RETRY_FIRST_SECONDS
        while True:
            with contextlib.suppress(BrokerUnavailable, *_GONE):
                connection, channel = await self._open(purpose)
                try:
                    lost = asyncio.Event()
                    channel.close_callbacks.add(lambda *_, lost=lost: lost.set())
                    await begin(channel, arrived)
                    pause = _RETRY_FIRST_SECONDS
                    await lost.wait()
                finally:
                    await _close(connection)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, _RETRY_LONGEST_SECONDS)


async def _close(connection: AbstractConnection) -> None:
    """aio-pika ends by itself what is not closed when it is forgotten, whether a loop runs by then or not; and what was
    lost only counts as closed when it is told so a second time."""
    for _ in range(2):
        with contextlib.suppress(*_GONE):
            await connection.close()


class RabbitDelivery:
    def __init__(self, incoming: AbstractIncomingMessage) -> None:
        self._incoming = incoming
        self.message = _message(incoming)
        self.redelivered = bool(incoming.redelivered)

    async def ack(self) -> None:
        with contextlib.suppress(*_GONE):  # the connection is lost: RabbitMQ delivers it again
            await self._incoming.ack()

    async def reject(self) -> None:
        with contextlib.suppress(*_GONE):
            await self._incoming.reject(requeue=True)


def _message(incoming: AbstractIncomingMessage) -> Message:
    headers = {name: str(value) for name, value in incoming.headers.items() if not name.startswith("x-")}
    return Message(incoming.message_id or "", incoming.body, incoming.routing_key or "", headers)


def _delivery_mode(exchange: Exchange) -> aio_pika.DeliveryMode:
    """Feeds live in memory: who misses one reads the log."""
    transient = exchange is Exchange.FEED
    return aio_pika.DeliveryMode.NOT_PERSISTENT if transient else aio_pika.DeliveryMode.PERSISTENT


async def _next(source: AbstractQueue, lost: asyncio.Event) -> AbstractIncomingMessage | None:
    """One message. None if the channel is lost before."""
    waiting_there = await source.get(fail=False)
    if waiting_there is not None:
        return waiting_there  # a subscription would cost three times as much
    arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    tag = await source.consume(arrived.put)
    waiting = [asyncio.ensure_future(arrived.get()), asyncio.ensure_future(lost.wait())]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if lost.is_set():
            return None
        await source.cancel(tag)  # before the message is settled: else the next one would follow it
        return waiting[0].result()  # type: ignore[return-value]  # the first of the two
    finally:
        await end(*waiting)


async def _declare_named(channel: AbstractChannel, exchange: Exchange, name: str) -> AbstractQueue:
    queue = await channel.declare_queue(named_queue(exchange, name), durable=True, arguments=_DURABLE_ARGUMENTS)
    await queue.bind(exchange, routing_key=name)
    return queue


async def _declare_topology(channel: AbstractChannel) -> None:
    for exchange, kind in _KINDS.items():
        await channel.declare_exchange(exchange, kind, durable=True)
    for exchange, name in QUEUE_OF.items():
        queue = await channel.declare_queue(name, durable=True, arguments=_DURABLE_ARGUMENTS)
        await queue.bind(exchange, routing_key="#")
