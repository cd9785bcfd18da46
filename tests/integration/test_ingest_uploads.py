"""Uploads over a real socket, with a real database: what is promised, and what can be read back."""

import asyncio
import hashlib
import json

import aiohttp

from events.broker.broker import Queue
from events.envelope import decode_event
from fixtures.ingest import CSV, READER, STRANGER, RunningIngest


async def test_an_upload_becomes_a_blob_a_row_and_one_event(ingest: RunningIngest) -> None:
    answer = await ingest.ask("POST", '/api/v1/uploads?workflow=csv-profile&options={"a":1}&filename=p.csv', body=CSV)

    accepted = answer.json
    assert answer.status == 202
    assert answer.headers["Location"] == f"/api/v1/jobs/{accepted['job_id']}"
    assert accepted["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert accepted["bytes"] == len(CSV)
    assert accepted["channel"] == f"job:{accepted['job_id']}"
    assert ingest.files() == [f"uploads/acme/{accepted['upload_id']}"]
    assert await ingest.count("ingest.loose_blobs") == 0
    async with ingest.parts.broker.consume(Queue.INTAKE, prefetch=1) as deliveries:
        event = decode_event((await anext(deliveries)).message.body)
    said = json.loads(bytes(event.data))
    assert (event.type, event.tenant) == ("upload.completed", "acme")
    assert said["job_id"] == accepted["job_id"]
    assert (said["workflow"], said["options"], said["filename"]) == ("csv-profile", {"a": 1}, "p.csv")


async def test_the_promised_streams_exist_before_their_first_event(ingest: RunningIngest) -> None:
    _, accepted = await ingest.post()
    for stream in (f"job:{accepted['job_id']}", f"upload:{accepted['upload_id']}"):
        where = f"events.streams WHERE tenant = 'acme' AND stream = '{stream}' AND version = 0"
        assert await ingest.count(where) == 1


async def test_a_multipart_file_is_stored_without_its_wrapping(ingest: RunningIngest) -> None:
    content = b"\r\n--not the boundary\r\n".join(b"%d" % n for n in range(3000))
    form = aiohttp.FormData()
    form.add_field("file", content, filename="people.csv", content_type="text/csv")
    status, accepted = await ingest.post(form)
    assert status == 202
    assert accepted["sha256"] == hashlib.sha256(content).hexdigest()
    upload = (await ingest.get(f"/api/v1/uploads/{accepted['upload_id']}")).json
    assert (upload["filename"], upload["content_type"]) == ("people.csv", "text/csv")


async def test_the_same_idempotency_key_and_body_get_the_first_answer(ingest: RunningIngest) -> None:
    key = {"Idempotency-Key": "k-1"}
    first, again = await ingest.post(headers=key), await ingest.post(headers=key)
    assert first == again
    assert first[0] == 202
    assert len(ingest.files()) == await ingest.count("ingest.outbox") == 1

    for other in ({"body": CSV + b"bob,2\n"}, {"query": '?options={"a":1}'}, {"query": "?filename=other.csv"}):
        status, problem = await ingest.post(headers=key, **other)
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
        assert problem["errors"][0]["field"] == "header.idempotency-key"
    assert len(ingest.files()) == 1
    assert await ingest.count("ingest.loose_blobs") == 0


async def test_tenants_do_not_share_idempotency_keys(ingest: RunningIngest) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = await ingest.post(headers=key)
    other = await ingest.post(principal=STRANGER, headers=key)
    assert first[0] == other[0] == 202
    assert first[1]["upload_id"] != other[1]["upload_id"]


async def test_simultaneous_repetitions_make_one_upload(ingest: RunningIngest) -> None:
    answers = await asyncio.gather(*(ingest.post(headers={"Idempotency-Key": "k-2"}) for _ in range(8)))
    assert {status for status, _ in answers} == {202}
    assert len({accepted["upload_id"] for _, accepted in answers}) == 1
    assert len(ingest.files()) == 1


async def test_content_is_read_back_whole_and_in_ranges(ingest: RunningIngest) -> None:
    content = bytes(range(256)) * 300
    _, accepted = await ingest.post(content, query="?filename=a%20b%22.csv")
    path = f"/api/v1/uploads/{accepted['upload_id']}/content"

    whole = await ingest.get(path, principal=READER)
    assert (whole.status, whole.body) == (200, content)
    assert whole.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20b%22.csv"
    for asked, expected in {"5-7": content[5:8], "-4": content[-4:], "9-": content[9:], "0-999999": content}.items():
        part = await ingest.get(path, headers={"Range": f"bytes={asked}"})
        assert (part.status, part.body) == (206, expected), asked
    assert (await ingest.get(path, headers={"Range": "bytes=5-7"})).headers[
        "Content-Range"
    ] == f"bytes 5-7/{len(content)}"


async def test_a_range_of_what_the_client_does_not_have_is_all_of_it(ingest: RunningIngest) -> None:
    _, accepted = await ingest.post()
    path = f"/api/v1/uploads/{accepted['upload_id']}/content"
    etag = (await ingest.get(path)).headers["ETag"]
    for known, status in ((etag, 206), ('"another"', 200), (f"W/{etag}", 200), ("Sat, 21 Nov 2026 02:23:27 GMT", 200)):
        answer = await ingest.get(path, headers={"Range": "bytes=0-3", "If-Range": known})
        assert (answer.status, answer.body) == (status, CSV[:4] if status == 206 else CSV), known


async def test_a_range_behind_the_end_is_refused_and_what_is_no_range_is_ignored(ingest: RunningIngest) -> None:
    _, accepted = await ingest.post()
    path = f"/api/v1/uploads/{accepted['upload_id']}/content"
    for asked in ("bytes=99-", "bytes=-0", f"bytes={'9' * 19}-"):
        answer = await ingest.get(path, headers={"Range": asked})
        assert (answer.status, answer.json["code"]) == (416, "range_not_satisfiable"), asked
        assert answer.headers["Content-Range"] == f"bytes */{len(CSV)}"
    for asked in ("lines=1-2", "bytes=3-1", "bytes=-", "bytes=0-1,3-4", f"bytes={'9' * 5000}-"):
        answer = await ingest.get(path, headers={"Range": asked})
        assert (answer.status, answer.body) == (200, CSV), asked


async def test_a_reader_that_has_it_already_is_told_so(ingest: RunningIngest) -> None:
    _, accepted = await ingest.post()
    path = f"/api/v1/uploads/{accepted['upload_id']}"
    for read in ("/api/v1/uploads", path, f"{path}/content"):
        etag = (await ingest.get(read)).headers["ETag"]
        again = await ingest.get(read, headers={"If-None-Match": f'"other", W/{etag.removeprefix("W/")}'})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag), read
        assert (await ingest.get(read, headers={"If-None-Match": '"other"'})).status == 200


async def test_a_deleted_upload_is_gone_with_its_bytes_and_not_unknown(ingest: RunningIngest) -> None:
    _, accepted = await ingest.post()
    path = f"/api/v1/uploads/{accepted['upload_id']}"
    assert (await ingest.ask("DELETE", path, principal=READER)).status == 403
    assert (await ingest.ask("DELETE", path)).status == 204
    assert ingest.files() == []
    assert await ingest.count("ingest.loose_blobs") == 0
    assert (await ingest.ask("DELETE", path)).status == 204
    assert (await ingest.get(path)).status == (await ingest.get(f"{path}/content")).status == 410
    assert (await ingest.get("/api/v1/uploads")).json["items"] == []


async def test_an_upload_that_is_deleted_after_we_have_read_its_row_is_gone_and_not_broken_off(
    ingest: RunningIngest,
) -> None:
    _, accepted = await ingest.post()
    (ingest.blobs / "uploads/acme" / accepted["upload_id"]).unlink()
    answer = await ingest.get(f"/api/v1/uploads/{accepted['upload_id']}/content")
    assert (answer.status, answer.json["code"]) == (410, "gone")


async def test_lists_are_paged_newest_first(ingest: RunningIngest) -> None:
    ids = [(await ingest.post())[1]["upload_id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await ingest.get(f"/api/v1/uploads?limit=2{cursor}", principal=READER)).json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert seen == ids[::-1]
