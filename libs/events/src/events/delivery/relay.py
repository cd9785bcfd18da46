"""A named reader of the log that publishes it to the broker, and moves its checkpoint only past what is confirmed.

Of several processors one relays. What is published may come twice after a takeover: readers of the feed discard ranges
that they have seen, readers of `millrace.events` go by id and version.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from time import perf_counter
from uuid import UUID

from opentelemetry.trace import Span, SpanKind

from events.broker.broker import Broker, Exchange, Message
from events.database import Pool
from events.delivery.message_spans import SEND, about
from events.envelope import RecordedEvent, encode_batch, encode_event
from events.errors import PartlyConfirmed
from events.log.checkpoints import Checkpoint, Checkpoints
from events.log.doorbell import Doorbell
from events.log.reader import LogReader
from events.metrics.metrics import BATCH
from events.telemetry import Telemetry
from events.traces.tracing import carried

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
        try:
            await self._publish(batch, checkpoint.epoch)
        except PartlyConfirmed as partly:
            # What repeats begins behind these: else a queue that takes a few at a time would hold us here for ever.
            await self._save(checkpoint, batch[: partly.confirmed])
            raise
        await self._save(checkpoint, batch)
        self._seconds.observe(perf_counter() - began)
        self._sizes.observe(len(batch))

    async def _save(self, checkpoint: Checkpoint, confirmed: Sequence[RecordedEvent]) -> None:
        if confirmed:
            await self._checkpoints.save(checkpoint, confirmed[-1].position)
            self._relayed.inc(len(confirmed))
            self._position.set(confirmed[-1].position)


def to_feed(broker: Broker, telemetry: Telemetry) -> Publish:
    """Whole batches with their range: what notifiers read."""

    async def publish(batch: Sequence[RecordedEvent], epoch: UUID) -> None:
        first, last = batch[0].position, batch[-1].position
        headers = {"epoch": str(epoch), "first": str(first), "last": str(last)}
        message = Message(f"{first}-{last}", encode_batch(list(batch)))
        with _sending(batch, Exchange.FEED, broker, telemetry, message) as span:
            await broker.publish(Exchange.FEED, replace(message, headers=headers | carried(span)))

    return publish


def to_events(broker: Broker, telemetry: Telemetry) -> Publish:
    """One message an event, keyed `<tenant>.<category>.<verb>`: what internal services bind to."""

    async def publish(batch: Sequence[RecordedEvent], epoch: UUID) -> None:
        with _sending(batch, Exchange.EVENTS, broker, telemetry):
            await broker.publish_all(Exchange.EVENTS, [event_message(event, epoch) for event in batch])

    return publish


def _sending(
    batch: Sequence[RecordedEvent],
    exchange: Exchange,
    broker: Broker,
    telemetry: Telemetry,
    message: Message | None = None,
) -> AbstractContextManager[Span]:
    """One span for the whole batch, in the traces of what caused its events."""
    return telemetry.tracing.batch(
        f"send {exchange}",
        (event.traceparent for event in batch),
        kind=SpanKind.PRODUCER,
        attributes=about(SEND, exchange, broker.system, message, count=len(batch)),
    )


def event_message(event: RecordedEvent, epoch: UUID) -> Message:
    """The event as whoever binds to `millrace.events` gets it."""
    headers = {"epoch": str(epoch)}
    if event.traceparent:
        headers["traceparent"] = event.traceparent
    return Message(str(event.id), encode_event(event), event_key(event), headers)


def event_key(event: RecordedEvent) -> str:
    return f"{event.tenant}.{event.type}"
