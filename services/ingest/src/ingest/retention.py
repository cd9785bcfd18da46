"""Uploads whose time is over lose their bytes, but never while a job uses them.

The log decides. First it is told that an upload has expired: from then on nobody can start a job on it. Later it is
asked, as often as need be, to hold that the upload is deleted, and the processor lets that in when no unfinished job
uses it. Only when the log holds it does the row say so, and then the bytes go: a kill in between is only a delay.
"""

from uuid import UUID

from events.database import load_queries
from events.delivery.outbox import Outbox
from events.envelope import Event, event_of, stream_name
from events.ids import derived_id
from events.lifecycle import Parts
from events.log.log import EventLog
from events.uploads import UploadDeleted, UploadExpired
from ingest.settings import IngestSettings
from ingest.uploads import Uploads

_MOST = 100  # in one sweep


class Retention:
    def __init__(self, parts: Parts, outbox: Outbox, uploads: Uploads, settings: IngestSettings) -> None:
        self._pool = parts.pool
        self._log = EventLog(parts.pool)
        self._outbox = outbox
        self._uploads = uploads
        self._default = settings.retention_seconds
        self._own = settings.retention_seconds_of
        self._every = settings.retention_sweep_seconds
        self._logger = parts.telemetry.log
        self._queries = load_queries("ingest", "retention.sql")
        self._expired = parts.telemetry.counter("millrace_uploads_expired_total", "Uploads whose time was over.")

    async def sweep(self) -> bool:
        """True if there may be more."""
        expired, looked_after = await self._expire(), await self._look_after()
        return _MOST in (expired, looked_after)

    async def _expire(self) -> int:
        if self._default is None and all(seconds is None for seconds in self._own.values()):
            return 0
        tenants, seconds = list(self._own), list(self._own.values())
        rows = await self._pool.fetch(self._queries["expirable"], self._default, tenants, seconds, _MOST)
        for row in rows:
            event = _expired(row["tenant"], row["id"])
            async with self._pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(self._queries["expire"], row["tenant"], row["id"]) is None:
                    continue
                await self._outbox.open(connection, event)
            self._outbox.publish_soon(event)
            self._expired.inc()
        return len(rows)

    async def _look_after(self) -> int:
        rows = await self._pool.fetch(self._queries["take_expired"], _MOST, self._every)
        if not rows:
            return 0
        said = [(_expired(row["tenant"], row["id"]), _deleted(row["tenant"], row["id"])) for row in rows]
        known = await self._log.known([(event.tenant, event.id) for pair in said for event in pair])
        gone = 0
        for row, (expired, deleted) in zip(rows, said, strict=True):
            if (deleted.tenant, deleted.id) in known:
                await self._uploads.delete_expired(row["tenant"], row["id"])
                gone += 1
            elif row["told_at"] is not None:
                self._outbox.publish_soon(deleted)
            elif (expired.tenant, expired.id) in known:
                # Whoever has asked for a job before this has it by the time that we ask.
                await self._pool.execute(self._queries["told"], row["tenant"], row["id"])
        if gone:
            self._logger.info("expired uploads deleted", count=gone)
        return len(rows)


def _expired(tenant: str, upload: UUID) -> Event:
    return _said(tenant, upload, UploadExpired(upload_id=upload))


def _deleted(tenant: str, upload: UUID) -> Event:
    return _said(tenant, upload, UploadDeleted(upload_id=upload, because="expired"))


def _said(tenant: str, upload: UUID, payload: UploadExpired | UploadDeleted) -> Event:
    return event_of(
        payload,
        id=derived_id(upload, payload.event_type),  # the same, however often it is said
        stream=stream_name("upload", upload),
        tenant=tenant,
        source="/millrace/ingest",
        traceparent=None,
    )
