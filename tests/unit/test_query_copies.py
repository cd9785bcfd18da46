"""Tables of an object store, on this machine's disk while they are asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import obstore
import pytest
import pytest_asyncio
from obstore.store import MemoryStore

from events.blobs.blobs import Blobs
from events.errors import NotFound, TooLarge, Unavailable
from processor.cleaning.query.copies import Copies


class SlowBlobs(Blobs):
    """An object store, which gives nothing until it may."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        super().__init__(self.store)
        self.may = asyncio.Event()
        self.may.set()
        self.downloads = 0

    async def add(self, key: str, data: bytes) -> None:
        await obstore.put_async(self.store, key, data)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        self.downloads += 1
        await self.may.wait()
        async for piece in super().read(key, start, end):
            yield piece


@pytest_asyncio.fixture
async def blobs() -> SlowBlobs:
    blobs = SlowBlobs()
    for name in "abc":
        await blobs.add(f"artifacts/acme/{name}", name.encode() * 10)
    return blobs


@pytest_asyncio.fixture
async def copies(blobs: SlowBlobs, tmp_path: Path) -> AsyncIterator[Copies]:
    copies = Copies(blobs, tmp_path / "tables", most_bytes=25, disk_free_bytes=0, seconds=1.0)
    yield copies
    await copies.close()


async def content(copies: Copies, name: str) -> bytes:
    async with copies.opened(f"artifacts/acme/{name}", 10) as path:
        return path.read_bytes()


async def test_queries_share_a_download_and_the_next_one_finds_it(blobs: SlowBlobs, copies: Copies) -> None:
    assert await asyncio.gather(*(content(copies, "a") for _ in range(3))) == [b"a" * 10] * 3
    assert await content(copies, "a") == b"a" * 10
    assert blobs.downloads == 1


async def test_what_was_not_asked_for_longest_makes_room(blobs: SlowBlobs, copies: Copies, tmp_path: Path) -> None:
    for name in "abac":
        await content(copies, name)
    assert sorted(path.read_bytes()[:1] for path in (tmp_path / "tables").iterdir()) == [b"a", b"c"]
    await content(copies, "b")
    assert blobs.downloads == 4


async def test_what_is_being_read_stays(copies: Copies) -> None:
    async with AsyncExitStack() as reading:
        for name in "ab":
            await reading.enter_async_context(copies.opened(f"artifacts/acme/{name}", 10))
        with pytest.raises(Unavailable, match="no room"):
            await content(copies, "c")
    assert await content(copies, "c") == b"c" * 10


async def test_a_download_that_takes_long_goes_on_for_the_next_try(blobs: SlowBlobs, copies: Copies) -> None:
    blobs.may.clear()
    with pytest.raises(Unavailable, match="still on its way"):
        await content(copies, "a")
    blobs.may.set()
    assert await content(copies, "a") == b"a" * 10
    assert blobs.downloads == 1


async def test_what_is_not_there_or_too_large_is_told_and_nothing_is_left(copies: Copies, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await content(copies, "nothing")
    with pytest.raises(TooLarge):
        async with copies.opened("artifacts/acme/a", 26):
            pass
    assert list((tmp_path / "tables").iterdir()) == []


async def test_a_table_for_which_the_disk_has_no_room_is_not_fetched(blobs: SlowBlobs, tmp_path: Path) -> None:
    copies = Copies(blobs, tmp_path / "tables", most_bytes=25, disk_free_bytes=1 << 62, seconds=0.05)
    with pytest.raises(Unavailable, match="not enough room"):
        await content(copies, "a")
    assert blobs.downloads == 0
