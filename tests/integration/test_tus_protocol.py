"""The tus protocol over real sockets, with a real database: what its text promises, line by line."""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import AsyncIterator

import pytest

from events.broker.broker import Queue
from events.envelope import decode_event
from fixtures.ingest import CSV, LIMIT, READER, STRANGER, RunningIngest, until
from fixtures.tus import BYTES, VERSION, Tus, metadata

FILES = "/api/v1/files"


async def test_a_file_that_comes_in_pieces_becomes_one_upload_and_one_event(ingest: RunningIngest, tus: Tus) -> None:
    content = os.urandom(70_001)
    said = metadata(filename="p.csv", filetype="text/csv;charset=utf-8", workflow="csv-profile", options='{"a":1}')
    path = await tus.created(len(content), said)
    for begin in range(0, len(content), 30_000):
        assert await tus.offset(path) == begin
        last = await tus.patch(path, begin, content[begin : begin + 30_000])
        assert (last.status, last.headers["Upload-Offset"]) == (204, str(min(len(content), begin + 30_000)))

    upload_id = last.headers["Upload-Id"]
    assert path == f"{FILES}/{upload_id}"
    upload = (await ingest.get(f"/api/v1/uploads/{upload_id}")).json
    assert upload["sha256"] == hashlib.sha256(content).hexdigest()
    assert upload["job_id"] == last.headers["Millrace-Job-Id"]
    assert (upload["filename"], upload["content_type"], upload["options"]) == ("p.csv", "text/csv", {"a": 1})
    assert (await ingest.get(f"/api/v1/uploads/{upload_id}/content")).body == content
    assert ingest.files() == [f"uploads/acme/{upload_id}"]
    assert [await ingest.count(f"ingest.{table}") for table in ("segments", "loose_blobs", "outbox")] == [0, 0, 1]
    async with ingest.parts.broker.consume(Queue.INTAKE, prefetch=1) as deliveries:
        event = decode_event((await anext(deliveries)).message.body)
    assert (event.type, json.loads(bytes(event.data))["job_id"]) == ("upload.completed", upload["job_id"])


async def test_a_file_in_one_piece_is_moved_and_not_copied(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(len(CSV))
    answer = await tus.patch(path, 0, CSV)
    assert answer.status == 204
    assert ingest.files() == [f"uploads/acme/{answer.headers['Upload-Id']}"]


async def test_the_server_says_what_it_can_without_a_credential(ingest: RunningIngest) -> None:
    for path in (FILES, f"{FILES}/x"):
        answer = await ingest.ask("OPTIONS", path, principal=None)
        assert (answer.status, answer.headers["Tus-Version"], answer.headers["Tus-Resumable"]) == (
            204,
            "1.0.0",
            "1.0.0",
        )
        assert answer.headers["Tus-Max-Size"] == str(LIMIT)
        assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
        assert "creation-with-upload" in answer.headers["Tus-Extension"].split(",")


async def test_another_version_is_refused_everywhere_before_anything_is_done(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(5)
    for method, target in (("POST", FILES), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        for version in ({}, {"Tus-Resumable": "0.2.2"}):
            answer = await ingest.ask(method, target, headers={"Upload-Length": "5", "Upload-Offset": "0", **version})
            assert (answer.status, answer.headers["Tus-Version"]) == (412, "1.0.0"), (method, version)
            assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert await ingest.count("ingest.files") == 1
    assert await tus.offset(path) == 0


async def test_what_is_known_of_a_file_is_told(tus: Tus) -> None:
    said = {"Upload-Metadata": f"filename {base64.b64encode('ä.csv'.encode()).decode()},is_confidential,empty "}
    path = await tus.created(10, said)
    head = (await tus.head(path)).headers
    assert (head["Upload-Length"], head["Upload-Offset"], head["Cache-Control"]) == ("10", "0", "no-store")
    assert head["Upload-Metadata"] == said["Upload-Metadata"].strip()
    assert head["Upload-Expires"].endswith(" GMT")
    assert "Upload-Defer-Length" not in head
    patched = (await tus.patch(path, 0, b"x" * 4)).headers
    assert (patched["Upload-Offset"], "Upload-Expires" in patched) == ("4", True)


async def test_what_does_not_follow_on_is_refused_and_changes_nothing(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(10)
    assert (await tus.patch(path, 0, b"12345")).status == 204
    for refused, status, code in (
        (await tus.patch(path, 4, b"x"), 409, "conflict"),
        (await tus.patch(path, 6, b"x"), 409, "conflict"),
        (await tus.patch(path, 5, b"x" * 6), 413, "too_large"),
        (await tus.patch(path, 5, b"x", {"Content-Type": "text/csv"}), 415, "unsupported_media_type"),
        (await tus.patch(path, 5, b"x", {"Content-Encoding": "gzip"}), 415, "unsupported_media_type"),
        (await tus.ask("PATCH", path, BYTES, b"x"), 400, "bad_request"),
        (await tus.patch(path, 5, b"x", {"Upload-Offset": "-1"}), 400, "bad_request"),
        (await tus.patch(path, 5, b"x", {"Upload-Length": "11"}), 400, "bad_request"),
    ):
        assert (refused.status, refused.json["code"]) == (status, code)
        assert refused.headers["Tus-Resumable"] == "1.0.0"
    assert await tus.offset(path) == 5
    assert await ingest.count("ingest.segments") == 1
    assert (await tus.patch(path, 5, b"67890")).status == 204
    assert (await tus.patch(path, 10)).status == 204, "said again, since the answer was lost"
    assert (await tus.patch(path, 5, b"67890")).status == 409


async def test_a_chunked_body_beyond_the_length_is_refused_and_completes_nothing(tus: Tus) -> None:
    path = await tus.created(10)
    answer = await tus.patch(path, 0, pieces(b"x" * 6, b"x" * 6))
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    stored = await tus.offset(path)
    assert stored in (0, 6), "with the second piece or without it, but never cut"
    assert (await tus.patch(path, stored, pieces(b"x" * (10 - stored)))).headers["Upload-Offset"] == "10"


async def test_a_length_that_is_deferred_is_said_once(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(None)
    assert (await tus.head(path)).headers["Upload-Defer-Length"] == "1"
    assert (await tus.patch(path, 0, pieces(b"12345"))).headers["Upload-Defer-Length"] == "1"
    for length, status in (("4", 400), (str(LIMIT + 1), 413)):
        assert (await tus.patch(path, 5, headers={"Upload-Length": length})).status == status
    known = await tus.patch(path, 5, b"67", {"Upload-Length": "9"})
    assert (known.status, known.headers["Upload-Length"], "Upload-Defer-Length" in known.headers) == (204, "9", False)
    assert (await tus.patch(path, 7, b"89", {"Upload-Length": "10"})).status == 400
    assert (await tus.patch(path, 7, b"89", {"Upload-Length": "9"})).status == 204
    upload_id = path.rpartition("/")[2]
    assert (await ingest.get(f"/api/v1/uploads/{upload_id}/content")).body == b"123456789"


async def test_the_length_of_what_is_there_already_completes_it(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(None)
    await tus.patch(path, 0, b"12345")
    answer = await tus.patch(path, 5, headers={"Upload-Length": "5"})
    assert (answer.status, await ingest.count("ingest.uploads")) == (204, 1)
    assert answer.headers["Millrace-Job-Id"]


async def test_bytes_may_come_with_the_creation(ingest: RunningIngest, tus: Tus) -> None:
    answer = await tus.create(10, body=b"12345")
    assert (answer.status, answer.headers["Upload-Offset"]) == (201, "5")
    rest = await tus.patch(answer.headers["Location"], 5, b"67890")
    whole = await tus.create(5, body=b"12345")
    assert rest.headers["Millrace-Job-Id"] != whole.headers["Millrace-Job-Id"]
    assert await ingest.count("ingest.uploads") == 2


async def test_a_creation_whose_bytes_are_refused_leaves_nothing(ingest: RunningIngest, tus: Tus) -> None:
    wrong = "sha1 " + base64.b64encode(hashlib.sha1(b"other").digest()).decode()
    for headers, status in (
        ({"Content-Type": "text/csv"}, 415),
        ({"Upload-Checksum": wrong}, 460),
        ({"Upload-Length": "4"}, 413),
    ):
        assert (await tus.create(10, headers, body=b"12345")).status == status
    assert await ingest.count("ingest.files WHERE deleted_at IS NULL") == 0
    assert await ingest.count("ingest.segments") == 0
    assert ingest.files() == []


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
async def test_a_body_with_a_checksum_counts_only_when_it_is_right(
    ingest: RunningIngest, tus: Tus, algorithm: str
) -> None:
    def checksum(content: bytes) -> dict[str, str]:
        digest = hashlib.new(algorithm, content).digest()
        return {"Upload-Checksum": f"{algorithm} {base64.b64encode(digest).decode()}"}

    path = await tus.created(10)
    wrong = await tus.patch(path, 0, b"12345", checksum(b"1234x"))
    assert (wrong.status, wrong.json["code"]) == (460, "checksum_mismatch")
    assert (await tus.offset(path), await ingest.count("ingest.segments"), ingest.files()) == (0, 0, [])
    assert (await tus.patch(path, 0, b"12345", checksum(b"12345"))).headers["Upload-Offset"] == "5"
    assert (await tus.patch(path, 5, b"67890", checksum(b"67890"))).headers["Upload-Offset"] == "10"
    upload = (await ingest.get(f"/api/v1/uploads/{path.rpartition('/')[2]}")).json
    assert upload["sha256"] == hashlib.sha256(b"1234567890").hexdigest()


@pytest.mark.parametrize(
    "value", ["", "md5 1B2M2Y8AsgTpgAmY7PhCfg==", "sha1", "sha1 x", "sha1 aGVsbG8=", "SHA1 aGVsbG8="]
)
async def test_a_checksum_that_says_nothing_is_refused(tus: Tus, value: str) -> None:
    path = await tus.created(10)
    answer = await tus.patch(path, 0, b"12345", {"Upload-Checksum": value})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "header.upload-checksum")
    assert await tus.offset(path) == 0


async def test_half_a_body_with_a_checksum_is_none(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(10)
    digest = base64.b64encode(hashlib.sha256(b"12345").digest()).decode()
    await break_off(ingest, path, b"123", f"Upload-Checksum: sha256 {digest}")
    assert (await tus.offset(path), await ingest.count("ingest.segments")) == (0, 0)


async def test_what_came_before_a_client_left_is_kept(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(10)
    await break_off(ingest, path, b"123")
    assert await tus.offset(path) == 3
    await tus.patch(path, 3, b"4567890")
    assert (await ingest.get(f"/api/v1/uploads/{path.rpartition('/')[2]}/content")).body == b"1234567890"


async def test_a_client_that_stops_sending_loses_nothing_either(tus: Tus) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"12345"
        await asyncio.Event().wait()

    path = await tus.created(10)
    answer = await tus.patch(path, 0, stalling())
    assert (answer.status, answer.json["code"]) == (408, "request_timeout")
    assert await tus.offset(path) == 5


async def test_a_file_is_ended_by_its_client_whole_or_not(ingest: RunningIngest, tus: Tus) -> None:
    unfinished, whole = await tus.created(10), (await tus.create(5, body=b"12345")).headers["Location"]
    await tus.patch(unfinished, 0, b"123")
    for path in (unfinished, whole):
        assert (await tus.ask("DELETE", path)).status == 204
        assert (await tus.head(path)).status == (await tus.patch(path, 0, b"x")).status == 410
        assert (await tus.ask("DELETE", path)).status == 410
    assert (ingest.files(), await ingest.count("ingest.segments")) == ([], 0)
    assert (await ingest.get(f"/api/v1/uploads/{whole.rpartition('/')[2]}")).status == 410


async def test_deleting_the_upload_ends_the_file(ingest: RunningIngest, tus: Tus) -> None:
    path = (await tus.create(5, body=b"12345")).headers["Location"]
    assert (await ingest.ask("DELETE", path.replace("files", "uploads"))).status == 204
    assert (await tus.head(path)).status == 410


async def test_methods_that_cannot_be_sent_are_named_in_a_header(tus: Tus) -> None:
    path = await tus.created(10)
    patch = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", **BYTES}
    assert (await tus.ask("POST", path, patch, b"12345")).headers["Upload-Offset"] == "5"
    head = await tus.ask("POST", path, {"X-HTTP-Method-Override": "HEAD"})
    assert (head.status, head.headers["Upload-Offset"], head.body) == (200, "5", b"")
    assert (await tus.ask("POST", path, {"X-HTTP-Method-Override": "DELETE"})).status == 204
    assert (await tus.head(path)).status == 410


async def test_other_tenants_and_readers_learn_and_change_nothing(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(10)
    unknown = f"{FILES}/01a1fbea-6e13-7d45-ac0a-768cee331159"
    stranger, reader = Tus(ingest, STRANGER), Tus(ingest, READER)
    for client, target, status in ((stranger, path, 404), (stranger, unknown, 404), (reader, path, 403)):
        assert (await client.head(target)).status == status
        assert (await client.patch(target, 0, b"x")).status == status
        assert (await client.ask("DELETE", target)).status == status
    assert (await reader.create(5)).status == 403
    assert (await ingest.ask("HEAD", path, principal=None, headers=VERSION)).status == 401
    assert await tus.offset(path) == 0


async def pieces(*contents: bytes) -> AsyncIterator[bytes]:
    for content in contents:
        yield content
        await asyncio.sleep(0)


async def break_off(ingest: RunningIngest, path: str, content: bytes, *headers: str) -> None:
    """Send a part of a body, and close the connection once ingest has it."""
    head = ingest.head(
        "Tus-Resumable: 1.0.0",
        "Upload-Offset: 0",
        "Content-Length: 10",
        f"Content-Type: {BYTES['Content-Type']}",
        *headers,
    ).replace(b"POST /api/v1/uploads", f"PATCH {path}".encode())
    _, writer = await asyncio.open_connection(ingest.address.host, ingest.address.port)
    writer.write(head + content)
    await until(lambda: ingest.count("ingest.segments"))
    writer.close()
    await writer.wait_closed()


async def test_a_creation_under_a_known_key_gets_the_same_file(tus: Tus) -> None:
    key = {"Idempotency-Key": "mine"}
    first = await tus.create(10, key)
    again = await tus.create(10, key)
    assert (first.status, again.status) == (201, 201)
    assert again.headers["Location"] == first.headers["Location"]
    refused = await tus.create(11, key)
    assert (refused.status, refused.json["code"]) == (422, "idempotency_key_reused")
    await tus.patch(first.headers["Location"], 0, b"12345")
    assert (await tus.create(10, key)).headers["Upload-Offset"] == "5"
    await tus.patch(first.headers["Location"], 5, b"67890")
    done = await tus.create(10, key)
    assert (done.status, done.headers["Upload-Offset"]) == (201, "10")
    assert "Millrace-Job-Id" in done.headers
    await tus.ask("DELETE", first.headers["Location"])
    assert (await tus.create(10, key)).status == 410
    assert (await tus.create(10)).headers["Location"] != first.headers["Location"]


async def test_a_creation_with_bytes_that_comes_twice_makes_one_upload(tus: Tus) -> None:
    """Its answer was lost: the bytes that come again are where they were."""
    key = {"Idempotency-Key": "mine"}
    first = await tus.create(10, key, b"1234567890")
    again = await tus.create(10, key, b"1234567890")
    assert (first.status, again.status) == (201, 201)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Upload-Offset"] == "10"
    assert await tus.ingest.count("ingest.uploads") == 1


async def test_a_creation_that_came_to_nothing_may_be_tried_again_under_its_key(tus: Tus) -> None:
    key = {"Idempotency-Key": "mine"}
    wrong = {"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    assert (await tus.create(10, key | wrong, b"1234567890")).status == 460
    assert (await tus.create(10, key, b"1234567890")).status == 201


async def test_creations_under_one_key_at_once_make_one_file(tus: Tus) -> None:
    made = await asyncio.gather(*(tus.create(10, {"Idempotency-Key": "mine"}) for _ in range(5)))
    assert {answer.status for answer in made} <= {201, 409}
    assert len({answer.headers["Location"] for answer in made if answer.status == 201}) == 1
    assert await tus.ingest.count("ingest.files") == 1


async def test_a_browser_that_follows_the_location_sees_the_upload(tus: Tus) -> None:
    path = await tus.created(5)
    early = await tus.ingest.get(path)
    assert (early.status, early.json["code"]) == (409, "incomplete")
    await tus.patch(path, 0, b"12345")
    seen = await tus.ingest.get(path)
    assert (seen.status, seen.json) == (200, (await tus.ingest.get(path.replace("files", "uploads"))).json)
