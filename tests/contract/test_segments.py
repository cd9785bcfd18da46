"""Segments keep what was sealed whatever happens to their writer, and become one blob without a byte of a zombie's."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from events.blobs.blobs import Blobs, open_blobs
from events.blobs.chunk_work import CHUNK_BYTES
from events.blobs.errors import StorageUnavailable
from events.blobs.segments import SegmentPart
from fixtures.blobs import keys


async def grow(blobs: Blobs, key: str, sealed: Sequence[bytes], unsealed: bytes = b"") -> SegmentPart:
    async with blobs.growing(key) as segment:
        for content in sealed:
            await segment.write(content)
            await (await segment.seal()).make_durable()
        part = SegmentPart(key, segment.bytes)
        await segment.write(unsealed)
        if unsealed:
            await segment.seal()
    return part


async def test_segments_become_one_blob_of_what_was_recorded_of_each(blobs: Blobs) -> None:
    contents = [[os.urandom(3 * CHUNK_BYTES + 5), b"b"], [b"c" * 70_000], [os.urandom(CHUNK_BYTES)]]
    parts = [await grow(blobs, f"s/{n}", sealed, b"tail" * n * 99) for n, sealed in enumerate(contents)]
    whole = b"".join(b"".join(sealed) for sealed in contents)

    await blobs.join(parts, "uploads/a")

    assert await blobs.get("uploads/a") == whole
    hashed = hashlib.sha256()
    await blobs.hash("uploads/a", hashed)
    assert hashed.hexdigest() == hashlib.sha256(whole).hexdigest()
    for part in parts:
        await blobs.remove_segment(part.key)
        await blobs.remove_segment(part.key)
    assert await keys(blobs) == ["uploads/a"]


async def test_the_hashes_are_of_exactly_what_is_sealed(blobs: Blobs) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 77)
    hashed = [hashlib.sha256(), hashlib.sha1()]
    async with blobs.growing("s", hashed) as segment:
        for cut in (0, 100, CHUNK_BYTES, len(content)):
            await segment.write(content[segment.bytes : cut])
            seal = await segment.seal()
            assert seal.bytes == cut
            assert hashed[0].digest() == hashlib.sha256(content[:cut]).digest()
            assert hashed[1].digest() == hashlib.sha1(content[:cut]).digest()


async def test_more_is_written_while_a_seal_becomes_durable(blobs: Blobs) -> None:
    content = os.urandom(4 * CHUNK_BYTES)
    async with blobs.growing("s") as segment:
        await segment.write(content[: 2 * CHUNK_BYTES])
        seal = await segment.seal()
        durable = asyncio.create_task(seal.make_durable())
        await segment.write(content[2 * CHUNK_BYTES :])
        await durable
        await (await segment.seal()).make_durable()
    await blobs.join([SegmentPart("s", len(content))], "b")
    assert await blobs.get("b") == content


@pytest.mark.parametrize("tail", [b"", b"not recorded"])
async def test_a_join_may_be_repeated(blobs: Blobs, tail: bytes) -> None:
    parts = [await grow(blobs, "s/1", [b"one, "], tail), await grow(blobs, "s/2", [b"two"], tail)]
    for _ in range(3):
        await blobs.join(parts, "b")
        assert await blobs.get("b") == b"one, two"


async def test_a_join_of_what_is_not_there_makes_nothing(blobs: Blobs) -> None:
    part, short = await grow(blobs, "s/1", [b"one"]), await grow(blobs, "s/2", [b"two"])
    for parts in ([part, SegmentPart("s/3", 1)], [part, SegmentPart(short.key, 4)], [SegmentPart("s/1", 99)]):
        with pytest.raises(StorageUnavailable):
            await blobs.join(parts, "b")
        assert "b" not in await keys(blobs)
    await blobs.join([part], "b")
    assert await blobs.get("b") == b"one"


async def test_a_writer_that_still_lives_cannot_write_into_the_blob(blobs: Blobs) -> None:
    """It was stopped, its lock passed on, and it does not know it yet: its file must not become the blob."""
    async with blobs.growing("s/1") as zombie:
        await zombie.write(b"one, ")
        await (await zombie.seal()).make_durable()
        second = await grow(blobs, "s/2", [b"two"])
        await blobs.join([SegmentPart("s/1", 5), second], "b")
        await zombie.write(b"late")
        await (await zombie.seal()).make_durable()
    assert await blobs.get("b") == b"one, two"


async def test_joins_at_the_same_time_make_one_whole_blob(blobs: Blobs) -> None:
    contents = [os.urandom(CHUNK_BYTES + n) for n in range(4)]
    parts = [await grow(blobs, f"s/{n}", [content]) for n, content in enumerate(contents)]
    joined = await asyncio.gather(*(blobs.join(parts, "b") for _ in range(4)), return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, StorageUnavailable) for outcome in joined)
    assert None in joined
    assert await blobs.get("b") == b"".join(contents)


KILLED = """
import asyncio, sys
from events.blobs.blobs import open_blobs

async def main():
    async with open_blobs(sys.argv[1]).growing("s/1") as segment:
        await segment.write(b"x" * (3 << 20))
        await (await segment.seal()).make_durable()
        await segment.write(b"y" * (3 << 20))
        print("half way", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_was_durable_outlives_a_killed_writer(tmp_path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"half way\n"
    writer.send_signal(signal.SIGKILL)
    await writer.wait()
    blobs = open_blobs(str(tmp_path))
    second = await grow(blobs, "s/2", [b"z" * 5])
    await blobs.join([SegmentPart("s/1", 3 << 20), second], "b")
    assert await blobs.get("b") == b"x" * (3 << 20) + b"z" * 5
