"""Wires the notifier from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter

from events.errors import LogHole, WrongEpoch
from events.lifecycle import Parts, Service, loops, ticking
from events.log import EventLog
from events.web import new_app
from notifier.connection import Connection
from notifier.dialects.progress import ProgressDialect
from notifier.dialects.sse.routes import sse_routes
from notifier.dialects.sse.server import HttpProtocol
from notifier.feed import Feed
from notifier.floor import Floor
from notifier.handshake import UpgradeRequired
from notifier.history import History
from notifier.hub import Hub
from notifier.session import Following
from notifier.settings import NotifierSettings

_BEAT_SECONDS = 1.0


@asynccontextmanager
async def open_service(settings: NotifierSettings, parts: Parts) -> AsyncIterator[Service]:
    log = EventLog(parts.pool)
    hub = Hub(parts.telemetry)
    dialects = (ProgressDialect(hub, log, max_subscriptions=settings.max_subscriptions),)
    following = Following(hub, History(log, reads=settings.catch_up_reads), parts.telemetry)
    floor = Floor(parts, settings, following, dialects)
    feed = Feed(parts, log, hub, settings)

    async def tell() -> None:
        try:
            await feed.run()
        except (LogHole, WrongEpoch):
            # Nothing that we could still say is certain: nobody may wait here in silence.
            hub.end()
            await floor.clear("The event log cannot be followed. Connect again.")
            raise

    def connection(*, server_state: Any, **_: Any) -> Connection:
        """What uvicorn calls for each upgrade."""
        return Connection(floor, server_state.connections)

    async with loops(parts.telemetry) as running:
        running.start("feed", tell)
        running.start("beat", lambda: ticking(floor.beat, every=min(_BEAT_SECONDS, settings.ping_seconds / 2)))
        app = new_app(parts, title="Millrace notifier", running=running, draining=lambda: floor.draining)
        app.include_router(_plain_requests())
        app.include_router(sse_routes(floor, hub, log))
        yield Service("notifier", app, http_protocol=HttpProtocol, websocket_protocol=connection, drain=floor.drain)


def _plain_requests() -> APIRouter:
    """Says to a plain request how these paths are meant."""
    routes = APIRouter()

    @routes.get("/ws", include_in_schema=False)
    @routes.get("/ws/{job_id}", include_in_schema=False)
    @routes.get("/api/v1/ws", include_in_schema=False)
    @routes.get("/api/v1/ws/{job_id}", include_in_schema=False)
    async def upgrade_required() -> None:
        raise UpgradeRequired("Open this path as a WebSocket.", headers={"Upgrade": "websocket"})

    return routes
