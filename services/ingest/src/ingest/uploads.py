"""An upload becomes a blob, a row and one durable event; after that it is acknowledged."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from events.blobs.blobs import Blobs
from events.body.body import Body
from events.database import Pool, load_queries
from events.delivery.outbox import Outbox
from events.envelope import Event, encode_json, event_of, stream_name
from events.errors import FieldError, Gone, IdempotencyKeyReused, InvalidInput, MillraceError, NotFound
from events.ids import derived_id, new_id
from events.lifecycle import Parts
from events.log.log import Connection, EventLog
from events.telemetry import current_traceparent
from events.uploads import UploadCompleted, UploadDeleted
from ingest.loose_blobs import LooseBlobs
from ingest.progress import Progress
from ingest.quota import Quota, Reservation

_SOURCE = "/millrace/ingest"


class EmptyUpload(InvalidInput):
    code, title = "empty_upload", "Empty upload"


class Incomplete(MillraceError):
    code, status, title, retryable = "incomplete", 409, "Not complete yet", True

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client wants done with the bytes that it sends."""

    workflow: str
    options: dict[str, Any]
    filename: str | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    id: UUID
    tenant: str
    job_id: UUID
    workflow: str
    options: dict[str, Any]
    filename: str | None
    content_type: str | None
    bytes: int
    sha256: str
    blob: str
    idempotency_key: str | None
    created_at: datetime | None = None  # by the database's clock, once it is there
    deleted_at: datetime | None = None


class Uploads:
    def __init__(self, parts: Parts, outbox: Outbox, loose: LooseBlobs, quota: Quota) -> None:
        self._pool: Pool = parts.pool
        self._blobs: Blobs = parts.blobs
        self._log = EventLog(parts.pool)
        self._outbox = outbox
        self._loose = loose
        self._quota = quota
        self._queries = load_queries("ingest", "queries.sql")
        counter, because = parts.telemetry.counter, {"because": ["asked", "expired"]}
        self._deleted = counter("millrace_uploads_deleted_total", "Uploads whose bytes were deleted.", because)
        self._deleted_bytes = counter("millrace_upload_bytes_deleted_total", "Their bytes.", because)
        self._accepted = counter("millrace_uploads_accepted_total", "Uploads that were acknowledged.")
        self._accepted_bytes = counter("millrace_upload_bytes_accepted_total", "Their bytes.")

    async def accept(self, tenant: str, wish: Wish, body: Body) -> Upload:
        """Store the bytes, then promise a job for them in one transaction: what is returned is durable."""
        id_ = new_id()
        if not self._quota.is_set or await self._is_repetition(tenant, wish):
            return await self._accept(id_, tenant, wish, body, None)
        async with self._quota.reserving(tenant, id_, body.length) as reservation:
            return await self._accept(id_, tenant, wish, body, reservation)

    async def _is_repetition(self, tenant: str, wish: Wish) -> bool:
        """What was acknowledged is acknowledged again, whatever the tenant has used up since."""
        if wish.idempotency_key is None:
            return False
        return await self._pool.fetchrow(self._queries["upload_by_key"], tenant, wish.idempotency_key) is not None

    async def _accept(self, id_: UUID, tenant: str, wish: Wish, body: Body, reservation: Reservation | None) -> Upload:
        key = f"uploads/{tenant}/{id_}"
        progress = Progress(self._outbox, tenant, id_, body.file_length)
        async with self._blobs.writing(key) as blob:
            async for chunk in body:
                if reservation is not None:
                    await reservation.cover(blob.bytes + len(chunk))
                await blob.write(chunk)
                progress.reached(blob.bytes)
            if blob.bytes == 0:
                detail = "The upload is empty. Send the file as the request's body, or as the part named `file`."
                raise EmptyUpload(detail, errors=[FieldError("body", "empty_upload", detail)])
            await self._loose.note(key)
        upload = Upload(
            id=id_,
            tenant=tenant,
            job_id=new_id(),
            workflow=wish.workflow,
            options=wish.options,
            filename=wish.filename or body.filename,
            content_type=body.content_type,
            bytes=blob.bytes,
            sha256=blob.sha256,
            blob=key,
            idempotency_key=wish.idempotency_key,
        )
        event = await self._promise(upload, reservation)
        if event is not None:
            self._outbox.publish_soon(event)
            self.count(upload)
            return upload
        await self._loose.remove(key)
        return await self._first_answer(upload)

    async def _promise(self, upload: Upload, reservation: Reservation | None) -> Event | None:
        """What is returned is durable, and still to be published; None if the tenant has used the idempotency key
        before. If this raises, the outcome is unknown, and the blob is swept unless the upload is there."""
        async with self._pool.acquire() as connection, connection.transaction():
            event = await self.record(connection, upload)
            if event is not None:
                await self._loose.give_away(connection, upload.blob)
                if reservation is not None:  # last: the tenant's other uploads wait for its row
                    await reservation.settle(connection, upload.bytes)
        return event

    async def record(self, connection: Connection, upload: Upload) -> Event | None:
        """In a transaction: the row, its outbox row and the streams that clients may ask for from now on. Nothing, if
        the tenant has used the idempotency key before."""
        inserted = await connection.fetchval(
            self._queries["insert_upload"],
            upload.tenant,
            upload.id,
            upload.job_id,
            upload.workflow,
            encode_json(upload.options).decode(),
            upload.filename,
            upload.content_type,
            upload.bytes,
            upload.sha256,
            upload.blob,
            upload.idempotency_key,
        )
        if inserted is None:
            return None
        event = _completed(upload)
        await self._outbox.open(connection, event)
        await self._log.reserve(connection, upload.tenant, stream_name("upload", upload.id))
        await self._log.reserve(connection, upload.tenant, stream_name("job", upload.job_id))
        return event

    def count(self, upload: Upload) -> None:
        """It is durable now."""
        self._accepted.inc()
        self._accepted_bytes.inc(upload.bytes)

    async def _first_answer(self, repeated: Upload) -> Upload:
        row = await self._pool.fetchrow(self._queries["upload_by_key"], repeated.tenant, repeated.idempotency_key)
        assert row is not None  # uploads are marked as deleted, never removed
        first = _upload(row)
        if _asked_for(first) != _asked_for(repeated):
            raise IdempotencyKeyReused
        return first

    async def one(self, tenant: str, id_: UUID) -> Upload:
        row = await self._pool.fetchrow(self._queries["upload"], tenant, id_)
        if row is None:
            raise await self._none(tenant, id_)
        upload = _upload(row)
        if upload.deleted_at is not None:
            raise Gone("This upload has been deleted.")
        return upload

    async def _none(self, tenant: str, id_: UUID) -> MillraceError:
        """Why there is no upload: a file's client knows its id from the start on."""
        row = await self._pool.fetchrow(self._queries["file_of_upload"], tenant, id_)
        if row is None:
            return NotFound("There is no such upload.")
        if row["ended"]:
            return Gone("This upload has been deleted, or has expired before all of it had come.")
        if row["is_whole"]:
            return Incomplete("All bytes of this upload are here, and are put together now. Ask again.")
        return Incomplete(f"This upload is not complete: it has {row['stored']} bytes until now.")

    async def page(self, tenant: str, before: UUID | None, limit: int) -> list[Upload]:
        """Newest first, those older than `before`."""
        return [_upload(row) for row in await self._pool.fetch(self._queries["uploads"], tenant, before, limit)]

    async def delete(self, tenant: str, id_: UUID) -> None:
        """As its client asks, whoever uses it."""
        event = event_of(
            UploadDeleted(upload_id=id_, because="asked"),
            id=derived_id(id_, "upload.deleted, since somebody has asked"),
            stream=stream_name("upload", id_),
            tenant=tenant,
            source=_SOURCE,
            traceparent=current_traceparent(),
        )
        if await self._take_away(tenant, id_, event):
            self._outbox.publish_soon(event)

    async def delete_expired(self, tenant: str, id_: UUID) -> None:
        """When the log holds that nobody needs it any more."""
        await self._take_away(tenant, id_, None)

    async def _take_away(self, tenant: str, id_: UUID, event: Event | None) -> bool:
        """First the row says that it is gone, and the log is told what it does not know; then its bytes go. False if it
        was deleted before."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(self._queries["delete_upload"], tenant, id_)
            if row is None:
                raise await self._none(tenant, id_)
            if row["just_now"] and event is not None:
                await self._outbox.open(connection, event)
        if row["just_now"]:
            because = "asked" if event is not None else "expired"
            self._deleted.labels(because).inc()
            self._deleted_bytes.labels(because).inc(row["bytes"])
        await self._loose.remove(row["blob"])
        return bool(row["just_now"])


def _asked_for(upload: Upload) -> tuple[object, ...]:
    """What makes two uploads the same request."""
    return upload.sha256, upload.workflow, upload.options, upload.filename


def _completed(upload: Upload) -> Event:
    return event_of(
        UploadCompleted(
            upload_id=upload.id,
            job_id=upload.job_id,
            workflow=upload.workflow,
            options=upload.options,
            filename=upload.filename,
            content_type=upload.content_type,
            bytes=upload.bytes,
            sha256=upload.sha256,
            blob=upload.blob,
        ),
        stream=stream_name("upload", upload.id),
        tenant=upload.tenant,
        source=_SOURCE,
        traceparent=current_traceparent(),
    )


_NAMES = tuple(field.name for field in fields(Upload))


def _upload(row: asyncpg.Record) -> Upload:
    return Upload(**{name: row[name] for name in _NAMES} | {"options": msgspec.json.decode(row["options"])})
