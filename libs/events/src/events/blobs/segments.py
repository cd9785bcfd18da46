"""Bytes that are durable long before they are whole: segments, of which a blob is made in the end.

A segment is what one writer wrote without a break. On local disk it is a file that grows; in an object store it is a
row of objects, `<key>/<number>`. Nobody but its writer ever writes to it, so that a writer that has been given up, and
does not know it yet, spoils nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from events.blobs.chunk_work import ChunkWork
from events.blobs.errors import storage_errors

# A writer that has so many bytes that are not durable seals them: an object store keeps them in memory until then.
SEAL_BYTES = 8 << 20


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """The first so many bytes of a segment. What lies behind them was written, and never promised to anybody."""

    key: str
    bytes: int


class SegmentSink(Protocol):
    """Where a segment's bytes go. It blocks: it is called in worker threads, one call at a time, but for what `seal`
    has returned, which is called while more is written."""

    def write(self, chunks: list[bytes]) -> None: ...
    def seal(self) -> Callable[[], None]:
        """What makes all durable that was written until now."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Seal:
    """A point in a segment."""

    bytes: int
    _sync: Callable[[], None]

    async def make_durable(self) -> None:
        """All up to it. More may be written meanwhile, but only one is made durable at a time."""
        with storage_errors():
            await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(self._sync)))


class SegmentWriter:
    def __init__(self, sink: SegmentSink, hashes: Sequence[Hash]) -> None:
        self._sink = sink
        self._work = ChunkWork(*(_hashing(each) for each in hashes), sink.write)
        self.bytes = 0

    async def write(self, data: bytes) -> None:
        self.bytes += len(data)
        await self._work.take(data)

    async def seal(self) -> Seal:
        """Of all that was written until now. When it returns, the hashes are of exactly that."""
        await self._work.settle()
        return Seal(self.bytes, self._sink.seal())

    async def close(self) -> None:
        """What was not made durable may be lost."""
        await self._work.stop()
        await asyncio.to_thread(self._sink.close)


def _hashing(hash_: Hash) -> Callable[[list[bytes]], None]:
    def update(chunks: list[bytes]) -> None:
        for chunk in chunks:
            hash_.update(chunk)

    return update
