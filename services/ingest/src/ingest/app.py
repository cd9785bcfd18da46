"""Wires ingest from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.lifecycle import Parts, Service, loops, ticking
from events.web import new_app
from ingest.outbox import Outbox
from ingest.routes import router
from ingest.settings import IngestSettings
from ingest.uploads import Uploads

_SWEEP_PARTIALS_SECONDS = 60.0


@asynccontextmanager
async def open_service(settings: IngestSettings, parts: Parts) -> AsyncIterator[Service]:
    outbox = Outbox(parts, settings)

    async def sweep_partials() -> bool:
        # A writer touches its partial at least once in the time that a body may pause.
        removed = await parts.blobs.sweep(older_than=4 * settings.body_idle_seconds)
        if removed:
            parts.telemetry.log.info("partial uploads removed", count=removed)
        return False

    async with loops(parts.telemetry) as running:
        running.start("outbox.sweep", lambda: ticking(outbox.sweep, every=settings.outbox_sweep_seconds))
        running.start("partials.sweep", lambda: ticking(sweep_partials, every=_SWEEP_PARTIALS_SECONDS))
        app = new_app(parts, title="Millrace ingest", running=running)
        app.include_router(router(Uploads(parts, outbox), parts.blobs, settings))
        yield Service("ingest", app)
        await outbox.close()
