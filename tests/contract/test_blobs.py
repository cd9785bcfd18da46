"""Blobs are there whole or not at all, on local disk and in S3."""

import asyncio
import hashlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from events.blobs.blobs import Blobs, open_blobs
from events.blobs.chunk_work import CHUNK_BYTES
from events.blobs.errors import StorageUnavailable
from events.errors import NotFound
from fixtures.blobs import Store, files, keys
from fixtures.s3 import Bucket


async def write_and_fail(blobs: Blobs, key: str, content: bytes) -> None:
    async with blobs.writing(key) as blob:
        await blob.write(content)
        raise ZeroDivisionError


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 7, 17 * CHUNK_BYTES])
async def test_what_is_written_is_read_back_and_its_hash_is_known(blobs: Blobs, size: int) -> None:
    content = os.urandom(size)
    async with blobs.writing("a/b") as blob:
        for begin in range(0, size, 100_001):
            await blob.write(content[begin : begin + 100_001])
    assert (blob.bytes, blob.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert (await blobs.stat("a/b")).bytes == size
    assert await blobs.get("a/b") == content


async def test_many_small_pieces_are_written_in_order(blobs: Blobs) -> None:
    pieces = [b"%d," % number for number in range(200_000)]
    async with blobs.writing("a") as blob:
        for piece in pieces:
            await blob.write(piece)
    assert await blobs.get("a") == b"".join(pieces)


async def test_a_part_is_read_by_its_range(blobs: Blobs) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 5)
    await blobs.put("a", content)
    assert b"".join([piece async for piece in blobs.read("a", 10, 20)]) == content[10:20]
    assert b"".join([piece async for piece in blobs.read("a", CHUNK_BYTES - 1)]) == content[CHUNK_BYTES - 1 :]


async def test_a_blob_is_not_there_until_it_is_whole(blobs: Blobs) -> None:
    async with blobs.writing("a") as blob:
        await blob.write(b"x" * CHUNK_BYTES)
        await blob.write(b"x" * CHUNK_BYTES)
        assert await keys(blobs) == []
        with pytest.raises(NotFound):
            await blobs.stat("a")
    assert await keys(blobs) == ["a"]


@pytest.mark.parametrize("written", [0, 10, 20 * CHUNK_BYTES])
async def test_a_writer_that_fails_leaves_nothing(store: Store, written: int) -> None:
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(store.blobs, "a/b", b"x" * written)
    assert await store.everything() == []


async def test_a_writer_that_is_cancelled_leaves_nothing(store: Store) -> None:
    begun = asyncio.Event()

    async def write() -> None:
        async with store.blobs.writing("a") as blob:
            while True:
                await blob.write(b"x" * CHUNK_BYTES)
                if blob.bytes > 20 * CHUNK_BYTES:
                    begun.set()

    writing = asyncio.create_task(write())
    await begun.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.everything() == []


async def test_writing_a_blob_again_replaces_it_and_a_failure_keeps_the_old_one(blobs: Blobs) -> None:
    await blobs.put("a", b"first")
    await blobs.put("a", b"second")
    with pytest.raises(ZeroDivisionError):
        await write_and_fail(blobs, "a", b"third")
    assert await blobs.get("a") == b"second"


async def test_two_writers_of_one_blob_do_not_mix(blobs: Blobs) -> None:
    await asyncio.gather(*(blobs.put("a", bytes([n]) * 3 * CHUNK_BYTES) for n in range(4)))
    assert len(set(await blobs.get("a"))) == 1


async def test_deleting_what_is_not_there_does_nothing(blobs: Blobs) -> None:
    await blobs.put("a/1", b"x")
    await blobs.put("b/1", b"x")
    for _ in range(2):
        await blobs.delete("a/1")
    assert await keys(blobs) == ["b/1"]
    assert await keys(blobs, "a") == []
    with pytest.raises(NotFound):
        await blobs.get("a/1")


@pytest.mark.parametrize("size", [0, 1, 9 * CHUNK_BYTES + 7])
async def test_a_file_becomes_a_blob(store: Store, tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    content, file = os.urandom(size), tmp_path_factory.mktemp("made") / "file"
    file.write_bytes(content)
    await store.blobs.adopt(file, "a/b/c")
    assert await store.blobs.get("a/b/c") == content
    assert await keys(store.blobs) == ["a/b/c"]


async def test_a_file_of_another_device_becomes_a_blob_too(tmp_path: Path) -> None:
    blobs, content = open_blobs(str(tmp_path)), os.urandom(3 * CHUNK_BYTES + 7)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere.name).st_dev != os.stat(tmp_path).st_dev
        elsewhere.write(content)
        elsewhere.flush()
        await blobs.adopt(Path(elsewhere.name), "a/b")
    assert await blobs.get("a/b") == content
    assert files(tmp_path) == ["a/b"]


async def test_a_file_that_only_points_at_another_is_not_adopted(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("made")
    (folder / "secret").write_bytes(b"x")
    (folder / "link").symlink_to(folder / "secret")
    with pytest.raises(StorageUnavailable):
        await store.blobs.adopt(folder / "link", "a")
    assert await store.everything() == []


async def test_who_is_cancelled_while_a_file_is_copied_leaves_nothing(tmp_path: Path, bucket: Bucket) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(40 * CHUNK_BYTES))
    adopting = asyncio.create_task(open_blobs(bucket.url).adopt(file, "a"))
    while bucket.way.sent < 9 * CHUNK_BYTES:
        await asyncio.sleep(0.01)
    adopting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adopting
    assert await bucket.keys() == await bucket.unfinished() == []


async def test_all_that_lies_below_a_folder_is_deleted_but_for_what_is_kept(store: Store) -> None:
    for key in ("a/1/x", "a/1/y", "a/1/deep/er/z", "a/10/x", "a/1x"):
        await store.blobs.put(key, b"x")
    await store.blobs.delete_below("a/1", keep={"a/1/deep/er/z", "a/1/none"})
    assert await keys(store.blobs) == ["a/1/deep/er/z", "a/10/x", "a/1x"]
    for _ in range(2):
        await store.blobs.delete_below("a/1")
    assert await keys(store.blobs) == ["a/10/x", "a/1x"]
    assert store.bucket is not None or not (store.folder / "a/1").exists()


FILLER = """
import asyncio, resource, sys
from events.blobs.errors import StorageUnavailable
from events.blobs.blobs import open_blobs

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, 2_500_000))
    try:
        await open_blobs(sys.argv[1]).put("a/b", b"x" * 5_000_000)
    except StorageUnavailable as full:
        print(repr(full.__cause__))

asyncio.run(main())
"""


async def test_a_key_can_have_any_character_and_cannot_leave_the_store(blobs: Blobs) -> None:
    odd = "a b/é%#?*:~/.x"
    await blobs.put(odd, b"x")
    assert await blobs.get(odd) == b"x"
    for key in ("../a", "a/../../b", "/a", "a//b", "./a", ""):
        with pytest.raises(ValueError, match="not a blob's key"):
            await blobs.put(key, b"x")
    assert await keys(blobs) == [odd]


async def test_a_disk_that_takes_no_more_is_said_to_be_unavailable(tmp_path: Path) -> None:
    """A limit on the size of files fails a write in its middle, as a full disk does."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FILLER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await writer.communicate()
    assert said.startswith(b"OSError(27, ")
    assert files(tmp_path) == []


WRITER = """
import asyncio, sys
from events.blobs.blobs import open_blobs

async def main():
    async with open_blobs(sys.argv[1]).writing("a/b") as blob:
        for _ in range(3):
            await blob.write(b"x" * (1 << 20))
        print("half way", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_sweep_removes_what_a_killed_writer_left_and_spares_one_that_lives(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path))
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"half way\n"

    assert await blobs.sweep(older_than=0) == 0
    assert len(files(tmp_path)) == 1

    writer.send_signal(signal.SIGKILL)
    await writer.wait()
    assert await keys(blobs) == []
    assert await blobs.sweep(older_than=3600) == 0
    assert await blobs.sweep(older_than=0) == 1
    assert files(tmp_path) == []


async def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    blobs = open_blobs(str(root))
    await blobs.ping()
    root.rmdir()
    with pytest.raises(StorageUnavailable):
        await blobs.ping()
