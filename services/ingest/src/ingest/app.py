"""Wires ingest from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from events.delivery.outbox import Outbox
from events.lifecycle import Parts, Service, loops, ticking
from events.web.web import new_app
from ingest.allocator import keep_freed_buffers
from ingest.files.completing import FilesCompleting
from ingest.files.completion import FileCompletion
from ingest.files.files import Files
from ingest.files.lock import RENEW_SECONDS as RENEW_LOCKS_SECONDS
from ingest.files.lock import FileLocks
from ingest.files.sweeps import FileSweeps
from ingest.files.writing import FileWriting
from ingest.loose_blobs import LooseBlobs
from ingest.quota import RENEW_SECONDS, Quota
from ingest.retention import Retention
from ingest.routes import router
from ingest.settings import IngestSettings
from ingest.tus.middleware import TusMiddleware
from ingest.tus.routes import tus_router
from ingest.uploads import Uploads

_SWEEP_BLOBS_SECONDS = 60.0
_SWEEP_ORPHANS_SECONDS = 600.0  # each is a listing of the store
_PARTIAL_SECONDS = 60.0  # how old a partial must be before a sweep asks whether anybody writes it


@asynccontextmanager
async def open_service(settings: IngestSettings, parts: Parts) -> AsyncIterator[Service]:
    keep_freed_buffers()
    outbox = Outbox(parts, schema="ingest", retry_seconds=settings.outbox_retry_seconds)
    loose = LooseBlobs(parts, older_than=settings.loose_blob_seconds)

    quota = Quota(parts.pool, settings)
    uploads = Uploads(parts, outbox, loose, quota)
    locks = FileLocks(parts.pool, grace=settings.shutdown_grace)
    writing = FileWriting(parts.pool, parts.blobs, expires=settings.file_expires_seconds)
    completion = FileCompletion(parts, uploads, writing, quota, outbox)
    completing = FilesCompleting(parts, locks, completion)
    files = Files(parts, uploads, locks, writing, completion, completing, quota, outbox, settings)

    async def sweep_blobs() -> bool:
        removed = await parts.blobs.sweep(older_than=_PARTIAL_SECONDS)
        if removed:
            parts.telemetry.log.info("partial uploads removed", count=removed)
        return await loose.sweep()

    async with loops(parts.telemetry) as running:
        running.start("outbox.sweep", lambda: ticking(outbox.sweep, every=settings.outbox_sweep_seconds))
        running.start("blobs.sweep", lambda: ticking(sweep_blobs, every=_SWEEP_BLOBS_SECONDS))
        if quota.is_set:
            running.start("quota.renew", lambda: ticking(quota.renew, every=RENEW_SECONDS))
        app = new_app(parts, title="Millrace ingest", running=running)
        sweeps = FileSweeps(parts, completing, completion)
        running.start("files.sweep", lambda: ticking(sweeps.sweep, every=settings.file_sweep_seconds))
        running.start("files.orphans", lambda: ticking(sweeps.remove_orphans, every=_SWEEP_ORPHANS_SECONDS))
        running.start("files.renew", lambda: ticking(locks.renew, every=RENEW_LOCKS_SECONDS))
        retention = Retention(parts, outbox, uploads, settings)
        running.start("uploads.retention", lambda: ticking(retention.sweep, every=settings.retention_sweep_seconds))
        app.add_routes(router(uploads, parts.blobs, settings))
        app.add_routes(tus_router(files, uploads, settings))
        app.add_middleware(TusMiddleware)
        yield Service("ingest", app, drain=locks.drain)
        await completing.close()
        await outbox.close()
