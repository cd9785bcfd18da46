"""The door: which way a request goes, and whether its sender may go there."""

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp
from uvicorn.server import ServerState

from events.database import database_gone
from events.errors import Forbidden, MillraceError, NotFound
from events.identity import PrincipalSigner
from events.telemetry import Telemetry
from events.web import as_millrace_error
from gateway.auth.credentials import Authenticator, Identity, credential_of
from gateway.settings import GatewaySettings
from gateway.upstreams import OWN, Route, Routes
from gateway.wire.client_connection import ClientConnection
from gateway.wire.forward import Forward
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
        signer: PrincipalSigner,
        pools: Mapping[str, Pool],
        app: ASGIApp,
        record: Record,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._authenticator = authenticator
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
        except Exception as raised:
            if not database_gone(raised):
                self._log.error("request failed", path=request.head.path, request_id=request.id, exc_info=True)
            client.refuse(as_millrace_error(raised))

    async def _admit(self, client: ClientConnection, request: Request) -> None:
        head = request.head
        if not head.unambiguous:
            raise NotFound("There is nothing at this path.")
        route = self._routes.find(head.path)
        request.route = route.prefix or "own"
        identity = await self._identity(route, request)
        signed = self._signer.sign(identity.principal) if identity is not None else None
        if route.service == OWN:
            limit = self._settings.own_body_limit
            OwnExchange(client, request, self._app, signed, body_limit=limit, warn=self._log.error).start()
            return
        pool, target = self._pools[route.service], _target(route, request)
        if route.sockets and head.opens_websocket:
            handshake = Handshake(client, request, pool, await pool.connect(), self._log.warning)
            handshake.start(target, signed, timeout=self._settings.handshake_timeout)
        else:
            forward = Forward(client, request, pool, await pool.acquire(), self._log.warning)
            forward.start(target, signed, timeout=self._settings.upstream_timeout)

    async def _identity(self, route: Route, request: Request) -> Identity | None:
        if route.public:
            return None
        identity = await self._authenticator.authenticate(credential_of(request.head))
        request.tenant = identity.principal.tenant
        if route.scope is not None and route.scope not in identity.principal.scopes:
            raise Forbidden(f"This needs the scope {route.scope}, which your credential does not have.")
        return identity

    def connection(self, *, server_state: ServerState, **_: Any) -> ClientConnection:
        """What uvicorn calls for each connection."""
        return ClientConnection(self.admit, self._record, self._settings, server_state)


def _target(route: Route, request: Request) -> bytes:
    if route.sent_as is None:
        return request.head.target
    return route.sent_as.encode() + request.head.target[len(route.prefix) :]
