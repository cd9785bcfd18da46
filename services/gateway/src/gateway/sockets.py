"""The WebSockets that are open through this replica: how many there may be, and when they end.

A socket lives by its credential: it is closed when that expires or is revoked, and says so. Nothing secret is kept.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Protocol
from uuid import UUID

from events.database import load_queries
from events.errors import MillraceError, NotFound, Unauthenticated, Unavailable
from events.goodbyes import spread
from events.identity import Principal, PrincipalSigner
from events.lifecycle import Parts
from events.metrics import LONG_SECONDS
from gateway.auth.claims import TokenExpired
from gateway.auth.credentials import Identity
from gateway.auth.revocations import EVERYTHING, Revocations
from gateway.settings import GatewaySettings

RESTARTS = "The service restarts. Connect again."
OUT_OF_HEARING = "Revocations were out of hearing. Connect again."

_MISSED_SECONDS = 5.0  # within which those are closed whose revocation we may have missed
_LAST_SECONDS = 4.0  # for the last ones to hang up
# What ended is remembered for longer than a ticket is good for and a handshake may take.
_MEMORY_SECONDS = 120.0
_RETRY_AFTER = {"Retry-After": "5"}

_SOCKET = "socket:"  # announced like a revocation: the socket's terms have changed


class TooManySockets(MillraceError):
    code, status, title, retryable = "too_many_sockets", 429, "Too many open WebSockets and streams", True


class NotHeard(Unauthenticated):
    """The credential may be good."""

    retryable = True


@dataclass(frozen=True, slots=True)
class Codes:
    """What a socket is closed with, in its protocol's own numbers."""

    revoked: int
    expired: int
    restarts: int


# 4401 is ours (RFC 6455, section 7.4.2): what would be a 401.
CODES = Codes(revoked=4401, expired=4401, restarts=1012)


class Tunnel(Protocol):
    def hang_up(self, code: int, reason: str) -> None:
        """Close both ends; the client hears the code and the reason."""
        ...


@dataclass(slots=True, eq=False)
class Socket:
    """A place among the open sockets, from before the handshake until both ends are gone."""

    id: UUID
    identity: Identity
    left: Callable[["Socket"], None] = field(repr=False)
    expires_at: int | None
    codes: Codes
    tunnel: Tunnel | None = None  # None until the service has agreed
    ending: tuple[int, str] | None = None
    since: float = field(default_factory=perf_counter, repr=False)

    def opened(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        if self.ending is not None:
            tunnel.hang_up(*self.ending)

    def end(self, code: int, reason: str) -> None:
        if self.ending is None:
            self.ending = code, reason
            if self.tunnel is not None:
                self.tunnel.hang_up(code, reason)

    def restart(self) -> None:
        self.end(self.codes.restarts, RESTARTS)

    def leave(self) -> None:
        self.left(self)


class Sockets:
    def __init__(self, parts: Parts, settings: GatewaySettings, revocations: Revocations) -> None:
        self._pool = parts.pool
        self._log = parts.telemetry.log
        self._revocations = revocations
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._queries = load_queries("gateway", "tickets/queries.sql")
        self._open: dict[UUID, Socket] = {}
        self._of: dict[tuple[str, ...], set[Socket]] = {}  # by tenant, subject, and what ends them
        self._ended: dict[str, float] = {}  # when we heard of it, by our loop's clock
        self._missed_before = self._loop.time()  # what ended before this, we may not have heard of
        self._closed: list[UUID] = []  # whose terms are to be forgotten
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

    def check_open(self) -> None:
        """Raise if nobody is let in any more."""
        if self.draining:
            raise Unavailable("This replica is stopping. Connect again.", headers={"Retry-After": "1"})

    def check(self, identity: Identity, authenticated: float) -> None:
        """Raise if it is over. `authenticated`: the loop's time when the identity was known to be good."""
        if self._was_revoked(identity, authenticated):
            raise Unauthenticated("The credential has been revoked.")
        if self._was_out_of_hearing(identity, authenticated):
            raise NotHeard(
                "Whether the credential has been revoked meanwhile is not known here. Make a new ticket, or try again."
            )
        expires_at = identity.principal.expires_at
        if expires_at is not None and expires_at <= time.time():
            raise TokenExpired("The credential has expired.")

    def enter(self, socket_id: UUID, identity: Identity, authenticated: float, codes: Codes = CODES) -> Socket:
        """Take a place, before the handshake: from now on what ends the identity ends the socket."""
        self.check_open()
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
        return socket

    async def keep_terms(self, socket: Socket) -> None:
        """Let what expires be refreshed through any replica."""
        principal = socket.identity.principal
        if principal.expires_at is not None:
            await self._pool.execute(self._queries["keep_socket"], socket.id, *_terms(socket.identity))

    def _was_revoked(self, identity: Identity, since: float) -> bool:
        return any(self._ended.get(name, since) > since for name in identity.ended_by)

    def _was_out_of_hearing(self, identity: Identity, since: float) -> bool:
        return bool(identity.ended_by) and since < self._missed_before

    # Staying

    async def refresh(self, socket_id: UUID, identity: Identity) -> None:
        """Let a socket live by this credential from now on, whichever replica holds it."""
        tenant, subject, scopes, expires_at, ended_by = _terms(identity)
        async with self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetchval(
                self._queries["refresh_socket"], socket_id, tenant, subject, scopes, expires_at, ended_by
            )
            if found is None:
                raise NotFound(
                    "You have no such open WebSocket that could expire, or this credential may do less than the one "
                    "that opened it."
                )
            await connection.execute(self._queries["refresh_stream"], socket_id, expires_at, ended_by)
            await self._revocations.announce(connection, f"{_SOCKET}{socket_id}")

    async def _read_terms(self, socket: Socket) -> None:
        asked = self._loop.time()  # not later: what is revoked while the answer comes counts
        row = await self._pool.fetchrow(self._queries["socket_terms"], socket.id)
        if row is None or socket.id not in self._open:
            return
        self._unindex(socket)
        socket.identity = Identity(socket.identity.principal, frozenset(row["ended_by"]))
        socket.expires_at = row["expires_at"]
        self._index(socket)
        if self._was_revoked(socket.identity, asked - row["age"]):
            self._revoked(socket)
        elif self._was_out_of_hearing(socket.identity, asked - row["age"]):
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
        elif name.startswith(_SOCKET):
            self._terms_changed(name.removeprefix(_SOCKET))
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
        """Forget the terms of what has closed."""
        closed, self._closed = self._closed, []
        over = [socket_id for socket_id in closed if socket_id not in self._open]
        await self._pool.execute(self._queries["forget_sockets"], over)
        return False

    async def drain(self) -> None:
        """Let nobody in any more, and send everybody away."""
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
        if socket.identity.principal.expires_at is not None:
            self._closed.append(socket.id)
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


def signed_for_socket(signer: PrincipalSigner, principal: Principal) -> str:
    """Without an expiry: the gateway ends a socket, and when its credential expires it may have been refreshed."""
    return signer.sign(replace(principal, expires_at=None))


def _tenant(identity: Identity) -> tuple[str, ...]:
    return "tenant", identity.principal.tenant


def _subject(identity: Identity) -> tuple[str, ...]:
    return "subject", identity.principal.tenant, identity.principal.subject


def _keys(identity: Identity) -> list[tuple[str, ...]]:
    return [_tenant(identity), _subject(identity), *(("ended_by", name) for name in identity.ended_by)]


def _terms(identity: Identity) -> tuple[str, str, list[str], int | None, list[str]]:
    principal = identity.principal
    return (
        principal.tenant,
        principal.subject,
        sorted(principal.scopes),
        principal.expires_at,
        sorted(identity.ended_by),
    )
