"""Brings the log to the hub: by the broker's feed while it flows, from the log itself wherever it has a hole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from uuid import UUID

import msgspec
from opentelemetry.trace import Span, SpanKind

from events.broker.broker import Exchange, Message
from events.delivery.message_spans import PROCESS, about
from events.envelope import RecordedEvent, decode_batch, utc_now
from events.errors import LogHole, WrongEpoch
from events.lifecycle import Parts
from events.log.log import EventLog, Head
from notifier.hub import Hub
from notifier.settings import NotifierSettings
from notifier.turn import Turn

_PAGE = 500


class Feed:
    """Positions have no hole, so the hub's own position says what of a batch is new, and what is missing before it."""

    def __init__(self, parts: Parts, log: EventLog, hub: Hub, settings: NotifierSettings) -> None:
        self._broker = parts.broker
        self._log = log
        self._hub = hub
        self._settings = settings
        self._logger = parts.telemetry.log
        self._tracing = parts.telemetry.tracing
        metrics = parts.telemetry.metrics
        self._repaired = metrics.counter(
            "millrace_notifier_feed_repaired_events_total",
            "Events read from the log because the feed did not bring them.",
        )
        self._lag = metrics.gauge("millrace_notifier_lag_events", "Events in the log that are not told yet.")
        self._lag_seconds = metrics.gauge("millrace_notifier_lag_seconds", "The age of the oldest of these.")
        metrics.survey("lag", self._survey)

    async def run(self) -> None:
        """Broadcast every event once and in order, until cancelled."""
        async with self._broker.subscribe(Exchange.FEED, limit=self._settings.feed_batches) as messages:
            if not self._hub.begun:
                self._hub.begin(await self._log.head())
            await self._read_up_to_head()
            turn = Turn()
            while True:
                message = await _next(messages, self._settings.feed_poll_seconds)
                if message is None:
                    await self._read_up_to_head()
                else:
                    await self.take(message)
                if turn.over:
                    await turn.pass_on()

    async def take(self, message: Message) -> None:
        """Broadcast what is new in a batch, and before it what the feed has left out."""
        try:
            epoch = UUID(message.headers["epoch"])
            first, last = int(message.headers["first"]), int(message.headers["last"])
            batch = decode_batch(message.body) if last > self._hub.position else []
        except (KeyError, ValueError, RecursionError, msgspec.MsgspecError) as malformed:
            self._logger.warning("feed message not understood", message_id=message.id, error=repr(malformed))
            await self._read_up_to_head()
            return
        if epoch != self._hub.epoch:
            # Either it is of a log that was replaced, or we are: the log knows.
            await self._read_up_to_head()
            return
        if first > self._hub.position + 1:
            await self._read_up_to(first - 1)
        fresh = [event for event in batch if event.position > self._hub.position]
        if self._continues(fresh, last):
            with self._processing(message, len(fresh)):
                await self._hub.broadcast(fresh)
        elif last > self._hub.position:
            await self._read_up_to(last)

    def _processing(self, message: Message, count: int) -> AbstractContextManager[Span]:
        """Only for a batch with something in it whose trace is collected: the relay says so."""
        return self._tracing.batch(
            f"process {Exchange.FEED}",
            (message.headers.get("traceparent"),),
            kind=SpanKind.CONSUMER,
            attributes=about(PROCESS, Exchange.FEED, self._broker.system, message, count=count),
        )

    async def _read_up_to_head(self) -> None:
        head = await self._log.head()
        self._check(head)
        await self._read_up_to(head.position)

    def _check(self, head: Head) -> None:
        if head.epoch != self._hub.epoch or head.position < self._hub.position:
            known = Head(self._hub.epoch, self._hub.position)
            raise WrongEpoch(f"The log ends at {head} now; it was at {known}.")

    async def _read_up_to(self, position: int) -> None:
        while (begin := self._hub.position) < position:
            page = await self._log.read(begin, min(_PAGE, position - begin))
            if not page or not self._continues(page, page[-1].position):
                raise LogHole(f"The log has a hole after position {begin}.")
            await self._hub.broadcast(page)
            self._repaired.inc(len(page))

    def _continues(self, batch: list[RecordedEvent], last: int) -> bool:
        """Whether the batch begins where the hub is, and has each position up to `last`."""
        positions = [event.position for event in batch]
        return bool(batch) and positions == list(range(self._hub.position + 1, last + 1))

    async def _survey(self) -> None:
        """How far we are behind; of a log that is not ours any more, there is no saying, and that is seen."""
        head = await self._log.head()
        self._hub.check(head.epoch)
        told = self._hub.position
        untold = await self._log.read(told, 1) if head.position > told else []
        self._lag.set(max(0, head.position - told))
        self._lag_seconds.set(max(0.0, (utc_now() - untold[0].time).total_seconds()) if untold else 0.0)


async def _next(messages: AsyncIterator[Message], seconds: float) -> Message | None:
    """None if none comes for so long."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(messages)
    except TimeoutError:
        return None
