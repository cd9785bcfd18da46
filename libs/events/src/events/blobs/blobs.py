"""Bytes by key: on local disk, or in an object store by URL.

A blob is visible only when it is whole and durable. Until then it is a partial that the writer removes when it fails,
and that `sweep` removes when the writer was killed. What has to be durable before it is whole is written in segments.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore

from events.blobs.adopted import adopt_into_folder, adopt_into_store
from events.blobs.chunk_work import ChunkWork
from events.blobs.errors import StorageUnavailable, storage_errors
from events.blobs.local import PARTIAL, FileSink, delete_files_below, remove_abandoned
from events.blobs.objects import PATIENCE_SECONDS, ObjectSink, delete_objects_below, open_store
from events.blobs.segments import Hash, SegmentPart, SegmentSink, SegmentWriter
from events.blobs.segments_local import SegmentFile, join_files
from events.blobs.segments_objects import SegmentObjects, join_objects, remove_objects
from events.blobs.sink import Sink
from events.errors import NotFound

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BlobInfo:
    bytes: int


class BlobWriter:
    """Hashes and stores what it is given."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self._work = ChunkWork(self._update, sink.write)
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Of the whole blob, once its block has ended."""
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        self.bytes += len(data)
        await self._work.take(data)

    async def finish(self) -> None:
        await self._work.call(self._sink.commit)

    async def give_up(self) -> None:
        await self._work.stop()  # its threads may still be at the file
        await asyncio.to_thread(self._sink.abort)

    def _update(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._hash.update(chunk)


class Blobs:
    def __init__(self, store: ObjectStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator[BlobWriter]:
        """A writer. The blob is there, durably, when the block has ended; nothing is left of it if the block fails."""
        path = self.local_path(key)
        sink: Sink = ObjectSink(self._store, key) if path is None else FileSink(path)
        writer = BlobWriter(sink)
        try:
            yield writer
            await writer.finish()
        except BaseException:
            await asyncio.shield(writer.give_up())
            raise

    @asynccontextmanager
    async def growing(self, key: str, hashes: Sequence[Hash] = ()) -> AsyncIterator[SegmentWriter]:
        """A writer of a segment that nobody has written before. What was sealed and made durable stays, whatever comes
        then; `join` makes a blob of it."""
        path = self.local_path(key)
        sink: SegmentSink = SegmentObjects(self._store, key) if path is None else SegmentFile(path)
        writer = SegmentWriter(sink, hashes)
        try:
            yield writer
        finally:
            await asyncio.shield(writer.close())

    async def join(self, parts: Sequence[SegmentPart], into: str) -> None:
        """Make one blob of segments: it is durable and visible when this returns. It may be repeated after a kill, and
        takes the first segment away."""
        with contextlib.suppress(NotFound):
            if self._root is None and (await self.stat(into)).bytes == sum(part.bytes for part in parts):
                return
        path = self.local_path(into)
        with storage_errors():
            if path is None:
                await join_objects(self._store, parts, into)
            else:
                paths = [(file, part.bytes) for part in parts if (file := self.local_path(part.key))]
                await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(join_files, paths, path)))

    async def remove_segment(self, key: str) -> None:
        """Does nothing if there is none."""
        path = self.local_path(key)
        with storage_errors():
            if path is None:
                await remove_objects(self._store, key)
            else:
                await asyncio.to_thread(path.unlink, missing_ok=True)

    async def put(self, key: str, data: bytes) -> None:
        async with self.writing(key) as blob:
            await blob.write(data)

    async def adopt(self, path: Path, key: str) -> None:
        """Make a blob of a file that nobody writes to any more: it is durable and visible when this returns. The file
        may be gone then."""
        into = self.local_path(key)
        with storage_errors():
            if into is None:
                await adopt_into_store(path, ObjectSink(self._store, key))
            else:
                await adopt_into_folder(path, into)

    async def stat(self, key: str) -> BlobInfo:
        with storage_errors(key):
            meta = await obstore.head_async(self._store, key)
        return BlobInfo(meta["size"])

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, but without, `end`."""
        end = (await self.stat(key)).bytes if end is None else end
        while start < end:
            length = min(_READ_BYTES, end - start)
            with storage_errors(key):
                chunk = await obstore.get_range_async(self._store, key, start=start, length=length)
            yield bytes(chunk)
            start += length

    async def get(self, key: str) -> bytes:
        return b"".join([chunk async for chunk in self.read(key)])

    async def hash(self, key: str, into: Hash) -> None:
        """All that is stored."""
        async for chunk in self.read(key):
            await asyncio.to_thread(into.update, chunk)

    async def delete(self, key: str) -> None:
        """Does nothing if there is no such blob."""
        with contextlib.suppress(NotFound), storage_errors(key):
            await obstore.delete_async(self._store, key)

    async def delete_below(self, folder: str, *, keep: Collection[str] = ()) -> None:
        """All blobs whose keys begin with the folder but these, and what killed writers have left there."""
        root = self.local_path(folder)
        with storage_errors():
            if root is None:
                await delete_objects_below(self._store, folder, keep)
            else:
                await asyncio.to_thread(
                    delete_files_below, root, {path for key in keep if (path := self.local_path(key))}
                )

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        async for key, _ in self.listing(prefix):
            yield key

    async def listing(self, prefix: str = "") -> AsyncIterator[tuple[str, BlobInfo]]:
        with storage_errors():
            async for page in obstore.list(self._store, prefix or None):
                for entry in page:
                    if not entry["path"].endswith(PARTIAL):
                        yield entry["path"], BlobInfo(entry["size"])

    def local_path(self, key: str) -> Path | None:
        """Where the blob lies, if it lies on this machine's disk: never outside of the store's folder."""
        if any(segment in ("", ".", "..") for segment in key.split("/")):
            raise ValueError(f"{key!r} is not a blob's key")
        return None if self._root is None else self._root / key

    async def ping(self) -> None:
        """Raise `StorageUnavailable` if the store does not answer, or does not let us in."""
        with storage_errors():  # of an object alone, a lost bucket says no more than a lost object
            await obstore.list(self._store, "ping").collect_async()
        if self._root is not None and not os.access(self._root, os.W_OK):
            raise StorageUnavailable(f"{self._root} is not writable.")

    async def sweep(self, *, older_than: float) -> int:
        """Remove the partials of writers that were killed, once they are that many seconds old. Object stores drop
        theirs by a lifecycle rule of the bucket."""
        return 0 if self._root is None else await asyncio.to_thread(remove_abandoned, self._root, older_than)


def open_blobs(url: str, *, patience: float = PATIENCE_SECONDS) -> Blobs:
    """Blobs in a folder, or in the store that an s3://, gs:// or az:// URL names."""
    if "://" in url and not url.startswith("file://"):
        return Blobs(open_store(url, patience))
    root = Path(url.removeprefix("file://")).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return Blobs(LocalStore(root), root)
