"""What no client of good will sends to /files: each gets a clear answer, costs little, and leaves nothing."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.ingest import LIMIT, RunningIngest, open_ingest
from fixtures.parts import OpenParts
from fixtures.tus import BYTES, VERSION, Tus, metadata

FILES = "/api/v1/files"


CREATIONS = {
    "no length": ({}, 400, "header.upload-length"),
    "two lengths": ({"Upload-Length": "5", "Upload-Defer-Length": "1"}, 400, "header.upload-length"),
    "another deferral": ({"Upload-Defer-Length": "2"}, 400, "header.upload-defer-length"),
    "a negative length": ({"Upload-Length": "-5"}, 400, "header.upload-length"),
    "a signed length": ({"Upload-Length": "+5"}, 400, "header.upload-length"),
    "a broken length": ({"Upload-Length": "5.0"}, 400, "header.upload-length"),
    "a length of other digits": ({"Upload-Length": "٥"}, 400, "header.upload-length"),
    "a length of thousands of digits": ({"Upload-Length": "9" * 5000}, 400, "header.upload-length"),
    "no bytes": ({"Upload-Length": "0"}, 422, "header.upload-length"),
    "another concat": ({"Upload-Length": "5", "Upload-Concat": "whole"}, 400, "header.upload-concat"),
}


@pytest.mark.parametrize("what", CREATIONS)
async def test_a_creation_that_makes_no_sense_is_refused_with_its_place(
    ingest: RunningIngest, tus: Tus, what: str
) -> None:
    headers, status, place = CREATIONS[what]
    answer = await tus.ask("POST", FILES, headers)
    assert (answer.status, answer.json["errors"][0]["field"]) == (status, place)
    assert await ingest.nothing_is_left()
    assert await ingest.count("ingest.files") == 0


async def test_a_file_that_is_too_large_is_refused_before_a_byte(tus: Tus) -> None:
    for length in (LIMIT + 1, 10**17):
        assert (await tus.create(length)).status == 413
    assert (await tus.create(LIMIT)).status == 201


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


METADATA = {
    "no base64": ("filename a.csv", "filename"),
    "base64 of URLs": ("filename _-_-", "filename"),
    "base64 with a space in it": ("filename YS5j c3Y=", "filename"),
    "base64 without its end": ("filename YS5jc3", "filename"),
    "no UTF-8": (f"filename {encoded(bytes([255, 254]))}", "filename"),
    "a filename of two lines": (f"filename {encoded(b'a' + bytes([13, 10]) + b'Set-Cookie: x')}", "filename"),
    "a filename with a NUL": (f"name {encoded(bytes([97, 0]))}", "name"),
    "a long filename": (f"filename {encoded(b'a' * 256)}", "filename"),
    "a key twice": (f"a {encoded(b'1')},a {encoded(b'2')}", "a"),
    "no key": (f"a {encoded(b'1')}, {encoded(b'2')},,b", "2"),
    "a key that is not ASCII": ("schlüssel YQ==", "0"),
    "no media type": (f"filetype {encoded(b'<script>')}", "filetype"),
    "no workflow's name": (f"workflow {encoded(b'../x')}", "workflow"),
    "options that are a list": (f"options {encoded(b'[]')}", "options"),
    "options that are deep": (f"options {encoded(b'[' * 3000)}", "options"),
    "options with a NUL": (f"options {encoded(b'{%c a%c : %c%cu0000%c}' % (34, 34, 34, 92, 34))}", "options"),
}


@pytest.mark.parametrize("what", METADATA)
async def test_metadata_that_makes_no_sense_is_refused_with_its_place(
    ingest: RunningIngest, tus: Tus, what: str
) -> None:
    value, place = METADATA[what]
    answer = await raw(ingest, f"POST {FILES}", "Upload-Length: 5", f"Upload-Metadata: {value}")
    assert answer.startswith(b"HTTP/1.1 422 "), answer
    assert f'"field":"header.upload-metadata.{place}"'.encode() in answer
    assert await ingest.count("ingest.files") == 0


async def test_metadata_may_hold_what_nobody_reads(tus: Tus) -> None:
    said = metadata(relativePath=b"\xff\x00\n", type="", name="null")
    path = await tus.created(5, said)
    assert (await tus.head(path)).headers["Upload-Metadata"] == said["Upload-Metadata"]


async def test_metadata_without_end_is_refused(tus: Tus) -> None:
    answer = await tus.create(5, {"Upload-Metadata": ",".join(f"k{n}" for n in range(2000))})
    assert (answer.status, answer.json["errors"][0]["code"]) == (422, "too_long")


@pytest.mark.parametrize("name", ["Upload-Length", "Upload-Offset", "Upload-Metadata", "Tus-Resumable", "Content-Type"])
async def test_a_header_that_comes_twice_is_not_guessed_at(ingest: RunningIngest, tus: Tus, name: str) -> None:
    path = await tus.created(10)
    first, second = {"Content-Type": (BYTES["Content-Type"], "text/csv"), "Tus-Resumable": ("1.0.0", "0.2.2")}.get(
        name, ("5", "6")
    )
    line = f"PATCH {path}" if name in ("Upload-Offset", "Content-Type") else f"POST {FILES}"
    others = [f"{known}: {value}" for known, value in {"Upload-Offset": "0", **BYTES}.items() if known != name]
    answer = await raw(ingest, line, *others, f"{name}: {first}", f"{name}: {second}")
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert await tus.offset(path) == 0


async def test_ids_that_are_none_are_none(tus: Tus) -> None:
    for id_ in ("x", "..", "%00", "1" * 500, "01a1fbea-6e13-7d45-ac0a-768cee331159%0d%0aX: y"):
        for method in ("HEAD", "PATCH", "DELETE"):
            answer = await tus.ask(method, f"{FILES}/{id_}", {"Upload-Offset": "0", **BYTES})
            assert 400 <= answer.status < 500, (method, id_)


async def test_an_override_names_only_what_tus_needs(tus: Tus) -> None:
    path = await tus.created(10)
    for method, override in (("POST", "GET"), ("POST", "x" * 5000), ("PUT", "PATCH")):
        answer = await tus.ask(method, path, {"X-HTTP-Method-Override": override})
        assert answer.status == 405, (method, override)
    await tus.ask("GET", path, {"X-HTTP-Method-Override": "DELETE"})
    assert await tus.offset(path) == 0


async def test_a_body_that_is_refused_is_not_read_as_the_next_request(ingest: RunningIngest, tus: Tus) -> None:
    path = await tus.created(10)
    smuggled = b"DELETE " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    length = f"Content-Length: {len(smuggled)}"
    answer = await raw(
        ingest, f"PATCH {path}", "Upload-Offset: 9", length, *map(": ".join, BYTES.items()), body=smuggled
    )
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    assert await tus.offset(path) == 0


async def test_a_client_that_drips_is_sent_away_and_keeps_what_it_sent(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.02)

    async with open_ingest(
        database, open_parts_for, MemoryBroker(), tmp_path, body_idle_seconds=0.2, body_slowest_bytes_per_second=10_000
    ) as ingest:
        tus = Tus(ingest)
        path = await tus.created(1000)
        assert (await tus.patch(path, 0, dripping())).status == 408
        assert await tus.offset(path) > 0


async def raw(ingest: RunningIngest, line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request with exactly these headers, and what comes until the server closes."""
    said = [] if any(header.startswith("Tus-Resumable") for header in headers) else map(": ".join, VERSION.items())
    closing = [] if body else ["Connection: close"]
    head = ingest.head(*said, *headers, *closing).replace(b"POST /api/v1/uploads", line.encode())
    return await ingest.raw(head + body)
