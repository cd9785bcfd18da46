"""Wires the notifier from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.lifecycle import Parts, Service, loops
from events.web import new_app
from notifier.connection import Floor
from notifier.dialects.progress import ProgressDialect
from notifier.feed import Feed
from notifier.hub import Hub
from notifier.settings import NotifierSettings


@asynccontextmanager
async def open_service(settings: NotifierSettings, parts: Parts) -> AsyncIterator[Service]:
    dialect = ProgressDialect()
    hub = Hub(dialect, parts.telemetry)
    floor = Floor(parts, hub, dialect, settings)
    async with loops(parts.telemetry) as running:
        running.start("feed", Feed(parts, hub, settings).run)
        yield Service("notifier", new_app(parts, title="Millrace notifier", running=running), None, floor.connection)
