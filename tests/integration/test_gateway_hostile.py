"""What must not get through the door: ambiguous framing, endless heads, drips, and paths with two meanings."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.provision import Database
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, open_gateway, read_body, read_head

HOST = b"Host: millrace.example\r\n"
AUTH = b"X-API-Key: " + KEY.encode() + b"\r\n"


class Untouched:
    """A service that tells whether anything has reached it."""

    def __init__(self) -> None:
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            self.heads.append(head.line)
            await read_body(reader, head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest_asyncio.fixture(scope="module")
async def behind() -> Untouched:
    return Untouched()


@pytest.fixture
def service(behind: Untouched) -> Untouched:
    behind.heads.clear()
    return behind


@pytest_asyncio.fixture(scope="module")
async def gateway(
    behind: Untouched, gateway_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    async with (
        Upstream.open(behind) as upstream,
        open_gateway(
            gateway_database,
            tmp_path_factory.mktemp("gateway"),
            upstream.url,
            header_timeout=0.3,
            body_timeout=0.3,
            keep_alive_timeout=0.6,
        ) as running,
    ):
        yield running


async def refusal(gateway: Gateway, raw: bytes) -> dict[str, object]:
    """The problem that `raw` is answered with. The connection must end behind it."""
    async with gateway.wire() as wire:
        wire.send(raw)
        answer = await wire.answer()
        assert answer.head.get("connection") == "close"
        assert answer.head.get("content-type") == "application/problem+json"
        assert await wire.rest() == b""
        problem: dict[str, object] = json.loads(answer.body)
        assert problem["status"] == answer.status
        assert problem["request_id"] == answer.head.get("x-request-id")
        return problem


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return (
        b"POST /api/v1/uploads HTTP/1.1\r\n"
        + HOST
        + AUTH
        + b"".join(each + b"\r\n" for each in fields)
        + b"\r\n"
        + body
    )


SMUGGLED = b"GET /api/v1/admin/dead-letters HTTP/1.1\r\n" + HOST + AUTH + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked"

MALFORMED = {
    "length and chunked": post(b"Content-Length: 4", CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
    "chunked and length": post(CHUNKED, b"Content-Length: 4", body=b"0\r\n\r\n" + SMUGGLED),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 10", body=SMUGGLED),
    "the same length twice": post(b"Content-Length: 0", b"Content-Length: 0", body=SMUGGLED),
    "a list of lengths": post(b"Content-Length: 0, 0", body=SMUGGLED),
    "a signed length": post(b"Content-Length: +0", body=SMUGGLED),
    "a negative length": post(b"Content-Length: -1", body=SMUGGLED),
    "a hexadecimal length": post(b"Content-Length: 0x0", body=SMUGGLED),
    "an empty length": post(b"Content-Length:", body=SMUGGLED),
    "a length beyond 64 bits": post(b"Content-Length: 99999999999999999999"),
    "a length of thousands of digits": post(b"Content-Length: " + b"0" * 5000 + b"1", body=b"x"),
    "another encoding": post(b"Transfer-Encoding: xchunked", body=SMUGGLED),
    "two encodings": post(b"Transfer-Encoding: gzip, chunked", body=SMUGGLED),
    "chunked twice": post(CHUNKED, CHUNKED, body=SMUGGLED),
    "identity": post(b"Transfer-Encoding: identity", body=SMUGGLED),
    "a folded header": post(b"X-Folded: a\r\n b"),
    "a folded encoding": post(b"Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n" + SMUGGLED),
    "a space before the colon": post(b"Content-Length : 0", body=SMUGGLED),
    "a bare line feed in the head": post(b"X-One: 1\nContent-Length: 0"),
    "bare line feeds only": b"GET /ping HTTP/1.1\nHost: a\n\n",
    "a bare carriage return": post(b"X-One: 1\rX-Two: 2"),
    "a NUL in a value": post(b"X-One: a\0b"),
    "a control character in a value": post(b"X-One: a\x01b"),
    "a header without a name": post(b": 1"),
    "a header without a colon": post(b"X-One"),
    "no host": b"GET /ping HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host that is a path": b"GET /ping HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "chunked in HTTP/1.0": b"POST /ping HTTP/1.0\r\n" + CHUNKED + b"\r\n\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /ping\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version that never was": b"GET /ping HTTP/1.7\r\nHost: a\r\n\r\n",
    "another protocol": b"OPTIONS /ping RTSP/1.0\r\nHost: a\r\n\r\n",
    "two spaces": b"GET  /ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the path": b"GET /pi ng HTTP/1.1\r\nHost: a\r\n\r\n",
    "an absolute target": b"GET http://a/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /ping#a HTTP/1.1\r\nHost: a\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
async def test_an_ambiguous_request_is_refused_and_its_connection_closed(
    gateway: Gateway, service: Untouched, raw: bytes
) -> None:
    problem = await refusal(gateway, raw)
    assert problem["status"] in (400, 405)
    assert service.heads == []


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"PROPFIND", b"get", b"FOO"])
async def test_an_unknown_method_is_405(gateway: Gateway, method: bytes) -> None:
    problem = await refusal(gateway, method + b" /ping HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (problem["status"], problem["code"]) == (405, "method_not_allowed")


BAD_CHUNKS = {
    "no digits": b"\r\n",
    "a sign": b"+5\r\nhello\r\n",
    "a prefix": b"0x5\r\nhello\r\n",
    "an underscore": b"1_0\r\n",
    "a size beyond 64 bits": b"1" * 17 + b"\r\n",
    "a bare line feed": b"5\nhello\r\n",
    "a chunk longer than its size": b"3\r\nhello\r\n",
    "a control character in an extension": b"5;a\0b\r\nhello\r\n",
    "an endless extension": b"5;" + b"a" * 300,
    "a header as a trailer's line": b"0\r\nno colon\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X-Trailer: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 300,
}


@pytest.mark.parametrize("chunk", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
async def test_a_malformed_chunk_is_refused_wherever_it_comes(gateway: Gateway, chunk: bytes) -> None:
    for before in (b"", b"5\r\nfirst\r\n"):
        assert (await refusal(gateway, post(CHUNKED, body=before + chunk)))["status"] == 400


async def test_a_smuggled_request_is_only_a_body(gateway: Gateway, service: Untouched) -> None:
    async with gateway.wire() as wire:
        wire.send(post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED))
        assert (await wire.answer()).status == 200
        assert service.heads == ["POST /api/v1/uploads HTTP/1.1"]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_head_has_a_largest_size(gateway: Gateway, service: Untouched, ended: bool) -> None:
    problem = await refusal(gateway, post(b"X-Big: " + b"x" * 20_000) if ended else b"GET /" + b"x" * 20_000)
    assert (problem["status"], problem["code"]) == (431, "head_too_large")
    assert service.heads == []


# What comes in drops never pauses for long, and would never end.
DRIPS = {
    "a head": (b"", b"GET /ping HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"x" * 1000),
    "a body for ourselves": (
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
        b"x" * 1000,
    ),
}


@pytest.mark.parametrize(("at_once", "drops"), DRIPS.values(), ids=DRIPS)
async def test_what_drips_is_408(gateway: Gateway, at_once: bytes, drops: bytes) -> None:
    async with gateway.wire() as wire:
        wire.send(at_once)
        answered = asyncio.create_task(wire.answer())
        for letter in drops:
            wire.send(bytes([letter]))
            if (await asyncio.wait({answered}, timeout=0.05))[0]:
                break
        assert (await answered).status == 408
        assert await wire.rest() == b""


async def test_a_body_that_stops_is_408(gateway: Gateway) -> None:
    problem = await refusal(gateway, post(b"Content-Length: 10", body=b"half"))
    assert (problem["status"], problem["code"]) == (408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed(gateway: Gateway) -> None:
    async with gateway.wire() as wire:
        assert await wire.rest() == b""
    async with gateway.wire() as wire:
        wire.request("GET /ping")
        assert (await wire.answer()).status == 200
        assert await wire.rest() == b""


TRICKS = [
    "/api/v1/jobs/../admin/dead-letters",
    "/api/v1/jobs/%2e%2e/admin/dead-letters",
    "/api/v1/jobs/.%2E/admin",
    "/api/v1/jobs/./x",
    "/api/v1/jobs/..",
    "/api/v1/jobs//x",
    "//api/v1/jobs",
    "/api/v1/jobs%2fx",
    "/api/v1/jobs\\x",
    "/api/v1/jobs%5cx",
    "/api/v1/jobs%00",
    "/api/v1/jobs%0d%0aX-Injected:1",
    "/api/v1/jobs%zz",
    "/api/v1/%6aobs",
    "/%6detrics",
    "/%73tatusz",
    "/api/v1/auth/%6cogin",
    "/api/v1/keys/%41",
    "/%2dping",
    "/%7Eping",
    "/%5fping",
    "/ping%30",
    "/api/v1/jobsx",
    "/api/v2/jobs",
    "/API/v1/jobs",
]


@pytest.mark.parametrize("path", TRICKS)
async def test_a_path_that_could_be_read_in_two_ways_leads_nowhere(
    gateway: Gateway, service: Untouched, path: str
) -> None:
    answer = await gateway.ask(f"GET {path}")
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "not_found")
    assert service.heads == []


async def test_a_client_that_does_not_read_its_answer_is_let_go(database: Database, tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def fast(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(bytes(1 << 20))
                await writer.drain()
        finally:
            ended.set()

    async with (
        Upstream.open(fast) as upstream,
        open_gateway(database, tmp_path, upstream.url, send_timeout=0.3) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /api/v1/uploads/1/content")
        await asyncio.wait_for(ended.wait(), PATIENCE)
