"""tus-js-client, as npm has it, in Node: its files come through the gateway of the real system, over a bad network."""

import asyncio
import itertools
import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fixtures.tus_clients import EVERYTHING, LENGTH, ODD_NAME, Receiver, SendByTus
from fixtures.way import Fate

pytestmark = pytest.mark.timeout(600)  # the first time, Node is fetched

KILOBYTE = 1 << 10
MEGABYTE = 1 << 20
PATIENT = [20] * 500  # milliseconds until it tries again
HEADS = 8 * KILOBYTE  # what the requests of an upload have beside their bodies, and more


@dataclass(frozen=True, slots=True)
class Storage:
    """Where clients remember from one process to the next what they have begun."""

    path: Path

    @property
    def wish(self) -> dict[str, Any]:
        return {"storage": str(self.path)}

    @property
    def remembers(self) -> bool:
        return self.path.exists() and bool(json.loads(self.path.read_text()))

    def urls_of_parts(self) -> list[str]:
        (remembered,) = json.loads(self.path.read_text()).values()
        return list(remembered["parallelUploadUrls"])

    def copy(self, name: str) -> "Storage":
        return Storage(Path(shutil.copy(self.path, self.path.with_name(name))))

    def replace(self, remembered: str, other: str) -> None:
        self.path.write_text(self.path.read_text().replace(remembered, other))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "urls.json")


@pytest.mark.parametrize("source", ["file", "buffer"])
async def test_a_file_comes_in_chunks(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, source: str
) -> None:
    metadata = {"filename": "people.csv", "filetype": "text/csv"}
    told = await tus_js(path, source=source, chunkSize=MEGABYTE, metadata=metadata)
    assert (told.event, told.requests) == ("done", ["POST 201", *["PATCH 204"] * 4])
    upload = await receiver.has_once(told.upload, content)
    assert (upload["filename"], upload["content_type"], upload["job_id"]) == ("people.csv", "text/csv", told.job)


async def test_a_file_comes_with_its_creation(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes
) -> None:
    told = await tus_js(path, uploadDataDuringCreation=True)
    assert (told.event, told.requests) == ("done", ["POST 201"])
    assert told.job is not None
    await receiver.has_once(told.upload, content)


async def test_a_file_comes_from_where_only_post_is_allowed(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes
) -> None:
    told = await tus_js(path, overridePatchMethod=True, chunkSize=2 * MEGABYTE)
    assert (told.event, told.requests) == ("done", ["POST 201", "POST 204", "POST 204"])
    await receiver.has_once(told.upload, content)


@pytest.mark.parametrize("endpoint", ["/files/", "/api/v1/files", "/api/v1/files/"])
async def test_a_file_comes_by_any_name_of_the_endpoint(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, endpoint: str
) -> None:
    told = await tus_js(path, endpoint=f"{receiver.way.url}{endpoint}")
    assert (told.event, told.requests) == ("done", ["POST 201", "PATCH 204"]), told.said
    await receiver.has_once(told.upload, content)


@pytest.mark.parametrize(("length", "status"), [(0, 422), (11 << 30, 413)], ids=["empty", "too large"])
async def test_a_file_that_cannot_be_is_refused_before_it_is_sent(
    receiver: Receiver, tus_js: SendByTus, tmp_path: Path, length: int, status: int
) -> None:
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(length)
    told = await tus_js(tmp_path / "sparse", retryDelays=PATIENT)
    assert (told.event, told.requests) == ("failed", [f"POST {status}"])
    assert receiver.way.sent < HEADS


async def test_a_file_that_was_paused_goes_on_in_another_process(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage
) -> None:
    paused = await tus_js(path, wish={**storage.wish, "pauseAt": MEGABYTE}, chunkSize=MEGABYTE // 2)
    assert paused.event == "paused"
    status, offset = await receiver.look(paused.url)
    assert (status, offset) == (200, MEGABYTE)
    receiver.way.sent = 0
    told = await tus_js(path, wish=storage.wish, chunkSize=MEGABYTE // 2)
    assert (told.event, told.url, told.requests[0]) == ("done", paused.url, "HEAD 200")
    assert receiver.way.sent < len(content) - MEGABYTE + HEADS, "nothing below the offset is sent again"
    await receiver.has_once(told.upload, content)


@pytest.mark.parametrize("unnoticed", [False, True], ids=["noticed", "unnoticed"])
async def test_a_file_whose_connection_is_cut_goes_on_in_another_process(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage, unnoticed: bool
) -> None:
    receiver.way.fates = itertools.repeat(Fate(sent=2 * MEGABYTE, unnoticed=unnoticed))
    cut = await tus_js(path, wish=storage.wish)
    assert (cut.event, cut.requests) == ("failed", ["POST 201"])
    _, offset = await receiver.look(cut.url)
    assert offset is not None
    assert MEGABYTE < offset < 2 * MEGABYTE
    await receiver.way.mend()
    told = await tus_js(path, wish=storage.wish)
    assert (told.event, told.url, told.requests) == ("done", cut.url, ["HEAD 200", "PATCH 204"])
    assert receiver.way.sent < len(content) - offset + HEADS, "nothing below the offset is sent again"
    await receiver.has_once(told.upload, content)


async def test_parts_come_side_by_side_and_become_one(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes
) -> None:
    before = await receiver.uploads()
    told = await tus_js(path, parallelUploads=3, chunkSize=MEGABYTE // 2, metadata={"filename": "people.csv"})
    assert (told.event, told.requests[-1]) == ("done", "POST 201")
    assert sorted(told.requests) == sorted([*["POST 201"] * 4, *["PATCH 204"] * 9])
    upload = await receiver.has_once(told.upload, content)
    assert upload["filename"] == "people.csv"
    assert await receiver.uploads() - before == {told.upload}, "a part is none"


@pytest.mark.parametrize("length", [2])
async def test_a_file_may_have_more_parts_than_bytes(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes
) -> None:
    told = await tus_js(path, source="buffer", parallelUploads=4)
    assert told.event == "done", told.problem
    await receiver.has_once(told.upload, content)


async def cut_in_parts(receiver: Receiver, tus_js: SendByTus, path: Path, storage: Storage) -> None:
    """The client remembers the parts when it has a place for each: until then it begins anew."""
    receiver.way.fates = itertools.repeat(Fate(sent=600 * KILOBYTE))
    while not storage.remembers:
        assert (await tus_js(path, wish=storage.wish, parallelUploads=3)).event == "failed"


async def test_parts_that_were_cut_go_on_in_another_process(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage
) -> None:
    await cut_in_parts(receiver, tus_js, path, storage)
    looked = [await receiver.look(url) for url in storage.urls_of_parts()]
    offsets = [offset or 0 for _, offset in looked]
    assert len(offsets) == 3
    assert max(offsets) > 0
    await receiver.way.mend()
    told = await tus_js(path, wish=storage.wish, parallelUploads=3)
    assert told.event == "done", told.problem
    assert sorted(told.requests) == sorted([*["HEAD 200"] * 3, *["PATCH 204"] * 3, "POST 201"])
    assert receiver.way.sent < len(content) - sum(offsets) + HEADS, "nothing below the offset is sent again"
    await receiver.has_once(told.upload, content)


async def test_two_who_send_the_same_parts_get_the_same_upload(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage
) -> None:
    before = await receiver.uploads()
    await cut_in_parts(receiver, tus_js, path, storage)
    await receiver.way.mend()
    remembered = [storage.copy(f"{number}.json") for number in range(2)]
    sending = (tus_js(path, wish=each.wish, parallelUploads=3, retryDelays=PATIENT) for each in remembered)
    both = await asyncio.gather(*sending)
    assert [told.event for told in both] == ["done", "done"]
    assert {told.upload for told in both} == await receiver.uploads() - before
    await receiver.has_once(both[0].upload, content)


async def test_parts_of_an_upload_that_was_deleted_are_sent_anew(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage
) -> None:
    first = await tus_js(path, wish=storage.wish, parallelUploads=2)
    again = await tus_js(path, wish=storage.wish, parallelUploads=2)
    assert (again.upload, again.requests) == (first.upload, ["HEAD 200", "HEAD 200", "POST 201"])
    await receiver.delete(f"/uploads/{first.upload}")
    told = await tus_js(path, wish=storage.wish, parallelUploads=2)
    assert told.event == "done", told.problem
    assert told.requests.count("HEAD 410") == told.requests.count("PATCH 204") == 2
    assert told.upload != first.upload
    await receiver.has_once(told.upload, content)


# Of whole chunks, tus-js-client itself finds no end: https://github.com/tus/tus-js-client/issues/779
@pytest.mark.parametrize("length", [LENGTH, 17])
async def test_a_stream_tells_its_length_in_the_end(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes
) -> None:
    told = await tus_js(path, source="stream", chunkSize=MEGABYTE, uploadLengthDeferred=True)
    assert told.event == "done", told.problem
    await receiver.has_once(told.upload, content)


async def test_metadata_has_every_character(receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes) -> None:
    metadata = {"filename": ODD_NAME, "filetype": "", "empty": "", "everything": EVERYTHING, "long": "ü" * 2_000}
    told = await tus_js(path, metadata=metadata)
    assert told.event == "done", told.problem
    upload = await receiver.has_once(told.upload, content)
    assert (upload["filename"], upload["content_type"]) == (ODD_NAME, None)
    assert await receiver.metadata_of(told.url) == metadata


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"filename": "two\nlines.csv"}, "control_characters"),
        ({"filename": "x" * 256}, "too_long"),
        ({"filename": "\0"}, "control_characters"),
        ({"long": "x" * 7_000}, "too_long"),
        ({"two words": "x"}, "base64"),
        ({"schlüssel": "x"}, "key"),
        ({"options": "[]"}, "json_object"),
        ({"workflow": "no such"}, "pattern"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
async def test_metadata_that_cannot_be_is_refused_with_its_place(
    receiver: Receiver, tus_js: SendByTus, path: Path, metadata: dict[str, str], code: str
) -> None:
    before = await receiver.uploads()
    told = await tus_js(path, metadata=metadata, retryDelays=PATIENT)
    assert (told.event, told.requests) == ("failed", ["POST 422"])
    (error,) = json.loads(told.problem or "")["errors"]
    assert error["code"] == code
    assert error["field"].startswith("header.upload-metadata")
    assert await receiver.uploads() == before


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_chunk_that_was_damaged_does_not_count(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage, algorithm: str
) -> None:
    checked = {**storage.wish, "checksum": algorithm}
    receiver.way.fates = itertools.repeat(Fate(damaged=MEGABYTE + MEGABYTE // 2))
    failed = await tus_js(path, wish=checked, chunkSize=MEGABYTE)
    assert (failed.event, failed.status) == ("failed", 460)
    assert json.loads(failed.problem or "")["code"] == "checksum_mismatch"
    assert await receiver.look(failed.url) == (200, MEGABYTE), "only the first chunk does"
    await receiver.way.mend()
    told = await tus_js(path, wish=checked, chunkSize=MEGABYTE)
    assert (told.event, told.requests) == ("done", ["HEAD 200", *["PATCH 204"] * 3])
    await receiver.has_once(told.upload, content)


async def test_a_file_is_given_up(receiver: Receiver, tus_js: SendByTus, path: Path) -> None:
    before = await receiver.uploads()
    told = await tus_js(path, wish={"terminateAt": MEGABYTE}, chunkSize=MEGABYTE)
    assert (told.event, told.requests[-1]) == ("terminated", "DELETE 204")
    assert await receiver.look(told.url) == (410, None)
    await receiver.until_nothing_is_left()
    assert await receiver.uploads() == before


@pytest.mark.parametrize("status", [404, 410])
async def test_a_file_that_is_gone_is_sent_anew(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, storage: Storage, status: int
) -> None:
    paused = await tus_js(path, wish={**storage.wish, "pauseAt": MEGABYTE}, chunkSize=MEGABYTE)
    begun = paused.url.rpartition("/")[2]
    if status == 410:
        await receiver.execute("UPDATE ingest.files SET expires_at = now() WHERE id = $1", uuid.UUID(begun))
    else:
        storage.replace(begun, str(uuid.uuid4()))
    told = await tus_js(path, wish=storage.wish, chunkSize=2 * MEGABYTE)
    assert (told.event, told.requests) == ("done", [f"HEAD {status}", "POST 201", "PATCH 204", "PATCH 204"])
    assert told.url != paused.url
    await receiver.has_once(told.upload, content)


@pytest.mark.parametrize("chunks", [(300 * KILOBYTE, 400 * KILOBYTE), (LENGTH, LENGTH)], ids=["chunks", "one go"])
async def test_two_who_send_the_same_file_both_come_to_its_end(
    receiver: Receiver, tus_js: SendByTus, path: Path, content: bytes, chunks: tuple[int, int]
) -> None:
    before = await receiver.uploads()
    begun = await tus_js(path, wish={"pauseAt": 1}, chunkSize=100 * KILOBYTE)
    sending = (tus_js(path, uploadUrl=begun.url, chunkSize=chunk, retryDelays=PATIENT) for chunk in chunks)
    both = await asyncio.gather(*sending)
    assert [told.event for told in both] == ["done", "done"]
    assert {told.upload for told in both} == await receiver.uploads() - before
    await receiver.has_once(both[0].upload, content)
