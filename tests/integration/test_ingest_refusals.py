"""What ingest does not take: a clear answer that names the field, and nothing left of it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest

from events.identity import PRINCIPAL_HEADER
from fixtures.archives import gzipped
from fixtures.ingest import CSV, LIMIT, READER, UPLOADER, RunningIngest, until

FORM = {"Content-Type": "multipart/form-data; boundary=xx"}
PART = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n'
END = b"--xx--\r\n"


REFUSED_BODIES = {
    "empty": (b"", {}, "empty_upload", "body"),
    "an empty file part": (PART.replace(b"abc", b"") + END, FORM, "empty_upload", "body"),
    "no boundary": (PART, {"Content-Type": "multipart/form-data"}, "invalid_input", "header.content-type"),
    "not a media type": (CSV, {"Content-Type": "csv"}, "invalid_input", "header.content-type"),
    "another boundary": (PART.replace(b"--xx", b"--yy") + b"--yy--\r\n", FORM, "invalid_input", "body"),
    "no end": (PART, FORM, "invalid_input", "body"),
    "no part": (END, FORM, "invalid_input", "body.file"),
    "two files": (PART + PART + END, FORM, "invalid_input", "body.file"),
    "another field": (PART.replace(b'"file"', b'"photo"') + END, FORM, "invalid_input", "body.photo"),
    "a part without a name": (PART.replace(b'name="file"; ', b"") + END, FORM, "invalid_input", "body."),
    "a NUL in the part's filename": (
        PART.replace(b'"a"', b'"a\0"') + END,
        FORM,
        "invalid_input",
        "body.file.filename",
    ),
    "a bad media type of the part": (
        PART.replace(b"\r\n\r\n", b"\r\nContent-Type: \0\r\n\r\n") + END,
        FORM,
        "invalid_input",
        "body.file.content-type",
    ),
    "a header without end": (b"--xx\r\n" + b"X" * 50_000, FORM, "invalid_input", "body"),
    "headers without end": (b"--xx\r\n" + b"X: y\r\n" * 5000, FORM, "invalid_input", "body"),
    "parts without end": (b"--xx\r\n" + b"\r\n--xx" * 5000, FORM, "invalid_input", "body"),
    "an epilogue without end": (PART + END + b"x" * 70_000, FORM, "invalid_input", "body"),
    "a part that is written as mail": (
        PART.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n") + END,
        FORM,
        "invalid_input",
        "body.file.content-transfer-encoding",
    ),
    "a boundary that is too long": (
        PART,
        {"Content-Type": f"multipart/form-data; boundary={'x' * 201}"},
        "invalid_input",
        "header.content-type",
    ),
    "bytes that are no text in a header": (PART.replace(b'"a"', b'"\xff"') + END, FORM, "invalid_input", "body"),
}


@pytest.mark.parametrize(("body", "headers", "code", "field"), REFUSED_BODIES.values(), ids=REFUSED_BODIES.keys())
async def test_a_bad_body_is_refused_and_leaves_nothing(
    ingest: RunningIngest, body: bytes, headers: dict[str, str], code: str, field: str
) -> None:
    answer = await ingest.ask("POST", "/api/v1/uploads", body=body, headers=headers)
    assert (answer.status, answer.json["code"]) == (422, code)
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert await ingest.nothing_is_left()


WRONG_QUERIES = {
    "?workflow=": "query.workflow",
    "?workflow=CSV": "query.workflow",
    "?workflow=csv%00": "query.workflow",
    "?workflow=csv%0a": "query.workflow",
    "?options=nope": "query.options",
    "?options=[1]": "query.options",
    "?options=" + "[" * 5000: "query.options",
    '?options={"deep":' + "[" * 40 + "]" * 40 + "}": "query.options",
    '?options={"a":"%5Cu0000"}': "query.options",
    '?options={"a":"%5Cud800"}': "query.options",
    '?options={"a":NaN}': "query.options",
    '?options={"a":' + "9" * 5000 + "}": "query.options",
    "?filename=a%00b": "query.filename",
    "?filename=a%0d%0ab": "query.filename",
    "?filename=" + "x" * 256: "query.filename",
    "?wrokflow=csv-profile": "query.wrokflow",
    "?workflow=a&workflow=b": "query.workflow",
}


@pytest.mark.parametrize(("query", "field"), WRONG_QUERIES.items(), ids=[query[:24] for query in WRONG_QUERIES])
async def test_a_wrong_parameter_is_named(ingest: RunningIngest, query: str, field: str) -> None:
    status, problem = await ingest.post(query=query)
    assert status == 422
    assert [error["field"] for error in problem["errors"]] == [field]
    assert await ingest.nothing_is_left()


async def test_an_unusable_idempotency_key_is_refused(ingest: RunningIngest) -> None:
    status, problem = await ingest.post(headers={"Idempotency-Key": "k" * 256})
    assert status == 422
    assert [error["field"] for error in problem["errors"]] == ["header.idempotency-key"]


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(ingest: RunningIngest) -> None:
    answer = await ingest.raw(ingest.head(f"Content-Length: {LIMIT + 1}"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer
    assert await ingest.nothing_is_left()


@pytest.mark.parametrize("form", [False, True], ids=["raw", "multipart"])
async def test_a_body_that_does_not_say_its_size_is_cut_off_at_the_limit(ingest: RunningIngest, form: bool) -> None:
    async def endless() -> AsyncIterator[bytes]:
        if form:
            yield PART[:-2]
        while True:
            yield b"x" * 1000

    answer = await ingest.raw_stream(ingest.head("Transfer-Encoding: chunked", *header_lines(form)), endless())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer
    assert await ingest.nothing_is_left()


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br", "identity, gzip", "GZIP"])
async def test_a_body_with_a_content_encoding_is_refused_and_told_what_is_taken(
    ingest: RunningIngest, coding: str
) -> None:
    answer = await ingest.ask("POST", "/api/v1/uploads", body=gzipped(), headers={"Content-Encoding": coding})
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")
    assert [error["field"] for error in answer.json["errors"]] == ["header.content-encoding"]
    assert answer.headers["Accept-Encoding"] == "identity"
    assert await ingest.nothing_is_left()


async def test_a_compressed_file_is_stored_as_it_was_sent(ingest: RunningIngest) -> None:
    content = gzipped()
    status, promise = await ingest.post(content, headers={"Content-Encoding": "identity"})
    assert (status, promise["sha256"]) == (202, hashlib.sha256(content).hexdigest())
    stored = await ingest.get(f"/api/v1/uploads/{promise['upload_id']}/content", headers={"Accept-Encoding": "gzip"})
    assert (stored.body, "Content-Encoding" in stored.headers) == (content, False)


async def test_a_preamble_without_end_is_cut_off(ingest: RunningIngest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    answer = await ingest.raw_stream(ingest.head("Transfer-Encoding: chunked", *header_lines(True)), endless())
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b"more than 65536 bytes around its file" in answer
    assert await ingest.nothing_is_left()


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_a_client_that_stops_half_way_leaves_nothing(ingest: RunningIngest, framing: str) -> None:
    _, writer = await asyncio.open_connection(ingest.address.host, ingest.address.port)
    writer.write(ingest.head(framing) + b"3\r\nabc\r\n"[: 8 if "chunked" in framing else 3])
    await writer.drain()
    writer.transport.abort()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    await until(lambda: requests_are_answered(ingest, 1))
    assert await ingest.nothing_is_left()


async def test_a_body_that_pauses_too_long_is_given_up(ingest: RunningIngest) -> None:
    answer = await ingest.raw(ingest.head("Content-Length: 9") + b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert await ingest.nothing_is_left()


async def test_a_body_that_drips_is_given_up(ingest: RunningIngest) -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.05)

    answer = await ingest.raw_stream(ingest.head("Transfer-Encoding: chunked"), drip())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert await ingest.nothing_is_left()


@pytest.mark.parametrize(
    "framing",
    [
        ("Content-Length: -1",),
        ("Content-Length: many",),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
    ],
    ids=str,
)
async def test_a_length_that_cannot_be_is_a_bad_request(ingest: RunningIngest, framing: tuple[str, ...]) -> None:
    answer = await ingest.raw(ingest.head(*framing) + b"abc")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert await ingest.nothing_is_left()


async def test_what_follows_the_stated_length_is_not_part_of_the_upload(ingest: RunningIngest) -> None:
    answer = await ingest.raw(ingest.head("Content-Length: 3", "Connection: close") + b"abcdef")
    assert b'"bytes":3' in answer


async def test_without_a_principal_or_its_scope_nothing_is_taken(ingest: RunningIngest) -> None:
    assert (await ingest.post(principal=None))[0] == 401
    assert (await ingest.post(principal=None, headers={PRINCIPAL_HEADER: "forged.signature"}))[0] == 401
    status, problem = await ingest.post(principal=READER)
    assert (status, problem["code"]) == (403, "forbidden")
    assert await ingest.nothing_is_left()


async def test_a_full_disk_is_said_to_be_one(ingest: RunningIngest) -> None:
    ingest.blobs.rmdir()
    ingest.blobs.write_text("a file where the blobs' folder was: nothing can be written below it")
    status, problem = await ingest.post()
    assert (status, problem["code"]) == (503, "storage_unavailable")
    assert await ingest.count("ingest.uploads") == 0


async def test_a_problem_does_not_spoil_the_connection(ingest: RunningIngest) -> None:
    one_connection = [await ingest.post(b""), await ingest.post(), await ingest.post(query="?x=1"), await ingest.post()]
    assert [status for status, _ in one_connection] == [422, 202, 422, 202]
    assert (await ingest.get("/api/v1/uploads", principal=UPLOADER)).status == 200


def header_lines(form: bool) -> list[str]:
    return [f"{name}: {value}" for name, value in FORM.items()] if form else []


async def requests_are_answered(ingest: RunningIngest, count: int) -> bool:
    metrics = (await ingest.get("/metrics")).body.decode()
    begun = 'millrace_http_requests_total{method="POST",route="/api/v1/uploads"'
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(begun)) == count
