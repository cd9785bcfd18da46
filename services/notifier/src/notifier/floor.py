"""What all connections of one notifier share, and the beat that keeps them honest."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from events.goodbyes import spread
from events.lifecycle import Parts
from events.metrics import LONG_SECONDS
from notifier.dialects import Dialect
from notifier.frames import CloseCode
from notifier.session import Following
from notifier.settings import NotifierSettings

_DIALECTS = ("progress", "centrifugo", "sse")

_LAST_SECONDS = 2.0  # for the last ones to hang up

# Connections looked at between two looks at everything else that the loop has to do.
_SLICE = 200


class Guest(Protocol):
    """An open connection, as far as the floor needs it."""

    def check(self, now: float, wall: float) -> None:
        """Called about once a second, with the loop's time and the wall clock's."""

    def close(self, code: CloseCode, reason: str) -> None: ...


class Floor:
    def __init__(
        self, parts: Parts, settings: NotifierSettings, following: Following, dialects: Sequence[Dialect]
    ) -> None:
        self.signer = parts.signer
        self.telemetry = parts.telemetry
        self.log = parts.telemetry.log
        self.settings = settings
        self.following = following
        self.dialects = dialects
        self._open: dict[Guest, float] = {}  # and since when
        self._empty = asyncio.Event()
        self.draining = False
        telemetry = parts.telemetry
        self._connections = telemetry.gauge("millrace_notifier_connections", "Open WebSockets and streams.")
        telemetry.gauge("millrace_notifier_connections_max", "How many there may be.").set(settings.max_connections)
        self._opened = telemetry.counter(
            "millrace_notifier_connections_opened_total",
            "WebSockets and streams that were opened.",
            {"dialect": _DIALECTS},
        )
        self._ended = telemetry.counter(
            "millrace_notifier_connections_ended_total",
            "Those that ended, by our close code, `client` if it closed, `lost` if nobody said anything.",
            {"why": ["client", "lost", "stalled", "failed"]},
        )
        self._seconds = telemetry.histogram(
            "millrace_notifier_connection_duration_seconds", "How long they were open.", buckets=LONG_SECONDS
        )
        self.refused = telemetry.counter(
            "millrace_notifier_handshakes_refused_total", "Upgrades refused, by status.", ["status"]
        )

    @property
    def full(self) -> bool:
        return len(self._open) >= self.settings.max_connections

    def opened(self, connection: Guest, dialect: str) -> None:
        self._open[connection] = asyncio.get_running_loop().time()
        self._opened.labels(dialect).inc()
        self._connections.set(len(self._open))
        if self.draining:  # it was let in before, and the others have been told already
            asyncio.get_running_loop().call_soon(self._tell, connection, _say_goodbye)

    def ended(self, connection: Guest, why: str) -> None:
        since = self._open.pop(connection, None)
        if since is not None:
            self._seconds.observe(asyncio.get_running_loop().time() - since)
        self._connections.set(len(self._open))
        self._ended.labels(why).inc()
        if self.draining and not self._open:
            self._empty.set()

    async def beat(self) -> bool:
        """Ping who is due; close who has expired, is gone, or does not read."""
        now, wall = asyncio.get_running_loop().time(), time.time()
        await self._tell_all(lambda guest: guest.check(now, wall))
        return False

    async def drain(self) -> None:
        """Let nobody in any more, and send everybody away."""
        self.draining = True
        if not self._open:
            return
        goodbyes = [partial(self._tell, connection, _say_goodbye) for connection in self._open]
        seconds = spread(goodbyes, within=self.settings.drain_seconds)
        try:
            async with asyncio.timeout(seconds + _LAST_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            self.log.warning("sockets did not hang up", count=len(self._open))

    async def clear(self, reason: str) -> None:
        """Send everybody away: they come again, with the cursor of what they have."""
        await self._tell_all(lambda guest: guest.close(CloseCode.INTERNAL_ERROR, reason))

    async def _tell_all(self, tell: Callable[[Guest], None]) -> None:
        for number, guest in enumerate(tuple(self._open), 1):
            self._tell(guest, tell)
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    def _tell(self, guest: Guest, tell: Callable[[Guest], None]) -> None:
        if guest not in self._open:
            return  # it has left meanwhile
        try:
            tell(guest)
        except Exception as error:  # whatever is wrong with one, all others are told
            self.log.error("connection failed", exc_info=error)


def _say_goodbye(guest: Guest) -> None:
    guest.close(CloseCode.SERVICE_RESTART, "The service restarts. Connect again.")
