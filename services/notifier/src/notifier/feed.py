"""Brings the log to the hub: by the broker's feed while it flows, from the log itself wherever it has a hole."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from prometheus_client import Counter

from events.broker import Broker, Exchange, Message
from events.envelope import decode_batch
from events.errors import LogHole, WrongEpoch
from events.lifecycle import Parts
from events.log import EventLog, Head
from notifier.hub import Hub
from notifier.settings import NotifierSettings

_PAGE = 500


class Feed:
    def __init__(self, parts: Parts, hub: Hub, settings: NotifierSettings) -> None:
        self._broker: Broker = parts.broker
        self._log = EventLog(parts.pool)
        self._hub = hub
        self._settings = settings
        self._repaired = Counter(
            "millrace_notifier_feed_repaired_events_total",
            "Events read from the log because the feed did not bring them.",
            registry=parts.telemetry.registry,
        )

    async def run(self) -> None:
        """Broadcast every event once and in order, until cancelled."""
        async with self._broker.subscribe(Exchange.FEED, limit=self._settings.feed_batches) as messages:
            head = await self._log.head()
            if self._hub.epoch is None:
                self._hub.begin(head)
            await self._read_up_to(head)
            async for message in _or_silence(messages, self._settings.feed_poll_seconds):
                if message is None:
                    await self._read_up_to(await self._log.head())
                else:
                    await self._take(message)

    async def _take(self, message: Message) -> None:
        first, last = int(message.headers["first"]), int(message.headers["last"])
        if last <= self._hub.position:
            return  # a relay that took over published it again
        if UUID(message.headers["epoch"]) != self._hub.epoch:
            raise WrongEpoch(f"The feed is of the log {message.headers['epoch']}, not {self._hub.epoch}.")
        if first > self._hub.position + 1:
            await self._read_up_to(Head(UUID(message.headers["epoch"]), first - 1))
        self._hub.broadcast([event for event in decode_batch(message.body) if event.position > self._hub.position])

    async def _read_up_to(self, head: Head) -> None:
        if head.epoch != self._hub.epoch:
            raise WrongEpoch(f"The log is {head.epoch} now, not {self._hub.epoch}.")
        while self._hub.position < head.position:
            page = await self._log.read(self._hub.position, min(_PAGE, head.position - self._hub.position))
            if not page or page[0].position != self._hub.position + 1:
                raise LogHole(f"Position {self._hub.position + 1} is missing from the log.")
            self._hub.broadcast(page)
            self._repaired.inc(len(page))


async def _or_silence(messages: AsyncIterator[Message], seconds: float) -> AsyncIterator[Message | None]:
    """The messages, and a None whenever none came for so long."""
    coming: asyncio.Future[Message] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(messages))
            await asyncio.wait((coming,), timeout=seconds)
            if coming.done():
                message, coming = coming.result(), None
                yield message
            else:
                yield None
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
