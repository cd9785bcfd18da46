"""A file that is whole becomes an upload: one blob, one row, one durable event. It may be tried as often as need be."""

import contextlib
from uuid import UUID

from events.blobs.removing import remove_each
from events.blobs.segments import SegmentPart
from events.database import DATABASE_GONE, load_queries
from events.delivery.outbox import Outbox
from events.ids import derived_id
from events.lifecycle import Parts
from events.log.log import Connection
from ingest.files.file import File
from ingest.files.lock import FileLock, Locked
from ingest.files.writing import FileWriting
from ingest.quota import Quota, Reservation
from ingest.uploads import Upload, Uploads

_SWEEP_ROWS = 100


def job_of(file: UUID) -> UUID:
    """The job that is promised with the upload: the same, however often that is tried."""
    return derived_id(file, "job")


class FileCompletion:
    def __init__(self, parts: Parts, uploads: Uploads, writing: FileWriting, quota: Quota, outbox: Outbox) -> None:
        self._pool = parts.pool
        self._blobs = parts.blobs
        self._log = parts.telemetry.log
        self._uploads = uploads
        self._writing = writing
        self._quota = quota
        self._outbox = outbox
        self._queries = load_queries("ingest", "files/files.sql")

    async def complete(self, file: File, lock: FileLock) -> None:
        rows = await self._pool.fetch(self._queries["segments"], file.tenant, file.id)
        await self._blobs.join([SegmentPart(row["key"], row["bytes"]) for row in rows], file.blob)
        sha256 = await self._writing.sha256_of(file)
        upload = Upload(
            id=file.id,
            tenant=file.tenant,
            job_id=job_of(file.id),
            workflow=file.workflow,
            options=file.options,
            filename=file.filename,
            content_type=file.content_type,
            bytes=file.stored,
            sha256=sha256,
            blob=file.blob,
            idempotency_key=None,
        )
        async with self._pool.acquire() as connection, connection.transaction():
            fence = await connection.fetchval(self._queries["complete"], file.tenant, file.id, lock.token)
            if fence is not None:
                event = await self._uploads.record(connection, upload)
                await self._settle(connection, file)
        if fence is None:
            await self._pool.execute(self._queries["note_late_blob"], file.tenant, file.id, file.blob)
            raise Locked("Another request completes this file now.")
        assert event is not None  # it has no idempotency key that could have been used
        self._outbox.publish_soon(event)
        self._uploads.count(upload)
        with contextlib.suppress(*DATABASE_GONE):  # then the sweep does it
            await self.remove_segments(file.tenant, file.id)

    async def remove_segments(self, tenant: str | None = None, file: UUID | None = None) -> bool:
        """Those that are not needed any more, of one file or of all. True if there may be more."""
        rows = await self._pool.fetch(self._queries["loose_segments"], tenant, file, _SWEEP_ROWS)
        all_gone = await remove_each(
            self._pool,
            self._log,
            [(row["key"],) for row in rows],
            self._blobs.remove_segment,
            lock=self._queries["lock_segment"],
            forget=self._queries["forget_segment"],
        )
        return len(rows) == _SWEEP_ROWS and all_gone

    async def _settle(self, connection: Connection, file: File) -> None:
        if self._quota.is_set and not file.is_final:  # a final one's bytes are counted with its parts
            await Reservation(self._quota, file.tenant, file.id).settle(connection, file.stored, promised=True)
