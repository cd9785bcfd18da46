"""For services that want to know what happens: `async with subscribe("*.job.completed", "billing", handler, …):`

A group reads the log by position, in order, and keeps its place in the log's database: nothing is lost with a queue,
and any position can be read again. The database rings when there is something new. Of several processes of a group one
reads; when it dies, another goes on within a second or two. RabbitMQ only carries dead letters: while it is away,
everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Protocol, TypeAlias, TypeVar
from uuid import UUID

import msgspec

from events.broker.broker import Broker, Exchange, Message, named_queue
from events.broker.by_url import open_broker
from events.broker.patterns import matcher
from events.catalog import Payload
from events.database import Pool, open_pool
from events.delivery.parking import Parking, Retry
from events.delivery.relay import event_key, event_message
from events.envelope import RecordedEvent, decode_recorded
from events.errors import Fenced, InvalidInput
from events.lifecycle import lasting
from events.log.checkpoints import Checkpoint
from events.log.doorbell import Doorbell
from events.log.log import Connection
from events.log.reader import LogReader
from events.log.subscriptions import SUBSCRIBER, Subscription
from events.running.tasks import end
from events.telemetry import Telemetry, standard_log

_GROUP = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Of a handler without transactions, this much is done again after a crash.
_SAVE_SECONDS = 0.1
_CONNECTIONS = 6

P = TypeVar("P", bound=Payload)


class _Settle(Protocol):
    """Notes that an event is done, in a transaction if one is given."""

    async def __call__(self, *, connection: Connection | None = None) -> None: ...


class Received:
    """An event in a handler's hands."""

    def __init__(self, event: RecordedEvent, pool: Pool, settle: _Settle) -> None:
        self.event = event
        self.settled = False  # it is done, and that is committed
        self._pool = pool
        self._settle = settle

    def payload(self, kind: type[P]) -> P:
        """What the event says. Raise `InvalidInput` if it says that otherwise: no retry helps."""
        try:
            return kind.model_validate_json(bytes(self.event.data))
        except ValueError as wrong:
            raise InvalidInput(f"This is no {kind.event_type} as we know it: {wrong}.") from None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """What is written here is written exactly once: the event is done in the same commit. Whatever the handler does
        after that is not tried again."""
        if self.settled:
            raise RuntimeError("An event has one transaction, and it is committed.")
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                yield connection
                await self._settle(connection=connection)
            self.settled = True


Handler: TypeAlias = Callable[[Received], Awaitable[None]]


@asynccontextmanager
async def subscribe(
    pattern: str,
    group: str,
    handler: Handler,
    *,
    database_url: str,
    broker_url: str,
    after: int | None = 0,
    retry: Retry | None = None,
) -> AsyncIterator[None]:
    """Hand every event of the log whose `<tenant>.<category>.<verb>` fits the pattern to the handler, one by one and in
    order, until the block ends. `after` is where a group begins that there was not before: a position, or None for now.

    If the log is another one by now, or has a hole, the block is cancelled, and `WrongEpoch` or `LogHole` raised."""
    name = f"{SUBSCRIBER}.{group}"
    telemetry = Telemetry(name, standard_log(name))
    async with AsyncExitStack() as parts:
        parts.callback(telemetry.close)
        pool = await parts.enter_async_context(open_pool(database_url, name=telemetry.service, size=_CONNECTIONS))
        broker = await parts.enter_async_context(open_broker(broker_url, name=telemetry.service))
        await parts.enter_async_context(
            subscribed(pattern, group, handler, pool, broker, telemetry, after=after, retry=retry)
        )
        yield


@asynccontextmanager
async def subscribed(
    pattern: str,
    group: str,
    handler: Handler,
    pool: Pool,
    broker: Broker,
    telemetry: Telemetry,
    *,
    after: int | None = 0,
    retry: Retry | None = None,
) -> AsyncIterator[None]:
    """The same on a pool and a broker that are open already."""
    subscriber = _Subscriber(pattern, group, handler, pool, broker, telemetry, retry)
    async with Doorbell(pool) as doorbell:
        await lasting(partial(subscriber.begin, after), telemetry.log)
        try:
            async with asyncio.TaskGroup() as tasks:
                loops = [
                    tasks.create_task(lasting(loop, telemetry.log))
                    for loop in (partial(subscriber.read, doorbell), subscriber.try_again)
                ]
                try:
                    yield
                finally:
                    await end(*loops)
        except BaseExceptionGroup as group_of_one:
            raise group_of_one.exceptions[0] from None


async def replay(group: str, after: int, *, database_url: str) -> None:
    """Hand everything after a position to the group again; whoever reads for it now begins there within a second."""
    async with open_pool(database_url, name="replay", size=1) as pool:
        await Subscription(pool, group).replay(after)


class _Subscriber:
    def __init__(
        self,
        pattern: str,
        group: str,
        handler: Handler,
        pool: Pool,
        broker: Broker,
        telemetry: Telemetry,
        retry: Retry | None,
    ) -> None:
        if _GROUP.fullmatch(group) is None:
            raise InvalidInput(f"{group!r:.80} is not a group's name: it must look like billing.")
        self._is_wanted = matcher(pattern)
        self._group = group
        self._handler = handler
        self._pool = pool
        self._broker = broker
        self._logger = telemetry.log.bind(group=group)
        self._subscription = Subscription(pool, group)
        self._parking = Parking(broker, named_queue(Exchange.SUBSCRIBERS, group), telemetry, retry)

    async def begin(self, after: int | None) -> None:
        await self._subscription.begin(after)

    async def read(self, doorbell: Doorbell) -> None:
        """Whenever it is our turn, until cancelled."""
        name = f"{SUBSCRIBER}.{self._group}"
        await LogReader(name, self._pool, doorbell, self._subscription.acquire, self._take).run()

    async def try_again(self) -> None:
        """The dead letters that an operator replays, until cancelled."""
        async with self._broker.take(self._group, exchange=Exchange.SUBSCRIBERS) as deliveries:
            async for delivery in deliveries:
                await self._handle_parked(delivery.message)
                await delivery.ack()

    async def _take(self, batch: Sequence[RecordedEvent], checkpoint: Checkpoint) -> None:
        clock = asyncio.get_running_loop()
        saved, saved_at = checkpoint.position, clock.time()
        for event in batch:
            at = event.position
            if self._is_wanted(event_key(event)):
                save = partial(self._subscription.save, checkpoint, at)
                received = await self._handle(event, event_message(event, checkpoint.epoch), save)
                if received is None:
                    await self._subscription.park(checkpoint, at)
                if received is None or received.settled:
                    saved, saved_at = at, clock.time()
                elif clock.time() - saved_at > _SAVE_SECONDS:
                    await save()
                    saved, saved_at = at, clock.time()
        if saved < batch[-1].position:
            await self._subscription.save(checkpoint, batch[-1].position)

    async def _handle_parked(self, message: Message) -> None:
        """What is no event of ours was not parked by us. What was handled already has come twice."""
        try:
            event, epoch = decode_recorded(message.body), UUID(message.headers["epoch"])
        except (msgspec.MsgspecError, KeyError, ValueError) as wrong:
            self._logger.error("dead letter not understood", message_id=message.id, error=repr(wrong))
            return
        with contextlib.suppress(Fenced):
            if await self._subscription.is_parked(epoch, event.position):
                unpark = partial(self._subscription.unpark, event.position)
                received = await self._handle(event, event_message(event, epoch), unpark)
                if received is not None and not received.settled:
                    await unpark()

    async def _handle(self, event: RecordedEvent, message: Message, settle: _Settle) -> Received | None:
        """What the handler has had; None if it could not handle it, and the event is a dead letter."""
        attempts: list[Received] = []

        async def attempt() -> None:
            attempts.append(received := Received(event, self._pool, settle))
            try:
                await self._handler(received)
            except Exception:
                if not received.settled:
                    raise
                self._logger.error("handler failed after its transaction", event_id=str(event.id), exc_info=True)

        return attempts[-1] if await self._parking.handle(message, attempt) else None
