"""What all connections of one notifier share, and the beat that keeps them honest."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from events.errors import Unavailable
from events.lifecycle import Parts
from events.metrics.metrics import LONG_SECONDS
from events.running.goodbyes import spread
from notifier.dialects import Dialect
from notifier.frames import CloseCode
from notifier.session import Following
from notifier.settings import NotifierSettings
from notifier.turn import Turn

_DIALECTS = ("progress", "centrifugo", "sse")

_LAST_SECONDS = 2.0  # for the last ones to hang up


class Guest(Protocol):
    """An open connection, as far as the floor needs it."""

    def check(self, now: float, wall: float) -> None:
        """Called about once a second, with the loop's time and the wall clock's."""

    def close(self, code: CloseCode, reason: str) -> None: ...
    def abort(self) -> None:
        """Hang up without a word."""


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

    def check_room(self) -> None:
        """Raise `Unavailable` if nobody is let in now."""
        if self.draining:
            raise Unavailable("This notifier is stopping. Connect again.", headers={"Retry-After": "1"})
        if len(self._open) >= self.settings.max_connections:
            raise Unavailable("Too many clients are connected. Try again.", headers={"Retry-After": "5"})

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
        turn = Turn()
        for guest in tuple(self._open):
            self._tell(guest, tell)
            if turn.over:
                await turn.pass_on()

    def _tell(self, guest: Guest, tell: Callable[[Guest], None]) -> None:
        if guest not in self._open:
            return  # it has left meanwhile
        try:
            tell(guest)
        except Exception as error:  # whatever is wrong with one, all others are told
            self.log.error("connection failed", exc_info=error)
            guest.abort()


def _say_goodbye(guest: Guest) -> None:
    guest.close(CloseCode.SERVICE_RESTART, "The service restarts. Connect again.")
