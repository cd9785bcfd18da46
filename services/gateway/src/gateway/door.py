"""The door: which way a request goes, and whether its sender may go there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from events.errors import Forbidden, InternalError, NotFound, Unauthenticated
from events.identity import PrincipalSigner
from events.ids import new_id
from events.telemetry import Telemetry
from events.web.event_stream import wants_events
from events.web.web import as_millrace_error
from gateway import centrifugo
from gateway.auth.credentials import Authenticator, Identity, checked_credential, credential_of
from gateway.auth.in_query import shows_credential, ticket_of, without_ticket
from gateway.authz import leased, original_request, verdict
from gateway.greetings import Greetings
from gateway.limits.admission import Admission
from gateway.origins import Origins, asks_before_sending
from gateway.settings import GatewaySettings
from gateway.sockets.socket import CODES, signed_for_socket
from gateway.sockets.sockets import Sockets
from gateway.tickets.streams import Streams
from gateway.tickets.tickets import Tickets
from gateway.upstreams import AUTHZ, OWN, Route, Routes
from gateway.versions import Versions
from gateway.wire.client_connection import ClientConnection
from gateway.wire.events import EventForward
from gateway.wire.forward import Forward
from gateway.wire.goodbye import TRY_AGAIN_LATER, accept_and_close, can_be_accepted
from gateway.wire.headers import encode
from gateway.wire.heads import RequestHead
from gateway.wire.own import OwnExchange
from gateway.wire.pace import Pace
from gateway.wire.pool import Pool
from gateway.wire.requests import Record, Request
from gateway.wire.spans import begin_span
from gateway.wire.tunnel import Handshake

T = TypeVar("T")


class Door:
    def __init__(
        self,
        settings: GatewaySettings,
        routes: Routes,
        versions: Versions,
        authenticator: Authenticator,
        tickets: Tickets,
        limits: Admission,
        sockets: Sockets,
        streams: Streams,
        signer: PrincipalSigner,
        pools: Mapping[str, Pool],
        app: ASGIApp,
        record: Record,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._versions = versions
        self._authenticator = authenticator
        self._tickets = tickets
        self._limits = limits
        self._sockets = sockets
        self._greetings = Greetings(settings, limits, sockets, signer, pools, telemetry, self._shown, self._let_in)
        self._streams = streams
        self._origins = Origins(settings.allowed_origins)
        self._terms = _https_only(settings.https_only_seconds)
        self._signer = signer
        self._pools = pools
        self._app = app
        self._record = record
        self._pace = Pace()
        self._tracing = telemetry.tracing
        self._log = telemetry.log

    def connection(self, *, server_state: ServerState, **_: Any) -> ClientConnection:
        """What uvicorn calls for each connection."""
        return ClientConnection(
            self.admit,
            self._record,
            self._settings,
            server_state,
            stopping=lambda: self._sockets.draining,
            pace=self._pace,
        )

    async def admit(self, client: ClientConnection, request: Request) -> None:
        """Send the request where it belongs, or refuse it."""
        begin_span(self._tracing, request)
        try:
            await self._admit(client, request)
        except Exception as raised:
            error = as_millrace_error(raised)
            if isinstance(error, InternalError):
                self._log.error("request failed", path=request.head.path, request_id=request.id, exc_info=True)
            client.refuse(error)

    async def _admit(self, client: ClientConnection, request: Request) -> None:
        path = request.head.path
        request.terms = self._terms + self._origins.said_of(request.head) + self._versions.said_of(path)
        if not request.head.unambiguous:
            raise NotFound("There is nothing at this path.")
        if asks_before_sending(request.head):
            client.answer(204, self._origins.preflight(request.head), b"")
            return
        route = self._routes.find(path)
        if not route.prefix:
            self._versions.check(path)
        request.route = route.prefix or "own"
        opens_stream = route.streams and request.head.method == b"GET"
        request.wants_events = opens_stream and wants_events((request.head.header(b"accept") or b"").decode("latin-1"))
        self._limits.locate(client.peer, request)
        if route.service == AUTHZ:
            await self._answer_authz(client, request, route)
        elif route.sockets and request.head.opens_websocket:
            await self._open_socket(client, request, route)
        elif opens_stream:
            await self._open_stream(client, request, route)
        else:
            await self._forward(client, request, route)

    async def _forward(self, client: ClientConnection, request: Request, route: Route) -> None:
        identity = None if route.open_to(request.head.method) else await self._sender(request, request.head)
        counted = bool(request.limits)  # a request that begins again is counted already
        await self._let_in(route, request, request.head, identity)
        if route.sockets and identity is not None and not counted:
            await self._limits.connect(request, route.limited_as(request.head.method), identity.principal)
        signed = self._signer.sign(identity.principal) if identity is not None else None
        if route.service == OWN:
            limit = self._settings.own_body_limit
            exchange = OwnExchange(
                client,
                request,
                self._app,
                signed,
                identity,
                body_limit=limit,
                body_timeout=self._settings.body_timeout,
                warn=self._log.error,
            )
            exchange.start(_target(route, request))
            return
        pool = self._pools[route.service]
        forward = Forward(client, request, pool, await pool.acquire(), self._log.warning)
        forward.start(_target(route, request), signed, timeout=self._settings.upstream_timeout)

    async def _open_socket(self, client: ClientConnection, request: Request, route: Route) -> None:
        self._origins.check(request.head, request.head.header(b"host"))
        self._limits.tell_service(request)
        if route.centrifugo and not shows_credential(request.head) and can_be_accepted(request.head):
            self._limits.refuse_guesser(request)
            self._greetings.greet(client, request, route, _target(route, request))
            return
        socket_id, identity, authenticated = await self._bearer(request, request.head)
        await self._let_in(route, request, request.head, identity)
        codes = centrifugo.CODES if route.centrifugo else CODES
        socket = self._sockets.enter(socket_id, identity, authenticated, codes)
        pool, upstream = self._pools[route.service], None
        try:
            await self._sockets.keep_terms(socket)
            upstream = await pool.acquire_new()
            wait = await self._limits.connect(request, route.limited_as(request.head.method), identity.principal)
        except BaseException:
            if upstream is not None:
                pool.release(upstream)
            socket.leave()
            raise
        if wait:
            pool.release(upstream)
            socket.leave()
            accept_and_close(client, request, TRY_AGAIN_LATER, f"Too many connects. Try again in {wait} s.")
            return
        signed = signed_for_socket(self._signer, identity.principal)
        handshake = Handshake(client, request, pool, upstream, socket, self._log.warning)
        handshake.start(_target(route, request), signed, timeout=self._settings.handshake_timeout)

    async def _open_stream(self, client: ClientConnection, request: Request, route: Route) -> None:
        """What a socket is to a WebSocket, to a stream of events."""
        self._origins.check(request.head, request.head.header(b"host"))
        request.terms += self._origins.allows_cookies(request.head)
        ticket = ticket_of(request.head)
        if ticket is None:
            socket_id, identity, authenticated = await self._bearer(request, request.head)
        else:
            socket_id, identity, authenticated = await self._follower(request, ticket)
        await self._let_in(route, request, request.head, identity)
        socket = self._sockets.enter(socket_id, identity, authenticated)
        pool, upstream = self._pools[route.service], None
        try:
            await self._sockets.keep_terms(socket)
            upstream = await pool.acquire_new()
            await self._limits.connect(request, route.limited_as(request.head.method), identity.principal)
        except BaseException:
            if upstream is not None:
                pool.release(upstream)
            socket.leave()
            raise
        signed = signed_for_socket(self._signer, identity.principal)
        forward = EventForward(
            client,
            request,
            pool,
            upstream,
            self._log.warning,
            socket=socket,
            unread_timeout=self._settings.unread_timeout,
            silence_timeout=self._settings.upstream_timeout,
            revoked=lambda: self._streams.forget(socket_id),
        )
        forward.start(_target(route, request), signed, timeout=self._settings.handshake_timeout)

    async def _answer_authz(self, client: ClientConnection, request: Request, asked: Route) -> None:
        """Say whether an edge proxy may route a request itself, and what it shall pass on with it."""
        if not self._settings.authz_enabled:
            raise NotFound("There is nothing at this path.")
        original = original_request(request.head, asked.prefix)
        route = self._routes.find(original.path)
        if not original.unambiguous or route.service in (OWN, AUTHZ):
            raise Forbidden("Nothing at this path is routed past the gateway.")
        if route.open_to(original.method):
            client.answer(200, [], b"")
            return
        if route.sockets:
            self._origins.check(original, original.header(b"x-forwarded-host") or original.header(b"host"))
            _, identity, authenticated = await self._bearer(request, original)
            self._sockets.check(identity, authenticated)
            principal = leased(identity.principal, self._settings.authz_socket_seconds)
        else:
            identity = await self._sender(request, original)
            principal = identity.principal
        await self._let_in(route, request, original, identity)
        request.served = True  # by whom the edge proxy asks next, under the same request id
        client.answer(200, verdict(principal, self._signer.sign(principal)), b"")

    async def _sender(self, request: Request, head: RequestHead) -> Identity:
        """Who sends a request, by its headers."""

        async def authenticate() -> Identity:
            return await self._authenticator.authenticate(credential_of(head))

        return await self._unless_guessed(request, authenticate)

    async def _shown(self, request: Request, credential: str) -> Identity:
        """Who shows this behind the request, where there are no headers any more."""

        async def authenticate() -> Identity:
            return await self._authenticator.authenticate(checked_credential(credential))

        return await self._unless_guessed(request, authenticate)

    async def _bearer(self, request: Request, head: RequestHead) -> tuple[UUID, Identity, float]:
        """Who opens a WebSocket, by a ticket or a header; what the socket is called; and when that was known, in the
        loop's time."""
        authenticated = asyncio.get_running_loop().time()
        ticket = ticket_of(head)
        if ticket is None:
            socket_id, identity = new_id(), await self._sender(request, head)
        else:
            redeemed = await self._unless_guessed(request, lambda: self._tickets.redeem(ticket))
            socket_id, identity = redeemed.socket, redeemed.identity
            authenticated -= redeemed.age
        return socket_id, identity, authenticated

    async def _follower(self, request: Request, ticket: str) -> tuple[UUID, Identity, float]:
        """The same of a stream that a ticket opens, or has opened before. What is revoked has neither any more."""
        authenticated = asyncio.get_running_loop().time()  # not later: what is revoked while the answer comes counts
        opened = await self._streams.find(request.head, ticket)
        if opened is None:
            begun = await self._unless_guessed(request, lambda: self._streams.begin(request.head, ticket))
            opened, cookies = begun
            # Whatever the answer is: who is refused for now and comes again has no other credential.
            request.terms += encode(cookies)
            try:
                # It may have been made after its credential was revoked, by a replica that had not heard of that.
                self._sockets.check_unrevoked(opened.identity, authenticated - opened.age)
            except Unauthenticated:
                self._streams.forget(opened.socket)
                raise
        return opened.socket, opened.identity, authenticated

    async def _unless_guessed(self, request: Request, authenticate: Callable[[], Awaitable[T]]) -> T:
        """Count what does not authenticate, and listen to nobody who guesses."""
        self._limits.refuse_guesser(request)
        try:
            return await authenticate()
        except Unauthenticated:
            await self._limits.failed(request)
            raise

    async def _let_in(self, route: Route, request: Request, head: RequestHead, identity: Identity | None) -> None:
        """Count the request, and see whether its sender may go there."""
        principal = identity.principal if identity is not None else None
        request.tenant = principal.tenant if principal is not None else None
        limited_as = route.limited_as(head.method)
        if limited_as is not None and not request.limits:
            await self._limits.admit(request, limited_as, principal)
        if route.scope is not None and (principal is None or route.scope not in principal.scopes):
            raise Forbidden(f"This needs the scope {route.scope}, which your credential does not have.")


def _https_only(seconds: int) -> bytes:
    return b"strict-transport-security: max-age=%d\r\n" % seconds if seconds else b""


def _target(route: Route, request: Request) -> bytes:
    target = without_ticket(request.head.target) if route.sockets else request.head.target
    if route.sent_as is None:
        return target
    return route.sent_as.encode() + target[len(route.prefix) :]
