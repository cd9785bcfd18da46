"""The gateway, wired."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import aiohttp

from events.delivery.outbox import Outbox
from events.errors import MillraceError, StartupError
from events.lifecycle import Parts, Service, loops, ticking
from events.web.web import new_app
from gateway.accounts import open_accounts
from gateway.auth.credentials import AdminKey, Authenticators
from gateway.auth.keys import ApiKey, parse_key
from gateway.auth.revocations import Revocations
from gateway.document.document import ApiDocument
from gateway.document.routes import document_routes
from gateway.door import Door
from gateway.health import Health
from gateway.limits.admission import Admission
from gateway.limits.limiter import Limiter
from gateway.routes import public_routes
from gateway.settings import GatewaySettings
from gateway.sockets.sockets import Sockets
from gateway.tickets.routes import ticket_routes
from gateway.tickets.streams import Streams
from gateway.tickets.tickets import Tickets
from gateway.upstreams import UPSTREAMS, Route, Routes
from gateway.versions import Versions
from gateway.wire.breaker import breakers
from gateway.wire.pool import Pool
from gateway.wire.requests import recorder

_BEAT_SECONDS = 0.25
_SWEEP_SECONDS = 10.0
_HEARING_SECONDS = 1.0  # that the start waits for the database


@asynccontextmanager
async def open_service(
    settings: GatewaySettings, parts: Parts, table: Sequence[Route] = UPSTREAMS
) -> AsyncIterator[Service]:
    urls = {
        "ingest": settings.ingest_url.split(","),
        "processor": settings.processor_url.split(","),
        "notifier": settings.notifier_url.split(","),
    }
    metrics = parts.telemetry.metrics
    breaker_of = breakers(urls, parts.telemetry)
    pools = {
        service: Pool(
            service,
            places,
            breaker_of[service],
            metrics,
            connect_timeout=settings.connect_timeout,
            most_connections=settings.upstream_connections,
        )
        for service, places in urls.items()
    }
    admin = AdminKey(_admin_key(settings), tenant=settings.admin_tenant)
    outbox = Outbox(parts, schema="gateway", retry_seconds=settings.outbox_retry_seconds)
    tickets, revocations = Tickets(parts.pool), Revocations(parts.pool)
    sockets = Sockets(parts, settings, revocations)
    streams = Streams(parts.pool, https_only=settings.https_only_seconds > 0)
    limiter = Limiter(parts.pool, parts.telemetry, timeout=settings.limits_timeout)
    async with (
        aiohttp.ClientSession() as session,
        limiter,
        aclosing(sockets),
        loops(parts.telemetry) as running,
        _hearing(revocations, sockets),
        open_accounts(settings, parts, session, revocations, outbox) as accounts,
    ):
        running.start("outbox.sweep", lambda: ticking(outbox.sweep, every=settings.outbox_sweep_seconds))
        running.start("limits.sweep", lambda: ticking(limiter.sweep, every=settings.limits_sweep_seconds))
        running.start("sockets.beat", lambda: ticking(sockets.beat, every=_BEAT_SECONDS))
        running.start("sockets.sweep", lambda: ticking(sockets.sweep, every=_SWEEP_SECONDS))
        running.start("streams.sweep", lambda: ticking(lambda: streams.sweep(sockets.ids), every=_SWEEP_SECONDS))
        running.start("tickets.sweep", lambda: ticking(tickets.sweep, every=_SWEEP_SECONDS))
        for name, (run_once, seconds) in accounts.loops.items():
            running.start(name, partial(ticking, run_once, every=seconds))
        app = new_app(
            parts, title="Millrace", running=running, draining=lambda: sockets.draining, openapi_url=None
        )  # fmt: skip
        public = public_routes(Health(session, urls))
        app.router.redirect_slashes = False
        app.add_routes(public)
        app.include_router(public, prefix="/api/v1", include_in_schema=False)
        app.add_routes(ticket_routes(tickets, sockets))
        for own in accounts.routes:
            app.add_routes(own)
        routes = Routes(table)
        document = ApiDocument(session, urls, app, routes)
        app.add_routes(document_routes(document))
        record = recorder(parts.telemetry)
        authenticator = Authenticators(admin, accounts.keys, accounts.tokens)
        limits = Admission(settings, limiter, parts.telemetry)
        versions = Versions(table, settings.deprecated_versions)
        door = Door(
            settings, routes, versions, authenticator, tickets, limits, sockets, streams, parts.signer, pools, app,
            record, parts.telemetry,
        )  # fmt: skip
        try:
            yield Service("gateway", app, http_protocol=door.connection, drain=sockets.drain)
        finally:
            for pool in pools.values():
                pool.close()
            await document.close()
            await outbox.close()


@asynccontextmanager
async def _hearing(revocations: Revocations, sockets: Sockets) -> AsyncIterator[None]:
    """Listen before anybody comes: who can't hear of revocations has to distrust every ticket."""
    with revocations.listening(sockets.ended):
        async with revocations:
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEARING_SECONDS):
                    while not revocations.trusted:
                        await asyncio.sleep(0.01)
            yield


def _admin_key(settings: GatewaySettings) -> ApiKey:
    try:
        return parse_key(settings.admin_key.get_secret_value())
    except MillraceError as wrong:
        raise StartupError(f"MILLRACE_ADMIN_KEY is not usable: {wrong.detail}") from None
