"""One channel on one connection: first what the log holds after the cursor, then what comes, without a seam.

A subscription that catches up is already known to the hub. If the hub has something for it meanwhile, it only takes
note, and reads again: so it goes live with an event neither lost nor told twice. A client that reads too slowly is sent
back to reading from the log, at its own pace, and nobody else notices.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from events.envelope import RecordedEvent
from events.log import EventLog
from notifier.hub import ALL, Channel, Dialect, Hub

_PAGE = 200


class Outlet(Protocol):
    """The connection, as far as a subscription needs it."""

    def write(self, frame: bytes) -> None: ...
    def is_overfull(self) -> bool: ...
    async def drained(self) -> None: ...


class Subscription:
    def __init__(
        self, channel: Channel, cursor: int, log: EventLog, hub: Hub, dialect: Dialect, outlet: Outlet
    ) -> None:
        self._channel = channel
        self._tenant, self._stream = channel
        self.cursor = cursor  # the version of the last event told; for ALL its position
        self._log = log
        self._hub = hub
        self._dialect = dialect
        self._outlet = outlet
        self._live = False
        self._missed = False
        self._behind = asyncio.Event()

    async def run(self, retrying: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        """Follow the channel until cancelled. `retrying` repeats a read while the database is away."""
        self._hub.join(self._channel, self)
        try:
            while True:
                self._behind.clear()
                await retrying(self._catch_up)
                await self._behind.wait()
        finally:
            self._hub.leave(self._channel, self)

    def hear(self, event: RecordedEvent, frame: bytes) -> None:
        if not self._live:
            self._missed = True
        elif self._place(event) > self.cursor:
            self.cursor = self._place(event)
            self._outlet.write(frame)
            if self._outlet.is_overfull():
                self._live = False
                self._missed = True
                self._behind.set()

    async def _catch_up(self) -> None:
        while True:
            await self._outlet.drained()
            self._missed = False
            page = await self._read()
            for event in page:
                self.cursor = self._place(event)
                if (frame := self._dialect.frame(event)) is not None:
                    self._outlet.write(frame)
            if len(page) < _PAGE and not self._missed:
                self._live = True
                return

    async def _read(self) -> list[RecordedEvent]:
        if self._stream == ALL:
            return await self._log.read(self.cursor, _PAGE, tenant=self._tenant)
        return await self._log.read_stream(self._tenant, self._stream, self.cursor, _PAGE)

    def _place(self, event: RecordedEvent) -> int:
        return event.position if self._stream == ALL else event.version
