"""The gateway, wired."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp

from events.errors import MillraceError, StartupError
from events.lifecycle import Parts, Service, loops, ticking
from events.outbox import Outbox
from events.web import new_app
from gateway.accounts import open_accounts
from gateway.auth.credentials import AdminKey, Authenticators
from gateway.auth.keys import ApiKey, parse_key
from gateway.auth.revocations import Revocations
from gateway.door import Door
from gateway.health import Health
from gateway.routes import public_routes
from gateway.settings import GatewaySettings
from gateway.upstreams import UPSTREAMS, Routes
from gateway.wire.pool import Pool
from gateway.wire.requests import recorder

_TICK_SECONDS = 60.0


@asynccontextmanager
async def open_service(settings: GatewaySettings, parts: Parts) -> AsyncIterator[Service]:
    urls = {"ingest": settings.ingest_url, "processor": settings.processor_url, "notifier": settings.notifier_url}
    pools = {
        service: Pool(
            service,
            url,
            connect_timeout=settings.connect_timeout,
            most_connections=settings.upstream_connections,
        )
        for service, url in urls.items()
    }
    # The key comes with the settings and is nowhere at rest, so its hash need not outlive the process.
    admin = AdminKey(_admin_key(settings), tenant=settings.admin_tenant, pepper=os.urandom(32))
    outbox = Outbox(parts, schema="gateway", retry_seconds=settings.outbox_retry_seconds)
    async with (
        aiohttp.ClientSession() as session,
        Revocations(parts.pool) as revocations,
        open_accounts(settings, parts, session, revocations, outbox) as accounts,
        loops(parts.telemetry) as running,
    ):
        running.start("outbox.sweep", lambda: ticking(outbox.sweep, every=settings.outbox_sweep_seconds))
        for name, run_once in accounts.loops.items():
            running.start(name, partial(ticking, run_once, every=_TICK_SECONDS))
        app = new_app(parts, title="Millrace", running=running)
        public = public_routes(Health(session, urls))
        app.router.redirect_slashes = False
        app.include_router(public)
        app.include_router(public, prefix="/api/v1", include_in_schema=False)
        for routes in accounts.routes:
            app.include_router(routes)
        record = recorder(parts.telemetry)
        authenticator = Authenticators(admin, accounts.authenticator)
        door = Door(settings, Routes(UPSTREAMS), authenticator, parts.signer, pools, app, record, parts.telemetry)
        try:
            yield Service("gateway", app, http_protocol=door.connection)
        finally:
            for pool in pools.values():
                pool.close()
            await outbox.close()


def _admin_key(settings: GatewaySettings) -> ApiKey:
    try:
        return parse_key(settings.admin_key.get_secret_value())
    except MillraceError as wrong:
        raise StartupError(f"MILLRACE_ADMIN_KEY is not usable: {wrong.detail}") from None
