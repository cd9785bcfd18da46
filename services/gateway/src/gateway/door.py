"""The door: which way a request goes, and whether its sender may go there."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from events.errors import Forbidden, InternalError, NotFound
from events.identity import Principal, PrincipalSigner
from events.ids import new_id
from events.telemetry import Telemetry
from events.web import as_millrace_error
from gateway.auth.credentials import Authenticator, Identity, credential_of
from gateway.auth.in_query import ticket_of, without_ticket
from gateway.authz import leased, original_request, verdict
from gateway.origins import Origins
from gateway.settings import GatewaySettings
from gateway.sockets import Sockets
from gateway.tickets.tickets import Tickets
from gateway.upstreams import AUTHZ, OWN, Route, Routes
from gateway.wire.client_connection import ClientConnection
from gateway.wire.forward import Forward
from gateway.wire.heads import RequestHead
from gateway.wire.own import OwnExchange
from gateway.wire.pool import Pool
from gateway.wire.requests import Record, Request
from gateway.wire.tunnel import Handshake


class Door:
    def __init__(
        self,
        settings: GatewaySettings,
        routes: Routes,
        authenticator: Authenticator,
        tickets: Tickets,
        sockets: Sockets,
        signer: PrincipalSigner,
        pools: Mapping[str, Pool],
        app: ASGIApp,
        record: Record,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._authenticator = authenticator
        self._tickets = tickets
        self._sockets = sockets
        self._origins = Origins(settings.allowed_origins)
        self._signer = signer
        self._pools = pools
        self._app = app
        self._record = record
        self._log = telemetry.log

    async def admit(self, client: ClientConnection, request: Request) -> None:
        """Send the request where it belongs, or refuse it."""
        try:
            await self._admit(client, request)
        except Exception as raised:
            error = as_millrace_error(raised)
            if isinstance(error, InternalError):
                self._log.error("request failed", path=request.head.path, request_id=request.id, exc_info=True)
            client.refuse(error)

    async def _admit(self, client: ClientConnection, request: Request) -> None:
        head = request.head
        if not head.unambiguous:
            raise NotFound("There is nothing at this path.")
        route = self._routes.find(head.path)
        request.route = route.prefix or "own"
        if route.service == AUTHZ:
            await self._answer_authz(client, request, route)
            return
        if route.sockets and head.opens_websocket:
            await self._open_socket(client, request, route)
            return
        identity = await self._identity(route, request)
        signed = self._signer.sign(identity.principal) if identity is not None else None
        if route.service == OWN:
            limit = self._settings.own_body_limit
            OwnExchange(client, request, self._app, signed, identity, body_limit=limit, warn=self._log.error).start()
            return
        pool = self._pools[route.service]
        forward = Forward(client, request, pool, await pool.acquire(), self._log.warning)
        forward.start(_target(route, request), signed, timeout=self._settings.upstream_timeout)

    async def _open_socket(self, client: ClientConnection, request: Request, route: Route) -> None:
        self._origins.check(request.head, request.head.header(b"host"))
        self._sockets.check_open()
        socket = self._sockets.enter(*await self._bearer(route, request, request.head))
        try:
            await self._sockets.keep_terms(socket)
            # The gateway ends it: when its credential expires, it may have been refreshed.
            principal = replace(socket.identity.principal, expires_at=None)
            pool = self._pools[route.service]
            handshake = Handshake(client, request, pool, await pool.connect(), socket, self._log.warning)
        except BaseException:
            socket.leave()
            raise
        signed, timeout = self._signer.sign(principal), self._settings.handshake_timeout
        handshake.start(_target(route, request), signed, timeout=timeout)

    async def _bearer(self, route: Route, request: Request, head: RequestHead) -> tuple[UUID, Identity, float]:
        """Who opens a WebSocket, by a ticket or a header; what the socket is called; and when that was known, in the
        loop's time."""
        ticket = ticket_of(head)
        authenticated = asyncio.get_running_loop().time()
        if ticket is None:
            identity, socket_id = await self._authenticator.authenticate(credential_of(head)), new_id()
        else:
            redeemed = await self._tickets.redeem(ticket)
            identity, socket_id = redeemed.identity, redeemed.socket
            authenticated -= redeemed.age
        request.tenant = identity.principal.tenant
        _check_scope(route, identity.principal)
        return socket_id, identity, authenticated

    async def _answer_authz(self, client: ClientConnection, request: Request, asked: Route) -> None:
        """Say whether an edge proxy may route a request itself, and what it shall pass on with it."""
        if not self._settings.authz_enabled:
            raise NotFound("There is nothing at this path.")
        original = original_request(request.head, asked.prefix)
        route = self._routes.find(original.path)
        if not original.unambiguous or route.service in (OWN, AUTHZ):
            raise Forbidden("Nothing at this path is routed past the gateway.")
        if route.public:
            client.answer(200, [], b"")
            return
        if route.sockets:
            self._origins.check(original, original.header(b"x-forwarded-host") or original.header(b"host"))
            _, identity, authenticated = await self._bearer(route, request, original)
            self._sockets.check(identity, authenticated)
            principal = leased(identity.principal, self._settings.authz_socket_seconds)
        else:
            principal = (await self._authenticated(route, request)).principal
        client.answer(200, verdict(principal, self._signer.sign(principal)), b"")

    async def _identity(self, route: Route, request: Request) -> Identity | None:
        return None if route.public else await self._authenticated(route, request)

    async def _authenticated(self, route: Route, request: Request) -> Identity:
        identity = await self._authenticator.authenticate(credential_of(request.head))
        request.tenant = identity.principal.tenant
        _check_scope(route, identity.principal)
        return identity

    def connection(self, *, server_state: ServerState, **_: Any) -> ClientConnection:
        """What uvicorn calls for each connection."""
        return ClientConnection(self.admit, self._record, self._settings, server_state)


def _check_scope(route: Route, principal: Principal) -> None:
    if route.scope is not None and route.scope not in principal.scopes:
        raise Forbidden(f"This needs the scope {route.scope}, which your credential does not have.")


def _target(route: Route, request: Request) -> bytes:
    target = without_ticket(request.head.target) if route.sockets else request.head.target
    if route.sent_as is None:
        return target
    return route.sent_as.encode() + target[len(route.prefix) :]
