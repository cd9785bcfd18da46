"""Who follows what. The hub offers each event once, in the log's order, to everybody who follows its stream."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias
from uuid import UUID

from prometheus_client import Counter, Gauge

from events.envelope import RecordedEvent
from events.errors import Unavailable
from events.log import Head
from events.telemetry import Telemetry

# A tenant, and what of it: one of its streams, all of a category (`job:*`), or None for everything.
Channel: TypeAlias = tuple[str, str | None]


def is_stream(channel: Channel) -> bool:
    """Whether its places are versions, without a hole; else they are positions."""
    return channel[1] is not None and not channel[1].endswith(":*")


class Form(Protocol):
    """How a dialect writes events. Who follows a channel in the same form is told the same bytes."""

    def encode(self, event: RecordedEvent) -> bytes | None:
        """None if the dialect has no words for it."""

    def pack(self, written: Sequence[bytes]) -> bytes:
        """What goes over the wire for these, one after the other."""


# What an event looks like, made once for all who follow in the same form.
Written: TypeAlias = dict[Form, bytes | None]

# Frames between two looks at everything else that the loop has to do.
_SLICE = 1000


class Subscriber(Protocol):
    def offer(self, event: RecordedEvent, written: Written) -> bool:
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
        offered = told = 0
        for event in batch:
            self.position = event.position
            written: Written = {}
            for channel in _channels(event):
                for subscriber in tuple(self._subscribers.get(channel, ())):
                    told += subscriber.offer(event, written)
                    offered += 1
                    if offered % _SLICE == 0:
                        await asyncio.sleep(0)
        self._told.set(self.position)
        self._frames.inc(told)


def _channels(event: RecordedEvent) -> tuple[Channel, ...]:
    category, _, _ = event.subject.partition(":")
    return (event.tenant, event.subject), (event.tenant, f"{category}:*"), (event.tenant, None)
