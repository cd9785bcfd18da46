"""Segments in an object store: each a row of objects, `<key>/<number>`."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import obstore
from obstore.store import ObjectStore

from events.blobs.errors import StorageUnavailable
from events.blobs.objects import PARTS_AT_ONCE, part_bytes
from events.blobs.segments import SegmentPart
from events.running.tasks import end

_READ_BYTES = 4 << 20
_READS_AT_ONCE = 3

Piece = tuple[str, int, int]  # of an object: where, and how many bytes


class SegmentObjects:
    """A segment in an object store. An object is durable when its PUT is answered."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._gathered: list[bytes] = []
        self._objects = 0

    def write(self, chunks: list[bytes]) -> None:
        self._gathered += chunks

    def seal(self) -> Callable[[], None]:
        chunks, self._gathered = self._gathered, []
        name = f"{self._key}/{self._objects:08d}"
        self._objects += bool(chunks)

        def put() -> None:
            if chunks:
                obstore.put(self._store, name, b"".join(chunks))

        return put

    def close(self) -> None:
        self._gathered = []


async def join_objects(store: ObjectStore, parts: Sequence[SegmentPart], into: str) -> None:
    total = sum(part.bytes for part in parts)
    pieces = [piece for part in parts for piece in await _pieces(store, part)]
    writer = obstore.open_writer_async(store, into, buffer_size=part_bytes(total), max_concurrency=PARTS_AT_ONCE)
    async with writer:  # which makes it visible, or aborts it if this raises
        async for data in _read_ahead(store, pieces):
            await writer.write(data)


async def _pieces(store: ObjectStore, part: SegmentPart) -> list[Piece]:
    pieces, missing = [], part.bytes
    for name, size in await _objects(store, part.key):
        taken = min(size, missing)
        pieces += [(name, start, min(_READ_BYTES, taken - start)) for start in range(0, taken, _READ_BYTES)]
        missing -= taken
    if missing:
        raise StorageUnavailable(f"The segment {part.key} lacks {missing} bytes.")
    return pieces


async def _read_ahead(store: ObjectStore, pieces: Sequence[Piece]) -> AsyncIterator[obstore.Bytes]:
    async def read(piece: Piece) -> obstore.Bytes:
        name, start, length = piece
        return await obstore.get_range_async(store, name, start=start, length=length)

    reading: deque[asyncio.Task[obstore.Bytes]] = deque()
    try:
        for piece in pieces:
            reading.append(asyncio.create_task(read(piece)))
            if len(reading) == _READS_AT_ONCE:
                yield await reading.popleft()
        while reading:
            yield await reading.popleft()
    finally:
        await end(*reading)


async def remove_objects(store: ObjectStore, key: str) -> None:
    names = [name for name, _ in await _objects(store, key)]
    if names:
        await obstore.delete_async(store, names)


async def _objects(store: ObjectStore, key: str) -> list[tuple[str, int]]:
    found = await obstore.list(store, f"{key}/").collect_async()
    return sorted((entry["path"], entry["size"]) for entry in found)
