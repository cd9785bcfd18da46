"""Uppy, as npm has it, in a page of another origin: what a browser lets it send and see through the gateway."""

from pathlib import Path

import pytest

from fixtures.tus_clients import ODD_NAME, Receiver, SendByTus

pytestmark = pytest.mark.timeout(600)  # the first time, Node is fetched

MEGABYTE = 1 << 20


async def test_a_page_sends_a_file_in_chunks(receiver: Receiver, uppy: SendByTus, path: Path, content: bytes) -> None:
    told = await uppy(path, wish={"name": ODD_NAME, "meta": {"note": None, "by": "Ada"}}, chunkSize=MEGABYTE)
    assert (told.event, told.requests) == ("done", ["POST 201", *["PATCH 204"] * 4])
    upload = await receiver.has_once(told.upload, content)
    assert (upload["filename"], upload["content_type"], upload["job_id"]) == (ODD_NAME, "text/csv", told.job)
    named = {"name": ODD_NAME, "filename": ODD_NAME, "type": "text/csv", "filetype": "text/csv"}
    assert await receiver.metadata_of(told.url) == {**named, "note": "null", "by": "Ada"}


async def test_a_page_pauses_and_goes_on(receiver: Receiver, uppy: SendByTus, path: Path, content: bytes) -> None:
    told = await uppy(path, wish={"pauseAt": MEGABYTE}, chunkSize=MEGABYTE)
    assert (told.event, "HEAD 200" in told.requests) == ("done", True)
    await receiver.has_once(told.upload, content)


async def test_a_page_sends_parts_side_by_side(receiver: Receiver, uppy: SendByTus, path: Path, content: bytes) -> None:
    told = await uppy(path, parallelUploads=3)
    assert (told.event, sorted(told.requests)) == ("done", sorted(["POST 201"] * 4 + ["PATCH 204"] * 3))
    await receiver.has_once(told.upload, content)


async def test_a_page_sends_every_header_that_the_client_knows(
    receiver: Receiver, uppy: SendByTus, path: Path, content: bytes
) -> None:
    unusual = {"overridePatchMethod": True, "addRequestId": True, "uploadDataDuringCreation": True}
    told = await uppy(path, endpoint=f"{receiver.endpoint}/", chunkSize=2 * MEGABYTE, **unusual)
    assert (told.event, told.requests) == ("done", ["POST 201", "POST 204"])
    await receiver.has_once(told.upload, content)


async def test_a_page_gives_a_file_up(receiver: Receiver, uppy: SendByTus, path: Path) -> None:
    before = await receiver.uploads()
    told = await uppy(path, wish={"cancelAt": MEGABYTE}, chunkSize=MEGABYTE)
    assert (told.event, told.requests[-1]) == ("terminated", "DELETE 204")
    await receiver.until_nothing_is_left()
    assert await receiver.uploads() == before


async def test_a_page_of_nobody_we_know_sends_nothing(receiver: Receiver, uppy: SendByTus, path: Path) -> None:
    before = await receiver.execute("SELECT id FROM ingest.files")
    told = await uppy(path, page="https://evil.example.org", retryDelays=[])
    assert (told.event, told.requests, told.status) == ("failed", [], None)
    assert await receiver.execute("SELECT id FROM ingest.files") == before
