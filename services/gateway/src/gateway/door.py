"""The door: which way a request goes, and whether its sender may go there."""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from events.errors import Forbidden, InternalError, MillraceError, NotFound, Unauthenticated
from events.identity import Principal, PrincipalSigner
from events.telemetry import Telemetry
from gateway.auth.credentials import Authenticator, Identity, credential_of
from gateway.limits.admission import Admission
from gateway.settings import GatewaySettings
from gateway.upstreams import OWN, Route, Routes
from gateway.wire.client_connection import ClientConnection
from gateway.wire.forward import Forward
from gateway.wire.goodbye import TRY_AGAIN_LATER, accept_and_close
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
        limits: Admission,
        signer: PrincipalSigner,
        pools: Mapping[str, Pool],
        app: ASGIApp,
        record: Record,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._authenticator = authenticator
        self._limits = limits
        self._signer = signer
        self._pools = pools
        self._app = app
        self._record = record
        self._log = telemetry.log

    async def admit(self, client: ClientConnection, request: Request) -> None:
        """Send the request where it belongs, or refuse it."""
        try:
            await self._admit(client, request)
        except MillraceError as error:
            client.refuse(error)
        except Exception:
            self._log.error("request failed", path=request.head.path, request_id=request.id, exc_info=True)
            client.refuse(InternalError("Something went wrong on our side. The request id finds it in the logs."))

    async def _admit(self, client: ClientConnection, request: Request) -> None:
        head = request.head
        if not head.unambiguous:
            raise NotFound("There is nothing at this path.")
        route = self._routes.find(head.path)
        request.route = route.prefix or "own"
        self._limits.locate(client.peer, request)
        identity = await self._identity(route, request)
        principal = identity.principal if identity is not None else None
        limited_as = route.limited_as(head.method)
        if limited_as is not None and not request.limits:  # a request that begins again is counted already
            await self._limits.admit(request, limited_as, principal)
        _check_scope(route, principal)
        signed = self._signer.sign(principal) if principal is not None else None
        if route.service == OWN:
            limit = self._settings.own_body_limit
            OwnExchange(client, request, self._app, signed, body_limit=limit, warn=self._log.error).start()
            return
        pool, target = self._pools[route.service], _target(route, request)
        if route.sockets and head.opens_websocket:
            upstream = await pool.connect()  # first: a connect that reaches nobody is not counted
            try:
                wait = await self._limits.connect(request, limited_as, principal)
            except BaseException:
                pool.release(upstream)
                raise
            if wait:
                pool.release(upstream)
                accept_and_close(client, request, TRY_AGAIN_LATER, f"Too many connects. Try again in {wait} s.")
                return
            handshake = Handshake(client, request, pool, upstream, self._log.warning)
            handshake.start(target, signed, timeout=self._settings.handshake_timeout)
        else:
            forward = Forward(client, request, pool, await pool.acquire(), self._log.warning)
            forward.start(target, signed, timeout=self._settings.upstream_timeout)

    async def _identity(self, route: Route, request: Request) -> Identity | None:
        if route.public:
            return None
        self._limits.refuse_guesser(request)
        try:
            identity = await self._authenticator.authenticate(credential_of(request.head))
        except Unauthenticated:
            await self._limits.failed(request)
            raise
        request.tenant = identity.principal.tenant
        return identity

    def connection(self, *, server_state: ServerState, **_: Any) -> ClientConnection:
        """What uvicorn calls for each connection."""
        return ClientConnection(self.admit, self._record, self._settings, server_state)


def _check_scope(route: Route, principal: Principal | None) -> None:
    if route.scope is not None and (principal is None or route.scope not in principal.scopes):
        raise Forbidden(f"This needs the scope {route.scope}, which your credential does not have.")


def _target(route: Route, request: Request) -> bytes:
    if route.sent_as is None:
        return request.head.target
    return route.sent_as.encode() + request.head.target[len(route.prefix) :]
