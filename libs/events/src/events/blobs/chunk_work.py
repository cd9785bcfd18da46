"""Bytes that are worked on in threads, a chunk behind: while one is hashed in one thread and written in another, the
next arrives."""

import asyncio
from collections.abc import Callable, Coroutine

from events.blobs.errors import storage_errors

CHUNK_BYTES = 1 << 20  # what is worked on in one go
# Smaller pieces are put together: by themselves, those of a client that drips would take thirty times their own memory.
_SMALL_BYTES = 4096

Worker = Callable[[list[bytes]], None]


class ChunkWork:
    """Each worker gets every byte, in order, one call at a time. The workers of one chunk are busy at the same time."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = workers
        self._gathered: list[bytes] = []
        self._small = bytearray()  # behind those
        self._gathered_bytes = 0
        self._at_work: asyncio.Future[list[BaseException | None]] | None = None
        self._failure: BaseException | None = None

    async def take(self, data: bytes) -> None:
        if len(data) < _SMALL_BYTES:
            self._small += data
        else:
            self._gather_small()
            self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= CHUNK_BYTES:
            await self._hand_over()

    async def settle(self) -> None:
        """Wait until every worker is through with all that was taken. Raises, from then on always, if one failed."""
        await self._hand_over()
        await self._wait()

    async def call(self, work: Callable[[], None]) -> None:
        """Do this when what was taken is through. Being cancelled does not end it."""
        await self.settle()
        self._begin(asyncio.to_thread(work))
        await self._wait()

    async def stop(self) -> None:
        """Wait until no thread is at work, whatever came of it."""
        if self._at_work is not None:
            await self._at_work

    def _gather_small(self) -> None:
        if self._small:
            self._gathered.append(bytes(self._small))
            self._small.clear()

    async def _hand_over(self) -> None:
        await self._wait()
        self._gather_small()
        chunks, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if chunks:
            self._begin(*(asyncio.to_thread(worker, chunks) for worker in self._workers))

    def _begin(self, *work: Coroutine[None, None, None]) -> None:
        self._at_work = asyncio.gather(*work, return_exceptions=True)

    async def _wait(self) -> None:
        if self._at_work is not None:
            failures = await asyncio.shield(self._at_work)
            self._at_work = None
            self._failure = next(filter(None, failures), None)
        if self._failure is not None:
            with storage_errors():
                raise self._failure
