"""Who wants to hear what. The hub tells each event once, in the log's order, to everybody who has caught up."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from prometheus_client import Counter, Gauge

from events.envelope import RecordedEvent
from events.log import Head
from events.telemetry import Telemetry

# A stream's name, or ALL for whatever the tenant has.
Channel = tuple[str, str]
ALL = "*"


class Listener(Protocol):
    def hear(self, event: RecordedEvent, frame: bytes) -> None: ...


class Dialect(Protocol):
    """How an event looks to a client."""

    def frame(self, event: RecordedEvent) -> bytes | None:
        """The event as bytes for the socket, the same for every listener; None if the dialect has no words for it."""


class Hub:
    def __init__(self, dialect: Dialect, telemetry: Telemetry) -> None:
        self._dialect = dialect
        self._listeners: defaultdict[Channel, set[Listener]] = defaultdict(set)
        self.epoch: UUID | None = None
        self.position = 0  # everything up to here has been told
        self._told = Gauge(
            "millrace_notifier_position", "Everything up to here is broadcast.", registry=telemetry.registry
        )
        self._deliveries = Counter(
            "millrace_notifier_deliveries_total", "Frames given to live listeners.", registry=telemetry.registry
        )

    def begin(self, head: Head) -> None:
        """Nothing before the head is told: who wants it reads the log."""
        self.epoch, self.position = head.epoch, head.position

    def join(self, channel: Channel, listener: Listener) -> None:
        self._listeners[channel].add(listener)

    def leave(self, channel: Channel, listener: Listener) -> None:
        listeners = self._listeners[channel]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[channel]

    def broadcast(self, batch: Iterable[RecordedEvent]) -> None:
        for event in batch:
            listeners = [
                *self._listeners.get((event.tenant, event.subject), ()),
                *self._listeners.get((event.tenant, ALL), ()),
            ]
            if listeners and (frame := self._dialect.frame(event)) is not None:
                for listener in listeners:
                    listener.hear(event, frame)
                self._deliveries.inc(len(listeners))
            self.position = event.position
        self._told.set(self.position)
