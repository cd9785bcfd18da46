"""Who follows what. The hub offers each event once, in the log's order, to everybody who follows its stream."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias
from uuid import UUID

from prometheus_client import Counter, Gauge

from events.envelope import RecordedEvent
from events.errors import Unavailable
from events.log import Head
from events.telemetry import Telemetry

# A tenant, and one of its streams or None for all of them.
Channel: TypeAlias = tuple[str, str | None]

# An event as one dialect writes it, framed for the socket; None if the dialect has no words for it.
Encode: TypeAlias = Callable[[RecordedEvent], bytes | None]

# What an event looks like, made once for all who speak the same dialect.
Frames: TypeAlias = dict[Encode, bytes | None]

# Frames between two looks at everything else that the loop has to do.
_SLICE = 1000


class Subscriber(Protocol):
    def offer(self, event: RecordedEvent, frames: Frames) -> bool:
        """Whether the event was written to the socket."""


class Hub:
    def __init__(self, telemetry: Telemetry) -> None:
        self._subscribers: dict[Channel, set[Subscriber]] = {}
        self._epoch: UUID | None = None
        self.position = 0  # everything up to here has been offered, or is being offered now
        self._told = Gauge(
            "millrace_notifier_position", "Everything up to here has been told.", registry=telemetry.registry
        )
        self._frames = Counter(
            "millrace_notifier_frames_total", "Frames written to live sockets.", registry=telemetry.registry
        )

    @property
    def epoch(self) -> UUID:
        """The log's identity. Raise `Unavailable` while it is not known."""
        if self._epoch is None:
            raise Unavailable("The notifier has not reached the log. Try again.", headers={"Retry-After": "1"})
        return self._epoch

    @property
    def begun(self) -> bool:
        return self._epoch is not None

    def begin(self, head: Head) -> None:
        """Tell what comes after the head: who wants what was before reads the log."""
        self._epoch, self.position = head.epoch, head.position

    def end(self) -> None:
        """Admit nobody any more: what the log says cannot be relied on."""
        self._epoch = None

    def join(self, channel: Channel, subscriber: Subscriber) -> None:
        """From now on the subscriber is offered whatever comes after `position`."""
        self._subscribers.setdefault(channel, set()).add(subscriber)

    def leave(self, channel: Channel, subscriber: Subscriber) -> None:
        remaining = self._subscribers.get(channel)
        if remaining is not None:
            remaining.discard(subscriber)
            if not remaining:
                del self._subscribers[channel]

    async def broadcast(self, batch: Iterable[RecordedEvent]) -> None:
        """Offer a batch to its followers. Whoever joins in the middle is offered what follows `position`."""
        offered = written = 0
        for event in batch:
            self.position = event.position
            frames: Frames = {}
            for channel in ((event.tenant, event.subject), (event.tenant, None)):
                for subscriber in tuple(self._subscribers.get(channel, ())):
                    written += subscriber.offer(event, frames)
                    offered += 1
                    if offered % _SLICE == 0:
                        await asyncio.sleep(0)
        self._told.set(self.position)
        self._frames.inc(written)
