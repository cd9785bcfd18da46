"""A named reader of the log that publishes it to the broker, and moves its checkpoint only past what is confirmed.

Of several processors one relays. What is published may come twice after a takeover: readers of the feed discard ranges
that they have seen, readers of `millrace.events` go by id and version.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from uuid import UUID

from events.broker import Broker, Exchange, Message
from events.checkpoints import Checkpoint, Checkpoints
from events.database import Pool
from events.doorbell import Doorbell
from events.envelope import RecordedEvent, encode_batch, encode_event
from events.metrics import BATCH
from events.reader import LogReader
from events.telemetry import Telemetry

Publish = Callable[[Sequence[RecordedEvent], UUID], Awaitable[None]]


class Relay:
    def __init__(self, name: str, pool: Pool, doorbell: Doorbell, publish: Publish, telemetry: Telemetry) -> None:
        self._name = f"relay.{name}"
        self._checkpoints = Checkpoints(pool)
        self._reader = LogReader(self._name, pool, doorbell, self._acquire, self._relay)
        self._publish = publish
        ours = {"relay": [name]}
        self._relayed = telemetry.counter(
            "millrace_relay_events_total", "Events published and confirmed.", ours
        ).labels(name)
        self._sizes = telemetry.histogram(
            "millrace_relay_batch_events", "How many events went out in one batch.", ours, buckets=BATCH
        ).labels(name)
        self._seconds = telemetry.histogram(
            "millrace_relay_batch_duration_seconds", "From a batch to its saved checkpoint.", ours
        ).labels(name)
        self._position = telemetry.gauge(
            "millrace_relay_position", "Everything up to here was confirmed.", ours
        ).labels(name)

    async def run(self) -> None:
        """Relay whenever it is our turn, until cancelled."""
        await self._reader.run()

    async def _acquire(self) -> Checkpoint:
        return await self._checkpoints.acquire(self._name)

    async def _relay(self, batch: Sequence[RecordedEvent], checkpoint: Checkpoint) -> None:
        began = perf_counter()
        await self._publish(batch, checkpoint.epoch)
        await self._checkpoints.save(checkpoint, batch[-1].position)
        self._seconds.observe(perf_counter() - began)
        self._sizes.observe(len(batch))
        self._relayed.inc(len(batch))
        self._position.set(batch[-1].position)


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
        await asyncio.gather(*(broker.publish(Exchange.EVENTS, event_message(event, epoch)) for event in batch))

    return publish


def event_message(event: RecordedEvent, epoch: UUID) -> Message:
    """The event as whoever binds to `millrace.events` gets it."""
    headers = {"epoch": str(epoch)}
    if event.traceparent:
        headers["traceparent"] = event.traceparent
    return Message(str(event.id), encode_event(event), event_key(event), headers)


def event_key(event: RecordedEvent) -> str:
    return f"{event.tenant}.{event.type}"
