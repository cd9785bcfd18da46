"""A named reader of the log that publishes it to the broker, and moves its checkpoint only past what is confirmed.

Of several processors one relays: the one that holds an advisory lock of the relay's name, which dies with its
connection. The checkpoint is fenced besides, so that a relay that lost its lock without noticing cannot move it back.
What is published may come twice after a takeover: readers of the feed discard ranges that they have seen, readers of
`millrace.events` go by id and version.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
from prometheus_client import Counter, Gauge

from events.broker import Broker, Exchange, Message
from events.checkpoints import Checkpoint, Checkpoints
from events.database import Pool, database_gone
from events.doorbell import Doorbell
from events.envelope import RecordedEvent, encode_batch, encode_event
from events.errors import Fenced
from events.follow import Follower
from events.log import EventLog
from events.tasks import end
from events.telemetry import Telemetry

LOCK_POLL_SECONDS = 1.0

Publish = Callable[[Sequence[RecordedEvent], UUID], Awaitable[None]]


class Relay:
    def __init__(self, name: str, pool: Pool, doorbell: Doorbell, publish: Publish, telemetry: Telemetry) -> None:
        self._name = f"relay.{name}"
        self._pool = pool
        self._log = EventLog(pool)
        self._checkpoints = Checkpoints(pool)
        self._doorbell = doorbell
        self._publish = publish
        self._relayed = Counter(
            f"millrace_relay_{name}_events_total", "Events published and confirmed.", registry=telemetry.registry
        )
        self._position = Gauge(
            f"millrace_relay_{name}_position", "Everything up to here is confirmed.", registry=telemetry.registry
        )

    async def run(self) -> None:
        """Relay whenever it is our turn, until cancelled."""
        while True:
            with contextlib.suppress(Fenced):
                async with self._lock() as lost:
                    checkpoint = await self._checkpoints.acquire(self._name)
                    following = asyncio.create_task(self._relay_from(checkpoint))
                    losing = asyncio.create_task(lost.wait())
                    try:
                        await asyncio.wait((following, losing), return_when=asyncio.FIRST_COMPLETED)
                        if following.done():
                            following.result()
                    finally:
                        await end(following, losing)

    async def _relay_from(self, checkpoint: Checkpoint) -> None:
        follower = Follower(self._log, after=checkpoint.position, epoch=checkpoint.epoch, doorbell=self._doorbell)
        async for batch in follower:
            await self._publish(batch, checkpoint.epoch)
            await self._checkpoints.save(checkpoint, batch[-1].position)
            self._relayed.inc(len(batch))
            self._position.set(batch[-1].position)

    @asynccontextmanager
    async def _lock(self) -> AsyncIterator[asyncio.Event]:
        """Our turn, from the moment that we hold the lock; the event says that its connection is lost."""
        async with self._pool.acquire() as connection:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
            while not await connection.fetchval(lock, self._name):
                await asyncio.sleep(LOCK_POLL_SECONDS)
            try:
                yield lost
            finally:
                try:
                    await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", self._name)
                except BaseException as error:
                    with contextlib.suppress(asyncpg.InterfaceError):  # the server closed it, so the pool has it back
                        connection.terminate()  # one that still had the lock would keep everybody waiting
                    if not database_gone(error):
                        raise


def to_feed(broker: Broker) -> Publish:
    """Whole batches with their range: what notifiers read."""

    async def publish(batch: Sequence[RecordedEvent], epoch: UUID) -> None:
        first, last = batch[0].position, batch[-1].position
        headers = {"epoch": str(epoch), "first": str(first), "last": str(last)}
        await broker.publish(Exchange.FEED, Message(f"{first}-{last}", encode_batch(list(batch)), headers=headers))

    return publish


def to_events(broker: Broker) -> Publish:
    """One message an event, keyed `<tenant>.<category>.<verb>`: what internal services bind to."""

    async def publish(batch: Sequence[RecordedEvent], epoch: UUID) -> None:
        await asyncio.gather(*(broker.publish(Exchange.EVENTS, _as_message(event, epoch)) for event in batch))

    return publish


def _as_message(event: RecordedEvent, epoch: UUID) -> Message:
    headers = {"epoch": str(epoch)}
    if event.traceparent:
        headers["traceparent"] = event.traceparent
    return Message(str(event.id), encode_event(event), f"{event.tenant}.{event.type}", headers)
