"""Wires the notifier from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from events.errors import Unavailable, WrongEpoch
from events.lifecycle import Parts, Service, loops, passes, ticking
from events.log.log import EventLog
from events.web.openapi import DescribedRoutes
from events.web.web import new_app
from notifier.connection import Connection
from notifier.dialects.centrifugo.dialect import CentrifugoDialect
from notifier.dialects.centrifugo.reading import Reading
from notifier.dialects.centrifugo.refreshing import open_refreshing
from notifier.dialects.progress import ProgressDialect
from notifier.dialects.sse.routes import sse_routes
from notifier.dialects.sse.server import HttpProtocol
from notifier.feed import Feed
from notifier.floor import Floor
from notifier.handshake import UpgradeRequired
from notifier.history import History
from notifier.hub import Hub
from notifier.presence import BEAT_SECONDS, SWEEP_SECONDS, Presence
from notifier.session import Following
from notifier.settings import NotifierSettings

_BEAT_SECONDS = 1.0


@asynccontextmanager
async def open_service(settings: NotifierSettings, parts: Parts) -> AsyncIterator[Service]:
    log = EventLog(parts.pool)
    hub = Hub(parts.telemetry)
    history = History(log, reads=settings.catch_up_reads)
    following = Following(hub, history, parts.telemetry)
    presence = Presence(parts.pool)
    feed = Feed(parts, log, hub, settings)

    async def tell() -> None:
        try:
            await feed.run()
        except WrongEpoch as replaced:
            # Everybody comes again, and hears whether his cursor still means something.
            hub.end()
            await floor.clear("The event log is another one now. Connect again.")
            raise Unavailable("The event log was replaced: we begin anew.") from replaced
        except Exception as error:
            if not passes(error):
                # Nobody will be told anything here any more, and nobody may wait for it in silence.
                hub.end()
                await floor.clear("The event log cannot be followed. Connect again.")
            raise

    def connection(*, server_state: Any, **_: Any) -> Connection:
        """What uvicorn calls for each upgrade."""
        return Connection(floor, server_state.connections)

    async with (
        open_refreshing(settings.gateway_url) as refreshing,
        presence.leaving(),
        loops(parts.telemetry) as running,
    ):
        dialects = (
            ProgressDialect(hub, log, max_subscriptions=settings.max_subscriptions),
            CentrifugoDialect(Reading(hub, log, history), presence, refreshing, settings),
        )
        floor = Floor(parts, settings, following, dialects)
        running.start("feed", tell)
        running.start("beat", lambda: ticking(floor.beat, every=min(_BEAT_SECONDS, settings.ping_seconds / 2)))
        running.start("presence", lambda: ticking(presence.beat, every=BEAT_SECONDS, wake=presence.changed))
        running.start("presence sweep", lambda: ticking(presence.sweep, every=SWEEP_SECONDS))
        app = new_app(parts, title="Millrace notifier", running=running, draining=lambda: floor.draining)
        app.add_routes(_plain_requests())
        app.add_routes(sse_routes(floor, hub, log))
        yield Service("notifier", app, http_protocol=HttpProtocol, websocket_protocol=connection, drain=floor.drain)


def _plain_requests() -> DescribedRoutes:
    """Says to a plain request how these paths are meant."""
    routes = DescribedRoutes()

    @routes.get("/ws", include_in_schema=False)
    @routes.get("/ws/{job_id}", include_in_schema=False)
    @routes.get("/api/v1/ws", include_in_schema=False)
    @routes.get("/api/v1/ws/{job_id}", include_in_schema=False)
    @routes.get("/connection/websocket", include_in_schema=False)
    @routes.get("/api/v1/connection/websocket", include_in_schema=False)
    async def upgrade_required() -> None:
        raise UpgradeRequired("Open this path as a WebSocket.", headers={"Upgrade": "websocket"})

    return routes
