"""The handlers that run on the service's loop: the table of them, `noop` and `blob.copy`."""

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from events.blobs.blobs import Blobs, open_blobs
from events.telemetry import Telemetry
from fixtures.attempts import JOB, an_attempt, unnoted
from fixtures.http_peers import http_settings
from processor.builtin.blob_copy import blob_copy
from processor.builtin.noop import noop
from processor.builtin.table import open_builtin
from processor.handlers import HANDLERS, Runs
from processor.step import StepError


@pytest.fixture(params=["local disk", "object store"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return open_blobs(str(tmp_path)) if request.param == "local disk" else Blobs(MemoryStore())


async def keys(blobs: Blobs) -> list[str]:
    return sorted([key async for key in blobs.keys("")])


async def test_every_handler_that_runs_here_is_there_and_no_other(blobs: Blobs) -> None:
    telemetry = Telemetry("processor")
    async with open_builtin(http_settings(), blobs, unnoted, telemetry) as builtin:
        assert set(builtin) == {name for name, handler in HANDLERS.items() if handler.runs is Runs.HERE}
    telemetry.close()


async def test_noop_gives_back_what_it_is_given() -> None:
    given = {"a": [1, {"b": None}]}
    assert await noop(an_attempt(), given) == given


@pytest.mark.parametrize("size", [0, 1, 3_500_000])
async def test_a_copy_is_whole_and_lies_with_the_attempts_own_artifacts(blobs: Blobs, size: int) -> None:
    content = os.urandom(size)
    await blobs.put("uploads/acme/1", content)
    told: list[tuple[float, str | None]] = []
    attempt = an_attempt(report=lambda done, says: told.append((done, says)))
    output = await blob_copy(blobs, unnoted)(attempt, {"blob": "uploads/acme/1", "name": "people.csv"})
    assert output == {"blob": f"artifacts/acme/{JOB}/ask-1/people.csv", "bytes": size}
    assert await blobs.get(output["blob"]) == content
    assert attempt.artifacts == [{"name": "people.csv", "content_type": "text/csv", **output}]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1:] == ([(1.0, f"Copying: {size / 1e6:.1f} of {size / 1e6:.1f} MB")] if size else [])


@pytest.mark.parametrize(
    "blob",
    [
        "uploads/acme/missing",
        "uploads/other/1",
        "uploads/acme/../other/1",
        "uploads/acme/1/../../other/1",
        "uploads//acme/1",
        "../etc/passwd",
        "/etc/passwd",
        "uploads/acme",
        "uploads/acme/",
        "",
        "uploads/acme/1\x00",
    ],
)
async def test_a_missing_blob_and_somebody_elses_cannot_be_told_apart(blobs: Blobs, blob: str) -> None:
    await blobs.put("uploads/acme/1", b"ours")
    await blobs.put("uploads/other/1", b"theirs")
    with pytest.raises(StepError) as failed:
        await blob_copy(blobs, unnoted)(an_attempt(), {"blob": blob, "name": "copy"})
    assert (failed.value.code, failed.value.detail) == ("blob_missing", "There is no such blob.")
    assert await keys(blobs) == ["uploads/acme/1", "uploads/other/1"]


@pytest.mark.parametrize("name", [".", "..", "a.partial", "a/b", "../b", "", "a\n"])
async def test_a_name_that_would_be_another_place_or_be_swept_away_is_refused(blobs: Blobs, name: str) -> None:
    """The table's pattern lets some of them through."""
    await blobs.put("uploads/acme/1", b"ours")
    with pytest.raises(StepError) as failed:
        await blob_copy(blobs, unnoted)(an_attempt(), {"blob": "uploads/acme/1", "name": name})
    assert failed.value.code == "invalid_name"
    assert await keys(blobs) == ["uploads/acme/1"]


class Vanishing(Blobs):
    """Somebody deletes the blob while it is copied."""

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        async for chunk in super().read(key, start, end):
            yield chunk
            await self.delete(key)


async def test_a_blob_that_is_deleted_meanwhile_is_missing_and_leaves_no_half_copy() -> None:
    blobs = Vanishing(MemoryStore())
    await blobs.put("uploads/acme/1", os.urandom(3_000_000))
    with pytest.raises(StepError) as failed:
        await blob_copy(blobs, unnoted)(an_attempt(), {"blob": "uploads/acme/1", "name": "copy"})
    assert failed.value.code == "blob_missing"
    assert await keys(blobs) == []


async def test_a_cancelled_copy_leaves_nothing(blobs: Blobs) -> None:
    await blobs.put("uploads/acme/1", os.urandom(8 << 20))
    begun = asyncio.Event()

    def report(done: float, says: str | None) -> None:
        begun.set()

    parameters: dict[str, Any] = {"blob": "uploads/acme/1", "name": "copy"}
    copying = asyncio.ensure_future(blob_copy(blobs, unnoted)(an_attempt(report=report), parameters))
    await begun.wait()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert await keys(blobs) == ["uploads/acme/1"]


async def test_a_large_blob_is_copied_in_little_memory(tmp_path: Path) -> None:
    blobs = open_blobs(str(tmp_path))
    async with blobs.writing("uploads/acme/1") as blob:
        for _ in range(64):
            await blob.write(bytes(1 << 20))
    tracemalloc.start()
    await blob_copy(blobs, unnoted)(an_attempt(), {"blob": "uploads/acme/1", "name": "copy"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
