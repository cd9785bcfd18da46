"""Bytes by key: on local disk, or in an object store by URL.

A blob is visible only when it is whole and durable. Until then it is a partial that the writer removes when it fails,
and that `sweep` removes when the writer was killed.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from events.errors import NotFound

CHUNK_BYTES = 1 << 20  # what is hashed and written in one go, off the loop
_SYNC_EVERY_BYTES = 64 << 20  # so that little is left to sync when the last byte has come
_READ_BYTES = 1 << 20
_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class BlobInfo:
    bytes: int


class Sink(Protocol):
    """Where a writer's bytes go. `write` is called in a worker thread, one call at a time."""

    def write(self, chunks: list[bytes]) -> None: ...
    async def flush(self) -> None:
        """Called between writes: push on what can be pushed on meanwhile."""

    async def commit(self) -> None: ...
    async def abort(self) -> None: ...


class BlobWriter:
    """Hashes and stores what it is given, a chunk behind: while one is worked on in a thread, the next arrives."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._at_work: asyncio.Future[None] | None = None
        self.bytes = 0

    @property
    def sha256(self) -> str:
        """Of the whole blob, once its block has ended."""
        return self._hash.hexdigest()

    async def write(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        self.bytes += len(data)
        if self._gathered_bytes >= CHUNK_BYTES:
            await self._hand_over()

    async def finish(self) -> None:
        await self._hand_over()
        await self._settle()
        await self._sink.commit()

    async def give_up(self) -> None:
        if self._at_work is not None:  # its thread may still be writing to the file
            await asyncio.wait((self._at_work,))
        await self._sink.abort()

    async def _settle(self) -> None:
        if self._at_work is not None:
            await asyncio.shield(self._at_work)
            self._at_work = None
            await self._sink.flush()

    async def _hand_over(self) -> None:
        await self._settle()
        chunks, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if chunks:
            self._at_work = asyncio.get_running_loop().run_in_executor(None, self._work, chunks)

    def _work(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._hash.update(chunk)
        self._sink.write(chunks)


class Blobs:
    def __init__(self, store: ObjectStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root

    @asynccontextmanager
    async def writing(self, key: str) -> AsyncIterator[BlobWriter]:
        """A writer. The blob is there, durably, when the block has ended; nothing is left of it if the block fails."""
        sink: Sink = _StoreSink(self._store, key) if self._root is None else _FileSink(self._root / key)
        writer = BlobWriter(sink)
        try:
            yield writer
            await writer.finish()
        except BaseException:
            await asyncio.shield(writer.give_up())
            raise

    async def put(self, key: str, data: bytes) -> None:
        async with self.writing(key) as blob:
            await blob.write(data)

    async def stat(self, key: str) -> BlobInfo:
        try:
            meta = await obstore.head_async(self._store, key)
        except (NotFoundError, FileNotFoundError):
            raise NotFound(f"There is no blob {key}.") from None
        return BlobInfo(meta["size"])

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, but without, `end`."""
        end = (await self.stat(key)).bytes if end is None else end
        while start < end:
            length = min(_READ_BYTES, end - start)
            yield bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
            start += length

    async def get(self, key: str) -> bytes:
        return b"".join([chunk async for chunk in self.read(key)])

    async def delete(self, key: str) -> None:
        """Does nothing if there is no such blob."""
        with contextlib.suppress(NotFoundError, FileNotFoundError):
            await obstore.delete_async(self._store, key)

    async def keys(self, prefix: str = "") -> list[str]:
        found: list[str] = []
        async for page in obstore.list(self._store, prefix or None):
            found += [entry["path"] for entry in page if not entry["path"].endswith(_PARTIAL)]
        return found

    def local_path(self, key: str) -> Path | None:
        """Where the blob lies, if it lies on this machine's disk."""
        return None if self._root is None else self._root / key

    async def ping(self) -> None:
        """Raise OSError if the store does not answer."""
        with contextlib.suppress(NotFoundError, FileNotFoundError):
            await obstore.head_async(self._store, "ping")
        if self._root is not None and not os.access(self._root, os.W_OK):
            raise OSError(f"{self._root} is not writable")

    async def sweep(self, *, older_than: float) -> int:
        """Remove the partials of writers that were killed: those that nobody has written to for that many seconds."""
        return 0 if self._root is None else await asyncio.to_thread(_remove_partials, self._root, older_than)


def open_blobs(url: str) -> Blobs:
    """Blobs in a folder, or in the store that an s3://, gs:// or az:// URL names."""
    if "://" in url and not url.startswith("file://"):
        return Blobs(from_url(url))
    root = Path(url.removeprefix("file://")).absolute()
    root.mkdir(parents=True, exist_ok=True)
    return Blobs(LocalStore(root), root)


class _FileSink:
    """Syncs what it has written while more arrives, and gives the file its name last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}{_PARTIAL}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._unsynced = 0
        self._syncing: asyncio.Future[None] | None = None

    def write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._file, view) :]
            self._unsynced += len(chunk)

    async def flush(self) -> None:
        if self._unsynced >= _SYNC_EVERY_BYTES and (self._syncing is None or self._syncing.done()):
            self._unsynced = 0
            self._syncing = asyncio.get_running_loop().run_in_executor(None, os.fdatasync, self._file)

    async def commit(self) -> None:
        if self._syncing is not None:
            await asyncio.shield(self._syncing)
        await asyncio.to_thread(self._commit)

    def _commit(self) -> None:
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1
        os.rename(self._partial, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def abort(self) -> None:
        if self._syncing is not None:
            await asyncio.gather(self._syncing, return_exceptions=True)
        if self._file >= 0:
            os.close(self._file)
        self._partial.unlink(missing_ok=True)


class _StoreSink:
    """An object store's multipart upload: invisible until it is completed."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = key
        self._writer = obstore.open_writer(store, key)
        self._completed = False

    def write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._writer.write(chunk)

    async def flush(self) -> None:
        pass

    async def commit(self) -> None:
        await asyncio.to_thread(self._writer.close)
        self._completed = True

    async def abort(self) -> None:
        if self._completed:
            await obstore.delete_async(self._store, self._key)


def _remove_partials(root: Path, older_than: float) -> int:
    removed = 0
    oldest = time.time() - older_than
    for partial in root.rglob(f"*{_PARTIAL}"):
        with contextlib.suppress(FileNotFoundError):
            if partial.stat().st_mtime <= oldest:
                partial.unlink()
                removed += 1
    return removed
