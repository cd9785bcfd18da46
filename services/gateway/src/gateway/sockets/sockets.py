"""The WebSockets that are open through this replica: how many there may be, and when they end.

A socket lives by its credential: it is closed when that expires or is revoked, and says so. Nothing secret is kept.
"""

import asyncio
import time
from functools import partial
from time import perf_counter
from uuid import UUID

from events.errors import MillraceError, Unauthenticated
from events.lifecycle import Parts
from events.metrics.metrics import LONG_SECONDS
from events.running.goodbyes import spread
from gateway.auth.claims import TokenExpired
from gateway.auth.credentials import Identity
from gateway.auth.revocations import EVERYTHING, Revocations
from gateway.settings import GatewaySettings
from gateway.sockets.socket import CODES, RESTARTS, Codes, Socket
from gateway.sockets.terms import CHANGED, Lease, Terms

OUT_OF_HEARING = "Revocations were out of hearing. Connect again."

_MISSED_SECONDS = 5.0  # within which those are closed whose revocation we may have missed
_LAST_SECONDS = 4.0  # for the last ones to hang up
# What ended is remembered for longer than a ticket is good for and a handshake may take.
_MEMORY_SECONDS = 120.0
_RETRY_AFTER = {"Retry-After": "5"}


class TooManySockets(MillraceError):
    code, status, title, retryable = "too_many_sockets", 429, "Too many open WebSockets and streams", True


class NotHeard(Unauthenticated):
    """The credential may be good."""

    retryable = True


class Sockets:
    def __init__(self, parts: Parts, settings: GatewaySettings, revocations: Revocations) -> None:
        self._log = parts.telemetry.log
        self._terms = Terms(parts.pool, revocations)
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._open: dict[UUID, Socket] = {}
        self._of: dict[tuple[str, ...], set[Socket]] = {}  # by tenant, subject, and what ends them
        self._ended: dict[str, float] = {}  # when we heard of it, by our loop's clock
        self._missed_before = self._loop.time()  # what ended before this, we may not have heard of
        self._closed: list[Socket] = []  # whose terms are to be forgotten
        self._forgotten = False  # whether the terms of what is open were, though they should not
        self._readings: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self.draining = False
        telemetry = parts.telemetry
        self._count = telemetry.gauge("millrace_gateway_sockets", "Open WebSockets and streams.")
        telemetry.gauge("millrace_gateway_sockets_max", "How many there may be.").set(settings.max_sockets)
        self._seconds = telemetry.histogram(
            "millrace_gateway_socket_duration_seconds",
            "How long WebSockets and streams were open.",
            buckets=LONG_SECONDS,
        )
        self._ends = telemetry.counter(
            "millrace_gateway_sockets_ended_total",
            "WebSockets and streams that the gateway ended, by code.",
            {"code": [*{str(code) for code in (CODES.revoked, CODES.restarts)}]},
        )

    @property
    def ids(self) -> list[UUID]:
        return list(self._open)

    # Coming

    def check(self, identity: Identity, authenticated: float) -> None:
        """Raise if it is over. `authenticated`: the loop's time when the identity was known to be good."""
        self.check_unrevoked(identity, authenticated)
        if self._was_out_of_hearing(identity, authenticated):
            raise NotHeard(
                "Whether the credential has been revoked meanwhile is not known here. Make a new ticket, or try again."
            )
        expires_at = identity.principal.expires_at
        if expires_at is not None and expires_at <= time.time():
            raise TokenExpired("The credential has expired.")

    def check_unrevoked(self, identity: Identity, authenticated: float) -> None:
        """As far as it was heard here."""
        if self._was_revoked(identity, authenticated):
            raise Unauthenticated("The credential has been revoked.")

    def enter(self, socket_id: UUID, identity: Identity, authenticated: float, codes: Codes = CODES) -> Socket:
        """Take a place, before the handshake: from now on what ends the identity ends the socket."""
        self.check(identity, authenticated)
        before = self._open.get(socket_id)
        if before is not None:  # a stream whose client has lost it comes again, maybe before we notice
            before.end(before.codes.restarts, "It was opened again.")
            before.leave()
        settings = self._settings
        for limit, found, whose in (
            (settings.max_sockets, len(self._open), "this replica"),
            (settings.max_sockets_per_tenant, len(self._of.get(_tenant(identity), ())), "your tenant"),
            (settings.max_sockets_per_subject, len(self._of.get(_subject(identity), ())), "you"),
        ):
            if found >= limit:
                detail = (
                    f"More than {limit} WebSockets and streams may not be open for {whose}. Close some, or try again."
                )
                raise TooManySockets(detail, headers=_RETRY_AFTER)
        socket = Socket(socket_id, identity, self._left, identity.principal.expires_at, codes)
        self._open[socket_id] = socket
        self._index(socket)
        self._count.set(len(self._open))
        if self.draining:  # on a connection that was kept: others were told already, and it is as soon as it is open
            self._end(socket, codes.restarts, RESTARTS)
        return socket

    async def keep_terms(self, socket: Socket) -> None:
        """Let what expires be refreshed through any replica."""
        if _expires(socket):
            asked = self._loop.time()  # not later: what is revoked while the answer comes counts
            lease = await self._terms.keep(socket)
            if (lease.expires_at, lease.ended_by) != (socket.expires_at, socket.identity.ended_by):
                self._live_by(socket, lease, asked)  # it was refreshed since it was looked up

    def _was_revoked(self, identity: Identity, since: float) -> bool:
        return any(self._ended.get(name, since) > since for name in identity.ended_by)

    def _was_out_of_hearing(self, identity: Identity, since: float) -> bool:
        return bool(identity.ended_by) and since < self._missed_before

    # Staying

    async def refresh(self, socket_id: UUID, identity: Identity) -> None:
        """Let a socket live by this credential from now on, whichever replica holds it."""
        await self._terms.refresh(socket_id, identity)

    async def _read_terms(self, socket: Socket) -> None:
        asked = self._loop.time()
        lease = await self._terms.read(socket.id)
        if lease is not None:
            self._live_by(socket, lease, asked)

    def _live_by(self, socket: Socket, lease: Lease, asked: float) -> None:
        if self._open.get(socket.id) is not socket:
            return
        self._unindex(socket)
        socket.identity = Identity(socket.identity.principal, lease.ended_by)
        socket.expires_at = lease.expires_at
        self._index(socket)
        if self._was_revoked(socket.identity, asked - lease.age):
            self._revoked(socket)
        elif self._was_out_of_hearing(socket.identity, asked - lease.age):
            self._not_heard(socket)

    # Going

    def ended(self, name: str) -> None:
        """What `Revocations` tells."""
        now = self._loop.time()
        if name == EVERYTHING:
            self._missed_before = now
            revocable = [socket for socket in self._open.values() if socket.identity.ended_by]
            goodbyes = [partial(self._not_heard, each) for each in revocable]
            spread(goodbyes, within=_MISSED_SECONDS)
        elif name.startswith(CHANGED):
            self._terms_changed(name.removeprefix(CHANGED))
        else:
            self._ended[name] = now
            for socket in tuple(self._of.get(("ended_by", name), ())):
                self._revoked(socket)

    async def beat(self) -> bool:
        """Close what has expired."""
        wall, long_ago = time.time(), self._loop.time() - _MEMORY_SECONDS
        for socket in tuple(self._open.values()):
            if socket.expires_at is not None and socket.expires_at <= wall:
                self._end(socket, socket.codes.expired, "credential expired")
        self._ended = {name: heard for name, heard in self._ended.items() if heard > long_ago}
        return False

    async def sweep(self) -> bool:
        """Forget the terms of what has closed, and nothing else."""
        closed, self._closed = self._closed, []
        try:
            self._forgotten |= await self._terms.hold_on()  # it says so once
            await self._terms.forget(closed)
            if self._forgotten:
                for socket in tuple(self._open.values()):
                    await self.keep_terms(socket)
                self._forgotten = False
        except BaseException:
            self._closed += closed
            raise
        return False

    async def aclose(self) -> None:
        await self._terms.aclose()

    async def drain(self) -> None:
        """Send everybody away, and whoever still comes."""
        self.draining = True
        if not self._open:
            return
        goodbyes = [partial(self._end, each, each.codes.restarts, RESTARTS) for each in self._open.values()]
        seconds = spread(goodbyes, within=self._settings.drain_seconds)
        try:
            async with asyncio.timeout(seconds + _LAST_SECONDS):
                await self._empty.wait()
        except TimeoutError:
            self._log.warning("sockets did not hang up", count=len(self._open))

    def _end(self, socket: Socket, code: int, reason: str) -> None:
        if socket.ending is None:
            self._ends.labels(code).inc()
            socket.end(code, reason)

    def _revoked(self, socket: Socket) -> None:
        self._end(socket, socket.codes.revoked, "credential revoked")

    def _not_heard(self, socket: Socket) -> None:
        self._end(socket, socket.codes.restarts, OUT_OF_HEARING)

    def _left(self, socket: Socket) -> None:
        if self._open.get(socket.id) is not socket:
            return
        del self._open[socket.id]
        self._unindex(socket)
        self._count.set(len(self._open))
        self._seconds.observe(perf_counter() - socket.since)
        if _expires(socket):
            self._closed.append(socket)
        if self.draining and not self._open:
            self._empty.set()

    def _terms_changed(self, socket_id: str) -> None:
        socket = self._open.get(UUID(socket_id))
        if socket is None:
            return

        def done(task: asyncio.Task[None]) -> None:
            self._readings.discard(task)
            if not task.cancelled() and (failed := task.exception()) is not None:
                self._log.warning("a socket's terms were not read", error=repr(failed))

        task = self._loop.create_task(self._read_terms(socket))
        self._readings.add(task)
        task.add_done_callback(done)

    def _index(self, socket: Socket) -> None:
        for key in _keys(socket.identity):
            self._of.setdefault(key, set()).add(socket)

    def _unindex(self, socket: Socket) -> None:
        for key in _keys(socket.identity):
            remaining = self._of[key]
            remaining.discard(socket)
            if not remaining:
                del self._of[key]


def _expires(socket: Socket) -> bool:
    """Whether it has terms: by the credential that it was opened with."""
    return socket.identity.principal.expires_at is not None


def _tenant(identity: Identity) -> tuple[str, ...]:
    return "tenant", identity.principal.tenant


def _subject(identity: Identity) -> tuple[str, ...]:
    return "subject", identity.principal.tenant, identity.principal.subject


def _keys(identity: Identity) -> list[tuple[str, ...]]:
    return [_tenant(identity), _subject(identity), *(("ended_by", name) for name in identity.ended_by)]
