"""Files on their way by the tus protocol: made, continued, ended."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from uuid import UUID

import asyncpg

from events.body.fields import wrong_header
from events.database import load_queries
from events.delivery.outbox import Outbox
from events.envelope import encode_json, stream_name
from events.errors import Conflict, FieldError, Forbidden, IdempotencyKeyReused, MillraceError, NotFound, TooLarge
from events.ids import derived_id, new_id
from events.lifecycle import Parts
from events.log.log import Connection, EventLog
from ingest.files.checksum import Checksum
from ingest.files.completing import FilesCompleting
from ingest.files.completion import FileCompletion
from ingest.files.file import File, FileWish, file_of
from ingest.files.lock import FileLock, FileLocks, Locked
from ingest.files.parts import in_order
from ingest.files.writing import FileWriting
from ingest.progress import ProgressOfFiles
from ingest.quota import Quota, Reservation
from ingest.settings import IngestSettings
from ingest.uploads import EmptyUpload, Uploads

# A reservation outlives its file, whose end settles it.
_LONGER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that continues a file."""

    offset: int  # where it says that its body belongs
    length: int | None  # of the file, if it says that now
    checksum: Checksum | None
    body_length: int | None  # if it says that
    body: Callable[[int, TooLarge], AsyncIterator[bytes]]  # at most so many bytes; what is raised with the next


class Files:
    def __init__(
        self,
        parts: Parts,
        uploads: Uploads,
        locks: FileLocks,
        writing: FileWriting,
        completion: FileCompletion,
        completing: FilesCompleting,
        quota: Quota,
        outbox: Outbox,
        settings: IngestSettings,
    ) -> None:
        self._pool = parts.pool
        self._log = EventLog(parts.pool)
        self._uploads = uploads
        self._locks = locks
        self._writing = writing
        self._completion = completion
        self._completing = completing
        self._quota = quota
        self._progress = ProgressOfFiles(outbox)
        self._settings = settings
        self._queries = load_queries("ingest", "files/files.sql")

    async def create(self, tenant: str, wish: FileWish) -> File:
        """Its stream is reserved with it, so that a client may follow it from the start."""
        self._check_length(wish.length, is_part=wish.is_part)
        if (known := await self._known(tenant, wish)) is not None:
            return await self.settled(tenant, known)
        id_ = new_id()
        async with self._pool.acquire() as connection, connection.transaction():
            row = await self._insert(connection, tenant, id_, wish, stored=0)
            if row is None:  # another request with this key was faster
                raise Conflict("Another request with this Idempotency-Key is under way. Try again.")
            if self._quota.is_set and wish.length:
                await self._quota.reserve(
                    id_, tenant, least=wish.length, most=wish.length, lasts=self._reserved_for, connection=connection
                )
        return file_of(row)

    async def create_of_parts(self, tenant: str, wish: FileWish) -> File:
        """Parts are used once, and by whoever asks again for the same file of them: it has the same id."""
        if (known := await self._known(tenant, wish)) is not None:
            return await self.settled(tenant, known)
        id_ = derived_id(wish.parts[0], f"{wish.parts} {wish.metadata}")
        if await self._pool.fetchrow(self._queries["file"], tenant, id_) is not None:
            return await self.settled(tenant, id_)
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(self._queries["parts"], tenant, wish.parts)
            parts = in_order(wish.parts, [file_of(row) for row in rows], into=id_)
            ends = list(accumulate(part.stored for part in parts))
            self._check_length(ends[-1], is_part=False)
            if await self._insert(connection, tenant, id_, replace(wish, length=ends[-1]), stored=ends[-1]) is not None:
                await connection.execute(self._queries["take_parts"], tenant, id_, wish.parts, [0, *ends[:-1]])
        return await self.settled(tenant, await self._known(tenant, wish) or id_)

    async def _known(self, tenant: str, wish: FileWish) -> UUID | None:
        """The file that was made under the same key before."""
        if wish.idempotency_key is None:
            return None
        row = await self._pool.fetchrow(self._queries["file_by_key"], tenant, wish.idempotency_key)
        if row is not None and row["asked"] != wish.asked:
            raise IdempotencyKeyReused
        return None if row is None else row["id"]

    async def one(self, tenant: str, id_: UUID) -> File:
        row = await self._pool.fetchrow(self._queries["file"], tenant, id_)
        if row is None:
            raise NotFound("There is no such file.")
        file = file_of(row)
        file.check_there()
        return file

    async def settled(self, tenant: str, id_: UUID) -> File:
        """As it stays: whoever sends bytes of it is stopped, and one that is whole is an upload, or soon will be."""
        file = await self.one(tenant, id_)
        if file.holder is not None and not file.is_whole:
            async with self._locks.holding(tenant, id_) as (file, _):
                pass
        return await self._completed(file)

    async def append(self, tenant: str, id_: UUID, arrival: Arrival) -> File:
        file = await self.one(tenant, id_)
        if file.is_final:
            raise Forbidden("This file is made of others. Nothing can be appended to it.")
        if file.is_to_complete:  # whoever is at that keeps the lock
            _check_offset(file, arrival)
            file = await self._completed(file)
            if file.is_to_complete and arrival.body_length == 0:
                return file
        async with self._locks.holding(tenant, id_) as (file, lock):
            _check_offset(file, arrival)
            if arrival.length is not None:
                file = await self._with_length(file, lock, arrival.length)
            if arrival.body_length != 0:
                file = replace(file, stored=await self._receive(file, lock, arrival))
        return await self._completed(file)

    async def _completed(self, file: File) -> File:
        """As it is now; one that is whole as an upload, but nobody waits for that longer than for an answer."""
        if file.is_to_complete:
            await self._completing.wait_for(file, self._settings.file_completion_seconds)
        return await self.one(file.tenant, file.id)

    async def begin(self, file: File, arrival: Arrival, *, is_known: bool) -> File:
        """Append what came with the creation. If that fails nothing is left, unless its client knows how to come back
        to the file: it may have done so already, and have been told what is stored."""
        try:
            return await self.append(file.tenant, file.id, arrival)
        except MillraceError:
            if not is_known:
                await self.delete(file.tenant, file.id)
            raise

    async def delete(self, tenant: str, id_: UUID) -> None:
        file = await self.one(tenant, id_)
        if file.completed_at is not None:
            await self._uploads.delete(tenant, id_)
            return
        async with self._locks.holding(tenant, id_) as (held, lock):
            if held.completed_at is not None:  # just now
                await self._uploads.delete(tenant, id_)
            elif await self._pool.fetchrow(self._queries["end_file"], tenant, id_, lock.token) is None:
                raise Locked("Another request has taken this file over. It is not deleted.")
        await self._completion.remove_segments(tenant, id_)

    async def _insert(
        self, connection: Connection, tenant: str, id_: UUID, wish: FileWish, *, stored: int
    ) -> asyncpg.Record | None:
        row = await connection.fetchrow(
            self._queries["insert_file"],
            tenant,
            id_,
            wish.length,
            stored,
            wish.metadata,
            wish.concat,
            wish.workflow,
            encode_json(wish.options).decode(),
            wish.filename,
            wish.content_type,
            self._settings.file_expires_seconds,
            wish.idempotency_key,
            wish.asked,
        )
        await self._log.reserve(connection, tenant, stream_name("upload", id_))
        return row

    async def _receive(self, file: File, lock: FileLock, arrival: Arrival) -> int:
        if file.length is None:
            room = self._settings.max_upload_bytes - file.stored
            beyond = TooLarge(f"An upload may have at most {self._settings.max_upload_bytes} bytes.")
        else:
            room = file.length - file.stored
            beyond = TooLarge(f"The body goes beyond the {file.length} bytes that the file has altogether.")
        if arrival.body_length is not None and arrival.body_length > room:
            raise beyond
        body = arrival.body(room, beyond)
        reservation = await self._reservation(file)
        tell = self._progress.of(file).reached
        return await self._writing.receive(file, lock, body, arrival.checksum, reservation, tell)

    async def _reservation(self, file: File) -> Reservation | None:
        """What a file of unknown length takes, it reserves as it comes."""
        if not self._quota.is_set or file.length is not None:
            return None
        return await self._quota.resumed(file.tenant, file.id, self._reserved_for)

    async def _with_length(self, file: File, lock: FileLock, length: int) -> File:
        if file.length == length:
            return file
        if file.length is not None or length < file.stored:
            raise wrong_header("upload-length", "changed", "It is said once, and is not less than what is stored.")
        self._check_length(length, is_part=file.is_part)
        if self._quota.is_set:
            reservation = await self._quota.resumed(file.tenant, file.id, self._reserved_for)
            await reservation.cover(length, ahead=False)
        if await self._pool.fetchval(self._queries["set_length"], file.tenant, file.id, lock.token, length) is None:
            raise Locked("Another request has taken this file over. Ask for it again.")
        return replace(file, length=length)

    def _check_length(self, length: int | None, *, is_part: bool) -> None:
        if length is not None and length > self._settings.max_upload_bytes:
            raise TooLarge(f"An upload may have at most {self._settings.max_upload_bytes} bytes.")
        if length == 0 and not is_part:
            detail = "The file is empty. Send one that has bytes."
            raise EmptyUpload(detail, errors=[FieldError("header.upload-length", "empty_upload", detail)])

    @property
    def _reserved_for(self) -> float:
        return self._settings.file_expires_seconds + _LONGER_SECONDS


def _check_offset(file: File, arrival: Arrival) -> None:
    if arrival.offset != file.stored:
        detail = f"Upload-Offset is {arrival.offset}, and the file has {file.stored} bytes."
        raise Conflict(detail, errors=[FieldError("header.upload-offset", "offset", detail)])
