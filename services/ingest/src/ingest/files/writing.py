"""A body becomes durable bytes of a file: while the next bytes arrive, those before them are made so and recorded."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Self

from events.blobs.blobs import Blobs
from events.blobs.keys import SEGMENTS
from events.blobs.segments import SEAL_BYTES, Seal, SegmentWriter
from events.database import DATABASE_GONE, Pool, load_queries
from events.errors import MillraceError
from ingest.files.checksum import Checksum
from ingest.files.file import File
from ingest.files.lock import LEASE_SECONDS, FileLock, Locked
from ingest.files.running_hashes import RunningHashes, Sha256
from ingest.quota import Reservation

_SEAL_SECONDS = 1.0


class FileWriting:
    def __init__(self, pool: Pool, blobs: Blobs, *, expires: float) -> None:
        self._pool = pool
        self._blobs = blobs
        self._expires = expires
        self._hashes = RunningHashes()
        self._queries = load_queries("ingest", "files/files.sql")

    async def sha256_of(self, file: File) -> str:
        """Of its blob. If its bytes did not come here in one go, they are read for it, once."""
        sha256 = self._hashes.of(file.id, file.stored)
        if sha256 is None:
            sha256 = hashlib.sha256()
            await self._blobs.hash(file.blob, sha256)
        self._hashes.keep(file.id, file.stored, sha256)  # for another try, if this one fails
        return sha256.hexdigest()

    async def receive(
        self,
        file: File,
        lock: FileLock,
        body: AsyncIterator[bytes],
        checksum: Checksum | None,
        reservation: Reservation | None,
        tell: Callable[[int], None],
    ) -> int:
        """Append the body, and return how many bytes the file has then. If this raises, what came until then is kept;
        but with a checksum, a body counts only when it is whole and right. `tell` hears how far it is."""
        key = f"{SEGMENTS}/{file.tenant}/{file.id}.{file.stored}.{lock.token}"
        if await self._pool.fetchval(self._queries["note_segment"], file.tenant, file.id, lock.token, key) is None:
            raise Locked("Another request sends bytes of this file now.")
        sha256 = self._hashes.of(file.id, file.stored)

        def on_stored(stored: int, hashed: Sha256 | None) -> None:
            if hashed is not None:
                self._hashes.keep(file.id, stored, hashed)
            tell(stored)

        recorder = _Recorder(self._pool, self._queries, file, lock, key, self._expires, on_stored)
        hashes = [each for each in (sha256, checksum) if each is not None]
        try:
            async with self._blobs.growing(key, hashes) as segment, recorder:
                failure: MillraceError | None = None
                try:
                    async with lock.interruptible():
                        async for chunk in body:
                            if reservation is not None:
                                await reservation.cover(file.stored + segment.bytes + len(chunk))
                            await segment.write(chunk)
                            if recorder.is_due(segment):
                                await recorder.seal(segment, sha256, recording=checksum is None)
                except MillraceError as failed:
                    failure = failed
                ended_early = failure is not None or lock.interrupted
                if not lock.lost and not (ended_early and checksum is not None):
                    await recorder.finish(segment, sha256, checksum)
                if failure is not None:
                    raise failure
                if ended_early:
                    raise lock.interruption()
                return recorder.stored
        finally:
            if recorder.recorded_nothing or (lock.lost and await self._is_forgotten(key)):
                await self._drop(key)

    async def _is_forgotten(self, key: str) -> bool:
        """Whoever has the file now has ended it, and removed all that it found of the segment. What we stored since
        then is nobody's."""
        with contextlib.suppress(*DATABASE_GONE):
            return await self._pool.fetchval(self._queries["wait_for_segment"], key) is None
        return False

    async def _drop(self, key: str) -> None:
        """What fails here is done when the file ends."""
        with contextlib.suppress(MillraceError, *DATABASE_GONE):
            await self._blobs.remove_segment(key)
            await self._pool.execute(self._queries["forget_segment"], key)


class _Recorder:
    """Makes a segment durable and records how far that is, in a task beside the one that receives."""

    def __init__(
        self,
        pool: Pool,
        queries: Mapping[str, str],
        file: File,
        lock: FileLock,
        key: str,
        expires: float,
        on_stored: Callable[[int, Sha256 | None], None],
    ) -> None:
        self._pool = pool
        self._record_query = queries["record"]
        self._file = file
        self._lock = lock
        self._key = key
        self._expires = expires
        self._on_stored = on_stored
        self._clock = asyncio.get_running_loop().time
        self._sealed_bytes = 0
        self._sealed_at = self._clock()
        self._task: asyncio.Task[None] | None = None
        self.stored = file.stored
        self.recorded_nothing = True  # for certain

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:  # it uses the segment, which is closed next
            await asyncio.shield(asyncio.wait([self._task]))

    def is_due(self, segment: SegmentWriter) -> bool:
        unsealed = segment.bytes - self._sealed_bytes
        return unsealed >= SEAL_BYTES or self._clock() - self._sealed_at >= _SEAL_SECONDS

    async def seal(self, segment: SegmentWriter, sha256: Sha256 | None, *, recording: bool) -> None:
        """Begin to make durable, and to record, what was written. One that has failed fails all that come after it."""
        await self._settle()
        self._begin(await segment.seal(), sha256, recording)  # nothing may come between the two: it would be lost

    async def finish(self, segment: SegmentWriter, sha256: Sha256 | None, checksum: Checksum | None) -> None:
        await self._settle()
        seal = await segment.seal()
        if checksum is not None:
            checksum.verify()
        self._begin(seal, sha256, recording=True)
        await self._settle()

    async def _settle(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)
            self._task = None

    def _begin(self, seal: Seal, sha256: Sha256 | None, recording: bool) -> None:
        self._sealed_bytes, self._sealed_at = seal.bytes, self._clock()
        hashed = None if sha256 is None else sha256.copy()
        self._task = asyncio.create_task(self._make(seal, hashed, recording))

    async def _make(self, seal: Seal, sha256: Sha256 | None, recording: bool) -> None:
        await seal.make_durable()
        if not recording:
            return
        file, stored = self._file, self._file.stored + seal.bytes
        nothing_before, self.recorded_nothing = self.recorded_nothing, False
        row = await self._pool.fetchrow(
            self._record_query,
            file.tenant,
            file.id,
            self._lock.token,
            stored,
            self._key,
            LEASE_SECONDS,
            self._expires,
        )
        if row is None:
            self.recorded_nothing = nothing_before
            self._lock.lose()
            raise Locked("Another request has taken this file over. Ask for its offset, and go on from there.")
        self.stored = stored
        self._on_stored(stored, sha256)
        if row["wanted"]:
            self._lock.interrupt()
