"""Answers are smaller for who can read them so, and the same for everybody."""

import asyncio
import gzip
import json
import sys
import zlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.provision import Database
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, open_gateway, read_body, read_chunk, read_head

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = json.dumps([{"id": number, "status": "COMPLETED"} for number in range(2000)]).encode()
ANSWERS = {
    "/api/v1/jobs": (b'Content-Type: application/json; charset=utf-8\r\nETag: "abc"\r\nAccept-Ranges: bytes', TEXT),
    "/api/v1/jobs/small": (b"Content-Type: application/json", b'{"small":true}'),
    "/api/v1/jobs/bytes": (b"Content-Type: application/octet-stream", TEXT),
    "/api/v1/jobs/secret": (b"Content-Type: application/json\r\nCache-Control: no-store", TEXT),
    "/api/v1/jobs/fixed": (b"Content-Type: application/json\r\nCache-Control: no-transform", TEXT),
    "/api/v1/jobs/coded": (b"Content-Type: application/json\r\nContent-Encoding: br", TEXT),
}


@pytest_asyncio.fixture(scope="module")
async def gateway(gateway_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async def serve(reader: Reader, writer: Writer) -> None:
        while True:
            head = await read_head(reader)
            await read_body(reader, head)
            fields, body = ANSWERS[head.line.split()[1]]
            writer.write(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: %d\r\n\r\n" % (fields, len(body)))
            writer.write(b"" if head.line.startswith("HEAD") else body)

    async with (
        Upstream.open(serve) as upstream,
        open_gateway(gateway_database, tmp_path_factory.mktemp("gateway"), upstream.url) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.8", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("*", "zstd"),
        ("GZIP;q=1.0", "gzip"),
    ],
)
async def test_text_is_made_smaller_as_the_client_likes_best(gateway: Gateway, accepted: str, coding: str) -> None:
    answer = await gateway.ask("GET /api/v1/jobs", f"Accept-Encoding: {accepted}")
    assert answer.head.get("content-encoding") == coding
    assert (gzip.decompress if coding == "gzip" else zstd.decompress)(answer.body) == TEXT
    assert len(answer.body) < len(TEXT) / 4
    assert answer.head.get("etag") == 'W/"abc"'
    assert "accept-encoding" in answer.head.all("vary")
    assert answer.head.get("accept-ranges") is None


@pytest.mark.parametrize("accepted", ["", "br", "identity", "gzip;q=0", "gzip;q=oops", "*;q=0", "gzip, " + "x" * 300])
async def test_who_cannot_read_it_gets_it_as_it_is(gateway: Gateway, accepted: str) -> None:
    answer = await gateway.ask("GET /api/v1/jobs", *([f"Accept-Encoding: {accepted}"] if accepted else []))
    assert (answer.head.get("content-encoding"), answer.body) == (None, TEXT)
    assert (answer.head.get("etag"), answer.head.get("content-length")) == ('"abc"', str(len(TEXT)))
    assert answer.head.get("vary") == "accept-encoding"


@pytest.mark.parametrize("path", ["small", "bytes", "secret", "fixed"])
async def test_what_would_not_gain_or_must_not_be_touched_is_not(gateway: Gateway, path: str) -> None:
    answer = await gateway.ask(f"GET /api/v1/jobs/{path}", "Accept-Encoding: gzip, zstd")
    assert (answer.head.get("content-encoding"), answer.body) == (None, ANSWERS[f"/api/v1/jobs/{path}"][1])


async def test_what_is_coded_already_passes_as_it_is(gateway: Gateway) -> None:
    answer = await gateway.ask("GET /api/v1/jobs/coded", "Accept-Encoding: gzip, zstd")
    assert (answer.head.get("content-encoding"), answer.body) == ("br", TEXT)


async def test_several_answers_on_one_connection_keep_their_ends(gateway: Gateway) -> None:
    async with gateway.wire() as wire:
        for coding in ("gzip", "zstd", "identity", "gzip"):
            wire.request("GET /api/v1/jobs", f"Accept-Encoding: {coding}")
            answer = await wire.answer()
            assert (answer.head.get("content-encoding") or "identity") == coding
        wire.request("HEAD /api/v1/jobs", "Accept-Encoding: gzip")
        assert (await wire.answer(to_head=True)).head.get("content-length") == str(len(TEXT))


async def test_http_1_0_reads_it_to_the_end_of_the_connection(gateway: Gateway) -> None:
    async with gateway.wire() as wire:
        wire.send(f"GET /api/v1/jobs HTTP/1.0\r\nX-API-Key: {KEY}\r\nAccept-Encoding: gzip\r\n\r\n".encode())
        head = await wire.head()
        assert (head.get("content-encoding"), head.get("content-length")) == ("gzip", None)
        assert gzip.decompress(await wire.rest()) == TEXT


async def test_a_confirmation_is_of_the_answer_that_it_confirms(gateway: Gateway) -> None:
    """A cache finds the compressed one by its weak ETag and its Vary."""
    for accepted in ("gzip", "identity"):
        first = await gateway.ask("GET /api/v1/keys", f"Accept-Encoding: {accepted}")
        etag = first.head.get("etag") or ""
        assert etag.startswith("W/")
        again = await gateway.ask("GET /api/v1/keys", f"Accept-Encoding: {accepted}", f"If-None-Match: {etag}")
        assert (again.status, again.head.get("etag"), again.head.get("vary")) == (304, etag, "accept-encoding")
        assert again.head.get("content-length") is None


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_stream_is_readable_piece_by_piece(database: Database, tmp_path: Path, coding: str) -> None:
    """Whatever pieces it comes in: the gateway may have read only the head, or a part of what a service has written."""
    headed, more = asyncio.Event(), asyncio.Event()

    async def stream(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        await headed.wait()
        writer.write(b'c\r\n{"number":1}\r\n')
        await more.wait()
        writer.write(b'c\r\n{"number":2}\r\n0\r\n\r\n')

    async with (
        Upstream.open(stream) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
        asyncio.timeout(PATIENCE),
    ):
        wire.request("GET /api/v1/events", f"Accept-Encoding: {coding}")
        assert (await wire.head()).get("content-encoding") == coding
        headed.set()
        decoder = zlib.decompressobj(wbits=31) if coding == "gzip" else zstd.ZstdDecompressor()
        first = b""
        while len(first) < len(b'{"number":1}'):  # while the service still has something to say
            first += decoder.decompress(await read_chunk(wire.reader))
        assert first == b'{"number":1}'
        more.set()
        rest = b""
        while chunk := await read_chunk(wire.reader):
            rest += decoder.decompress(chunk)
        assert rest == b'{"number":2}'
        assert decoder.eof


async def test_an_operator_can_leave_it_to_an_edge(database: Database, tmp_path: Path) -> None:
    async def big(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        fields, body = ANSWERS["/api/v1/jobs"]
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: %d\r\n\r\n" % (fields, len(body)) + body)

    async with (
        Upstream.open(big) as upstream,
        open_gateway(database, tmp_path, upstream.url, compress=False) as gateway,
    ):
        answer = await gateway.ask("GET /api/v1/jobs", "Accept-Encoding: gzip")
        assert (answer.head.get("content-encoding"), answer.head.get("vary"), answer.body) == (None, None, TEXT)
