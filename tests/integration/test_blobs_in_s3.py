"""S3 that refuses, that is not there, that goes away in the middle: a clear error soon, and nothing is left."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from events.blobs.blobs import Blobs, open_blobs
from events.blobs.errors import StorageUnavailable
from events.blobs.segments import SegmentPart
from events.errors import NotFound, StartupError
from fixtures.blobs import keys
from fixtures.s3 import Bucket

MEGABYTE = 1 << 20
PATIENCE_SECONDS = 0.5

Ask = Callable[[Blobs], Awaitable[object]]


@pytest_asyncio.fixture
async def blobs(bucket: Bucket) -> AsyncIterator[Blobs]:
    yield open_blobs(bucket.url, patience=PATIENCE_SECONDS)


async def write(blobs: Blobs, size: int, then: Callable[[int], Awaitable[None]]) -> None:
    async with blobs.writing("uploads/a") as blob:
        while blob.bytes < size:
            await blob.write(os.urandom(MEGABYTE))
            await then(blob.bytes)


async def segments(blobs: Blobs, *sizes: int) -> list[SegmentPart]:
    parts = []
    for number, size in enumerate(sizes):
        async with blobs.growing(f"segments/{number}") as segment:
            for _ in range(size):
                await segment.write(os.urandom(MEGABYTE))
                await (await segment.seal()).make_durable()
        parts.append(SegmentPart(f"segments/{number}", segment.bytes))
    return parts


ASKED: dict[str, Ask] = {
    "put": lambda blobs: blobs.put("a", b"x"),
    "write": lambda blobs: blobs.put("a", b"x" * 20 * MEGABYTE),
    "grow": lambda blobs: segments(blobs, 1),
    "join": lambda blobs: blobs.join([SegmentPart("s", 1)], "a"),
    "get": lambda blobs: blobs.read("a", 0, 1).__anext__(),
    "list": keys,
    "remove": lambda blobs: blobs.remove_segment("s"),
    "ping": lambda blobs: blobs.ping(),
}
REFUSED = ("put", "write", "grow", "get")  # by what our server knows of permissions


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_a_lost_bucket_is_not_taken_for_a_lost_blob(blobs: Blobs, bucket: Bucket, asked: Ask) -> None:
    await bucket.remove()
    with pytest.raises(StorageUnavailable):
        await asked(blobs)


@pytest.mark.parametrize("asked", [ASKED[name] for name in REFUSED], ids=REFUSED)
async def test_who_is_not_let_in_hears_that_he_is_refused(blobs: Blobs, bucket: Bucket, asked: Ask) -> None:
    await bucket.deny("PutObject", "GetObject")
    with pytest.raises(StorageUnavailable, match="refuses us"):
        await asked(blobs)


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
async def test_a_server_that_is_away_is_said_to_be(blobs: Blobs, bucket: Bucket, asked: Ask) -> None:
    await bucket.way.close()
    with pytest.raises(StorageUnavailable, match="Try again"):
        await asked(blobs)
    await bucket.way.mend()
    assert await bucket.keys() == await bucket.unfinished() == []


async def test_a_server_that_comes_back_in_time_is_not_missed(bucket: Bucket) -> None:
    blobs = open_blobs(bucket.url)

    async def blink(size: int) -> None:
        if size == 12 * MEGABYTE:
            await bucket.way.close()
            asyncio.get_running_loop().call_later(0.3, lambda: asyncio.ensure_future(bucket.way.mend()))

    await write(blobs, 20 * MEGABYTE, blink)
    assert (await blobs.stat("uploads/a")).bytes == 20 * MEGABYTE
    assert await bucket.unfinished() == []


@pytest.mark.parametrize("megabytes", [10, 18, 24])
async def test_a_writer_that_is_refused_in_the_middle_leaves_nothing(
    blobs: Blobs, bucket: Bucket, megabytes: int
) -> None:
    """Among them: its last part, which is sent when all the others are there."""

    async def refuse(size: int) -> None:
        if size == megabytes * MEGABYTE:
            await bucket.deny("PutObject")

    with pytest.raises(StorageUnavailable, match="refuses us"):
        await write(blobs, 24 * MEGABYTE, refuse)
    assert await bucket.keys() == await bucket.unfinished() == []


async def test_a_join_that_fails_in_the_middle_leaves_its_segments_and_nothing_else(
    blobs: Blobs, bucket: Bucket
) -> None:
    parts = await segments(blobs, 6, 6, 6)
    before = await bucket.keys()
    bucket.way.cut_after = bucket.way.sent + 9 * MEGABYTE
    with pytest.raises(StorageUnavailable):
        await blobs.join(parts, "uploads/a")
    await bucket.way.mend()
    assert await bucket.keys() == before
    await blobs.join(parts, "uploads/a")
    assert (await blobs.stat("uploads/a")).bytes == 18 * MEGABYTE


async def test_a_blob_that_is_not_there_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFound):
        await blobs.read("a", 0, 1).__anext__()
    with pytest.raises(NotFound):
        await blobs.stat("a")


async def test_a_store_of_a_kind_that_there_is_not_is_told_at_the_start() -> None:
    with pytest.raises(StartupError, match="MILLRACE_BLOBS_URL is not usable"):
        open_blobs("ftp://bucket")
