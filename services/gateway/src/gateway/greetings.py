"""WebSockets that are open before it is known whose they are: what their clients say first must tell it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from events.errors import InternalError, MillraceError, QuotaExceeded, Unavailable
from events.identity import PrincipalSigner
from events.ids import new_id
from events.telemetry import Telemetry
from events.web.web import as_millrace_error
from gateway import centrifugo
from gateway.auth.credentials import Identity
from gateway.centrifugo import Close, Connect, WrongCommand
from gateway.limits.admission import Admission
from gateway.settings import GatewaySettings
from gateway.sockets.socket import RESTARTS, Socket, signed_for_socket
from gateway.sockets.sockets import Sockets, TooManySockets
from gateway.upstreams import Route
from gateway.wire.client_connection import ClientConnection
from gateway.wire.frames import masked_text_frame
from gateway.wire.goodbye import switched
from gateway.wire.greeting import Greeting, Outcome
from gateway.wire.heads import RequestHead
from gateway.wire.opening import Opening
from gateway.wire.pool import Pool
from gateway.wire.repeatable import Turns
from gateway.wire.requests import Request
from gateway.wire.tunnel import join
from gateway.wire.upstream_connection import UpstreamConnection

# Such a greeting costs whoever came as much as a wrong credential.
_IN_VAIN = frozenset({Outcome.LEFT, Outcome.STALE, Outcome.MALFORMED})
SILENT_SECONDS = 2.0  # after which one that has said nothing gives way to another, where no more may wait
_RETRY_AFTER = {"Retry-After": "5"}

Shown = Callable[[Request, str], Awaitable[Identity]]
LetIn = Callable[[Route, Request, RequestHead, Identity | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Stranger:
    """Who was greeted: what is known of a client before its first message."""

    request: Request
    route: Route
    target: bytes
    socket: UUID


class Greetings:
    def __init__(
        self,
        settings: GatewaySettings,
        limits: Admission,
        sockets: Sockets,
        signer: PrincipalSigner,
        pools: Mapping[str, Pool],
        telemetry: Telemetry,
        shown: Shown,
        let_in: LetIn,
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._sockets = sockets
        self._signer = signer
        self._pools = pools
        self._log = telemetry.log
        self._shown = shown
        self._let_in = let_in
        self._waiting: dict[Greeting, float] = {}  # since when, the oldest first
        self._from: Counter[str] = Counter()  # how many of them, by address
        self._counting: set[asyncio.Task[None]] = set()
        self._outcomes = telemetry.counter(
            "millrace_gateway_greetings_total",
            "WebSockets without a credential in their handshake, by what became of them.",
            {"outcome": [*Outcome]},
        )

    def greet(self, client: ClientConnection, request: Request, route: Route, target: bytes) -> None:
        """Accept a WebSocket whose client has yet to say who it is."""
        self._make_room(request.address)
        stranger = _Stranger(request, route, target, new_id())
        connections, transport = client.connections, client.transport
        early = client.hand_over()
        greeting = Greeting(
            transport,
            connections,
            introduced=partial(self._introduced, stranger),
            late=_late,
            stops=_stops,
            over=partial(self._over, request),
            patience=self._settings.greeting_timeout,
            longest=self._settings.greeting_bytes,
        )
        self._waiting[greeting] = asyncio.get_running_loop().time()
        self._from[request.address] += 1
        transport.set_protocol(greeting)
        transport.write(switched(request, [(b"x-socket-id", str(stranger.socket).encode())]))
        if early:
            greeting.data_received(early)

    def _make_room(self, address: str) -> None:
        settings = self._settings
        if self._from[address] >= settings.max_greetings_per_address:
            detail = "Too many WebSockets from your address have not said whose they are. Try again."
            raise TooManySockets(detail, headers=_RETRY_AFTER)
        if len(self._waiting) >= settings.max_greetings:
            # Else a few addresses that say nothing could keep everybody out.
            silent = next((each for each in self._waiting if each.is_silent), None)
            if silent is None or asyncio.get_running_loop().time() - self._waiting[silent] < SILENT_SECONDS:
                raise Unavailable("Too many WebSockets have not said whose they are. Try again.", headers=_RETRY_AFTER)
            silent.give_way()

    def _over(self, request: Request, greeting: Greeting, outcome: Outcome) -> None:
        del self._waiting[greeting]
        self._from[request.address] -= 1
        if not self._from[request.address]:
            del self._from[request.address]
        self._outcomes.labels(outcome).inc()
        if outcome in _IN_VAIN:
            task = asyncio.create_task(self._count_as_guess(request))
            self._counting.add(task)
            task.add_done_callback(self._counting.discard)

    async def _count_as_guess(self, request: Request) -> None:
        """Who does so often is not heard for a while, as who shows wrong credentials."""
        with suppress(MillraceError):
            await self._limits.failed(request)

    # An introduction

    async def _introduced(self, stranger: _Stranger, greeting: Greeting, message: bytes) -> None:
        try:
            connect = Connect.read(message)
        except WrongCommand:
            greeting.close(
                centrifugo.BAD_REQUEST, "The first command must be connect, with a token.", Outcome.MALFORMED
            )
            return
        try:
            await self._open(stranger, greeting, connect)
        except Exception as raised:
            error = as_millrace_error(raised)
            if isinstance(error, InternalError):
                self._log.error("connect failed", request_id=stranger.request.id, exc_info=True)
            self._refuse(greeting, connect, error)

    def _refuse(self, greeting: Greeting, connect: Connect, error: MillraceError) -> None:
        if self._sockets.draining:
            _stops(greeting)
            return
        answer = centrifugo.answer_to(error)
        if isinstance(answer, Close):
            greeting.close(answer.code, answer.reason, Outcome.INVALID_TOKEN)
        else:
            outcome = Outcome.TOKEN_EXPIRED if answer is centrifugo.TOKEN_EXPIRED else Outcome.REFUSED
            greeting.reply(answer.encode(connect.id), outcome)

    async def _open(self, stranger: _Stranger, greeting: Greeting, connect: Connect) -> None:
        request, route = stranger.request, stranger.route
        authenticated = asyncio.get_running_loop().time()
        identity = await self._shown(request, connect.token)
        await self._let_in(route, request, request.head, identity)
        socket = self._sockets.enter(stranger.socket, identity, authenticated, centrifugo.CODES)
        pool, upstream = self._pools[route.service], None
        try:
            await self._sockets.keep_terms(socket)
            upstream = await pool.acquire_new()
            wait = await self._limits.connect(request, route.limited_as(request.head.method), identity.principal)
            if wait:
                raise QuotaExceeded(f"Too many connects. Try again in {wait} s.", policies=(), retry_after=wait)
            signed = signed_for_socket(self._signer, identity.principal)
            turns = Turns(pool, upstream)
            seconds = turns.begin(self._settings.handshake_timeout)
            while True:
                opening = Opening(pool, upstream, partial(_switched, greeting, connect, pool, upstream, socket))
                try:
                    return await opening.open(request, stranger.target, signed, socket, timeout=seconds)
                except MillraceError as error:
                    if not error.retryable or not turns.left:
                        raise
                pool.release(upstream)
                upstream = None
                upstream = await turns.next()
        except BaseException:
            if upstream is not None:
                pool.release(upstream)
            socket.leave()
            raise


def _switched(
    greeting: Greeting, connect: Connect, pool: Pool, upstream: UpstreamConnection, socket: Socket, early: bytes
) -> None:
    transport, rest = greeting.hand_over()
    client, service = join(greeting.connections, transport, pool, upstream, socket)
    client.resume()  # what is written now may stop it again
    service.data_received(early)
    service.write(masked_text_frame(connect.message) + rest)
    socket.opened(service)


def _late(greeting: Greeting) -> None:
    greeting.close(centrifugo.STALE, "stale", Outcome.STALE)


def _stops(greeting: Greeting) -> None:
    greeting.close(centrifugo.SHUTDOWN, RESTARTS, Outcome.STOPPED)
