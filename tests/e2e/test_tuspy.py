"""tuspy, as PyPI has it: its files come through the gateway of the real system, over a bad network."""

import asyncio
import itertools
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from fixtures.tus_clients import EVERYTHING, ODD_NAME, Receiver, SendByTus
from fixtures.way import HEALTHY, Fate

pytestmark = pytest.mark.timeout(600)  # the stack is started with the first of them

KILOBYTE = 1 << 10
MEGABYTE = 1 << 20
HEADS = 8 * KILOBYTE  # what the requests of an upload have beside their bodies, and more
PATIENT = {"retries": 100, "retry_delay": 0}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """Where clients remember from one process to the next what they have begun."""
    return tmp_path / "urls.json"


@pytest.mark.parametrize("by_aiohttp", [False, True], ids=["by requests", "by aiohttp"])
async def test_a_file_comes_in_chunks(
    receiver: Receiver, tuspy: SendByTus, path: Path, content: bytes, by_aiohttp: bool
) -> None:
    said: dict[str, Any] = {"metadata": {"filename": "people.csv", "filetype": "text/csv"}, "upload_checksum": True}
    told = await tuspy(path, wish={"by_aiohttp": by_aiohttp}, chunk_size=MEGABYTE, **said)
    assert told.event == "done", told.problem
    upload = await receiver.has_once(told.id, content)
    assert (upload["filename"], upload["content_type"]) == ("people.csv", "text/csv")


async def test_a_file_that_was_stopped_goes_on_in_another_process(
    receiver: Receiver, tuspy: SendByTus, path: Path, content: bytes, storage: Path
) -> None:
    remembering: dict[str, Any] = {"storage": str(storage)}
    stopped = await tuspy(path, wish={**remembering, "stop_at": MEGABYTE}, chunk_size=MEGABYTE // 2)
    assert await receiver.look(stopped.url) == (200, MEGABYTE)
    receiver.way.sent = 0
    told = await tuspy(path, wish=remembering, chunk_size=MEGABYTE // 2)
    assert (told.event, told.url, told.resumed_at) == ("done", stopped.url, MEGABYTE)
    assert receiver.way.sent < len(content) - MEGABYTE + HEADS, "nothing below the offset is sent again"
    await receiver.has_once(told.id, content)


async def test_a_file_whose_connection_is_cut_goes_on_in_another_process(
    receiver: Receiver, tuspy: SendByTus, path: Path, content: bytes
) -> None:
    receiver.way.fates = itertools.repeat(Fate(sent=2 * MEGABYTE))
    cut = await tuspy(path)
    assert (cut.event, cut.status) == ("failed", None)
    _, offset = await receiver.look(cut.url)
    assert offset is not None
    assert MEGABYTE < offset < 2 * MEGABYTE
    await receiver.way.mend()
    told = await tuspy(path, url=cut.url)
    assert (told.event, told.resumed_at) == ("done", offset)
    assert receiver.way.sent < len(content) - offset + HEADS, "nothing below the offset is sent again"
    await receiver.has_once(told.id, content)


async def test_a_chunk_that_was_damaged_does_not_count(
    receiver: Receiver, tuspy: SendByTus, path: Path, content: bytes
) -> None:
    damaging = Fate(damaged=MEGABYTE // 2)
    receiver.way.fates = itertools.repeat(damaging)
    failed = await tuspy(path, chunk_size=MEGABYTE, upload_checksum=True)
    assert (failed.event, failed.status) == ("failed", 460)
    assert json.loads(failed.problem or "")["code"] == "checksum_mismatch"
    assert await receiver.look(failed.url) == (200, 0)
    receiver.way.fates = itertools.chain([damaging] * 5, itertools.repeat(HEALTHY))  # a request has one of its own
    told = await tuspy(path, url=failed.url, chunk_size=MEGABYTE, upload_checksum=True, **PATIENT)
    assert told.event == "done", told.problem
    await receiver.has_once(told.id, content)


async def test_a_file_that_has_expired_is_told_to_be_gone(receiver: Receiver, tuspy: SendByTus, path: Path) -> None:
    stopped = await tuspy(path, wish={"stop_at": MEGABYTE}, chunk_size=MEGABYTE)
    await receiver.execute("UPDATE ingest.files SET expires_at = now() WHERE id = $1", uuid.UUID(stopped.id))
    gone = await tuspy(path, url=stopped.url)
    assert (gone.event, gone.status) == ("failed", 410)
    unknown = await tuspy(path, url=stopped.url.replace(stopped.id, str(uuid.uuid4())))
    assert (unknown.event, unknown.status) == ("failed", 404)


async def test_metadata_has_every_character(receiver: Receiver, tuspy: SendByTus, path: Path, content: bytes) -> None:
    metadata = {"filename": ODD_NAME, "filetype": "", "empty": "", "everything": EVERYTHING, "long": "ü" * 2_000}
    told = await tuspy(path, metadata=metadata)
    assert told.event == "done", told.problem
    upload = await receiver.has_once(told.id, content)
    assert upload["filename"] == ODD_NAME
    assert await receiver.metadata_of(told.url) == metadata


async def test_two_who_send_the_same_file_both_come_to_its_end(
    receiver: Receiver, tuspy: SendByTus, path: Path, content: bytes
) -> None:
    before = await receiver.uploads()
    begun = await tuspy(path, wish={"stop_at": 1}, chunk_size=1)
    both = await asyncio.gather(
        *(tuspy(path, url=begun.url, chunk_size=size * KILOBYTE, **PATIENT) for size in (300, 400))
    )
    assert [told.event for told in both] == ["done", "done"]
    assert await receiver.uploads() - before == {begun.id}
    await receiver.has_once(begun.id, content)
