"""Tables of an object store on this machine's disk, for as long as there is room: one download for many queries."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from events.blobs.blobs import Blobs
from events.errors import TooLarge, Unavailable
from events.running.tasks import end
from processor.disk import FULL, free_bytes

_RETRY_AFTER = {"Retry-After": "5"}


@dataclass(slots=True)
class _Copy:
    path: Path
    bytes: int
    fetching: asyncio.Task[None]
    readers: int = 0


class Copies:
    def __init__(self, blobs: Blobs, folder: Path, *, most_bytes: int, disk_free_bytes: int, seconds: float) -> None:
        """A query waits for a download for so many seconds; the download goes on, for the query's next try."""
        self._blobs = blobs
        self._folder = folder
        self._most_bytes = most_bytes
        self._disk_free_bytes = disk_free_bytes  # left to others
        self._seconds = seconds
        self._copies: OrderedDict[str, _Copy] = OrderedDict()  # the one that was used last is the last

    async def close(self) -> None:
        await end(*(copy.fetching for copy in self._copies.values()))

    @asynccontextmanager
    async def opened(self, key: str, size: int) -> AsyncIterator[Path]:
        """Where the blob lies, or a copy, which stays while the block runs. Raises `NotFound` if it is not there."""
        lies_at = self._blobs.local_path(key)
        if lies_at is not None:
            await self._blobs.stat(key)
            yield lies_at
            return
        copy = self._copies.get(key) or self._begin(key, size)
        self._copies.move_to_end(key)
        copy.readers += 1
        try:
            await asyncio.wait({copy.fetching}, timeout=self._seconds)
            if not copy.fetching.done():
                detail = "The table is still on its way here from the object store. Try again."
                raise Unavailable(detail, headers=_RETRY_AFTER)
            copy.fetching.result()
            yield copy.path
        finally:
            copy.readers -= 1

    def _begin(self, key: str, size: int) -> _Copy:
        if size > self._most_bytes:
            raise TooLarge(f"Tables of more than {self._most_bytes:,} bytes cannot be asked here. Get the file itself.")
        self._make_room(size)
        self._folder.mkdir(exist_ok=True)
        if free_bytes(self._folder) - size < self._disk_free_bytes:
            raise _no_room()
        path = self._folder / uuid4().hex
        copy = self._copies[key] = _Copy(path, size, asyncio.create_task(self._fetch(key, path)))
        copy.fetching.add_done_callback(_drop)
        return copy

    def _make_room(self, size: int) -> None:
        left = self._most_bytes - size - sum(copy.bytes for copy in self._copies.values())
        for key, copy in list(self._copies.items()):
            if left >= 0:
                return
            if not copy.readers and copy.fetching.done():
                left += copy.bytes
                self._forget(key)
        if left < 0:
            detail = "Other tables are being asked, and there is no room for this one. Try again."
            raise Unavailable(detail, headers=_RETRY_AFTER)

    def _forget(self, key: str) -> None:
        self._copies.pop(key).path.unlink(missing_ok=True)

    async def _fetch(self, key: str, path: Path) -> None:
        try:
            with path.open("xb") as file:
                async for piece in self._blobs.read(key):
                    await asyncio.to_thread(file.write, piece)
        except BaseException as failed:
            self._forget(key)
            if isinstance(failed, OSError) and failed.errno in FULL:
                raise _no_room() from None
            raise


def _no_room() -> Unavailable:
    return Unavailable("There is not enough room on the processor's disk for this table.", headers=_RETRY_AFTER)


def _drop(fetching: asyncio.Task[None]) -> None:
    """Nobody may wait for it any more: what it has raised would be logged as forgotten."""
    if not fetching.cancelled():
        fetching.exception()
