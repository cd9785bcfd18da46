"""Bytes through the door, both ways, over real sockets."""

import asyncio
import hashlib
import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import pytest

from deploy.provision import Database
from events.identity import PRINCIPAL_HEADER, PrincipalSigner
from fixtures.gateway import PATIENCE, Gateway, Upstream, open_gateway, read_body, read_chunk, read_head
from fixtures.parts import PRINCIPAL_SECRET

PIECE = bytes(range(256)) * 256  # 64 KiB
# More than any buffer between client and service: it can only be in memory if somebody holds it.
MUCH = 4096  # pieces, 256 MiB


def ok(body: bytes = b"", *fields: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields, "", ""]).encode() + body


async def echo(reader: Reader, writer: Writer) -> None:
    """Answers each chunk as it comes, and tells of every request's head in the first."""
    while True:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while chunk := await read_chunk(reader):
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        writer.write(b"0\r\n\r\n")
        assert head.get("transfer-encoding") == "chunked"


async def headers_back(reader: Reader, writer: Writer) -> None:
    """Answers with the head of the request, as JSON."""
    while True:
        head = await read_head(reader)
        await read_body(reader, head)
        writer.write(ok(json.dumps([head.line, head.fields]).encode()))


async def test_a_body_streams_up_while_the_answer_streams_down(database: Database, tmp_path: Path) -> None:
    async with (
        Upstream.open(echo) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("POST /api/v1/uploads", "Transfer-Encoding: chunked")
        assert (await wire.head()).status == 200
        for number in range(5):
            said = b"chunk %d" % number
            wire.send(b"%x;extension=1\r\n%b\r\n" % (len(said), said))
            # The answer to this chunk comes before the next is sent: nobody waits for the end of anything.
            assert await asyncio.wait_for(read_chunk(wire.reader), PATIENCE) == said
        wire.send(b"0\r\nX-Trailer: dropped\r\n\r\n")
        assert await asyncio.wait_for(read_chunk(wire.reader), PATIENCE) == b""


async def test_an_upload_of_a_known_length_arrives_whole(database: Database, tmp_path: Path) -> None:
    async def digest(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        left, sha256 = int(head.get("content-length") or 0), hashlib.sha256()
        while left:
            data = await reader.read(1 << 20)
            sha256.update(data)
            left -= len(data)
        writer.write(ok(sha256.hexdigest().encode()))

    async with (
        Upstream.open(digest) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("POST /api/v1/uploads", f"Content-Length: {len(PIECE) * 256}")
        for _ in range(256):
            wire.send(PIECE)
            await wire.writer.drain()
        assert (await wire.answer()).body == hashlib.sha256(PIECE * 256).hexdigest().encode()


async def test_a_service_that_does_not_read_stops_the_client(database: Database, tmp_path: Path) -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def late(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        begun.set()
        await go_on.wait()
        body = await reader.readexactly(int(head.get("content-length") or 0))
        writer.write(ok(b"%d" % len(body)))

    async with (
        Upstream.open(late) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("POST /api/v1/uploads", f"Content-Length: {len(PIECE) * MUCH}")
        sending = asyncio.create_task(_pour(wire.writer))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        for _ in range(50):  # the gateway has time for others, so it had time to take what it takes
            assert (await gateway.ask("GET /ping")).status == 200
        assert not sending.done()
        go_on.set()
        assert (await wire.answer()).body == b"%d" % (len(PIECE) * MUCH)
        await sending


async def _pour(writer: Writer) -> None:
    for _ in range(MUCH):
        writer.write(PIECE)
        await writer.drain()


async def test_a_client_that_does_not_read_stops_the_service(database: Database, tmp_path: Path) -> None:
    pouring: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()

    async def fast(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * MUCH))
        task = asyncio.create_task(_pour(writer))
        pouring.set_result(task)
        await task

    async with (
        Upstream.open(fast) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /api/v1/uploads/1/content")
        task = await asyncio.wait_for(pouring, PATIENCE)
        for _ in range(50):
            assert (await gateway.ask("GET /ping")).status == 200
        assert not task.done()
        head = await wire.head()
        for _ in range(MUCH):
            assert await wire.reader.readexactly(len(PIECE)) == PIECE
        assert head.get("content-length") == str(len(PIECE) * MUCH)


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
async def test_a_client_that_leaves_in_the_middle_of_its_body_ends_the_upstream_request(
    database: Database, tmp_path: Path, framing: str
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def until_cut(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        begun.set()
        try:
            await reader.read()
        finally:
            ended.set()

    async with Upstream.open(until_cut) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        async with gateway.wire() as wire:
            wire.request("POST /api/v1/uploads", framing)
            await asyncio.wait_for(begun.wait(), PATIENCE)
        await asyncio.wait_for(ended.wait(), PATIENCE)


async def test_a_client_that_leaves_while_it_waits_ends_the_upstream_request(
    database: Database, tmp_path: Path
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        begun.set()
        await reader.read()
        ended.set()

    async with Upstream.open(never) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        async with gateway.wire() as wire:
            wire.request("GET /api/v1/jobs")
            await asyncio.wait_for(begun.wait(), PATIENCE)
        await asyncio.wait_for(ended.wait(), PATIENCE)


@pytest.mark.parametrize(
    "cut_off",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_an_answer_that_breaks_off_is_never_taken_for_whole(
    database: Database, tmp_path: Path, cut_off: bytes
) -> None:
    async def breaks_off(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(cut_off)

    async with (
        Upstream.open(breaks_off) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /api/v1/jobs")
        assert (await wire.head()).status == 200
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await wire.reader.readexactly(100)


@pytest.mark.parametrize("closes", [False, True], ids=["stops reading", "closes at once"])
async def test_an_early_refusal_reaches_a_client_that_is_still_sending(
    database: Database, tmp_path: Path, closes: bool
) -> None:
    """A service that closes with unread bytes resets the connection. The answer is in the kernel by then, and a
    write that fails must not take it away (it did: 502 instead of 413, whenever our write was faster than our read)."""
    over = asyncio.Event()

    async def refuse(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        await reader.readexactly(1 << 20)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        if closes:
            return
        await over.wait()

    async with Upstream.open(refuse) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        for _ in range(10):
            async with gateway.wire() as wire:
                wire.request("POST /api/v1/uploads", f"Content-Length: {len(PIECE) * MUCH}")
                sending = asyncio.create_task(_pour(wire.writer))
                answer = await wire.answer()
                sending.cancel()
                assert (answer.status, answer.body) == (413, b"too large")
                assert answer.head.get("connection") == "close"
        over.set()


async def test_expect_continue_is_the_services_to_answer(database: Database, tmp_path: Path) -> None:
    async def picky(reader: Reader, writer: Writer) -> None:
        while True:
            head = await read_head(reader)
            assert head.get("expect") == "100-continue"
            if int(head.get("content-length") or 0) > 100:
                writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                return
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            writer.write(ok(await read_body(reader, head)))

    async with Upstream.open(picky) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        async with gateway.wire() as wire:
            wire.request("POST /api/v1/uploads", "Expect: 100-continue", "Content-Length: 5")
            assert (await wire.head()).status == 100
            wire.send(b"hello")
            assert (await wire.answer()).body == b"hello"
        async with gateway.wire() as wire:
            wire.request("POST /api/v1/uploads", "Expect: 100-continue", "Content-Length: 500")
            assert (await wire.answer()).status == 413


async def test_head_ranges_and_bodiless_answers_keep_their_meaning(database: Database, tmp_path: Path) -> None:
    async def content(reader: Reader, writer: Writer) -> None:
        while True:
            head = await read_head(reader)
            method, path, _ = head.line.split()
            if method == "HEAD":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nAccept-Ranges: bytes\r\n\r\n")
            elif head.get("range"):
                assert head.get("range") == "bytes=2-4"
                writer.write(
                    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\n234"
                )
            elif head.get("if-none-match"):
                writer.write(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 10\r\n\r\n')
            elif method == "DELETE":
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                writer.write(ok(path.encode()))

    async with (
        Upstream.open(content) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        path = "/api/v1/uploads/1/content"
        wire.request(f"HEAD {path}")
        answer = await wire.answer(to_head=True)
        assert (answer.status, answer.head.get("content-length")) == (200, "10")
        wire.request(f"GET {path}", "Range: bytes=2-4")
        answer = await wire.answer()
        assert (answer.status, answer.body, answer.head.get("content-range")) == (206, b"234", "bytes 2-4/10")
        wire.request(f"GET {path}", 'If-None-Match: "1"')
        answer = await wire.answer()
        assert (answer.status, answer.head.get("etag")) == (304, '"1"')
        wire.request(f"DELETE {path}")
        assert (await wire.answer()).status == 204
        wire.request(f"GET {path}?name=a%20b&x=%2F")
        assert (await wire.answer()).body == b"/api/v1/uploads/1/content?name=a%20b&x=%2F"
        assert upstream.connections == 1  # one after the other, all of them on one connection


async def test_what_a_client_says_of_itself_does_not_pass(database: Database, tmp_path: Path) -> None:
    async with Upstream.open(headers_back) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        answer = await gateway.ask(
            "GET /api/v1/jobs",
            f"{PRINCIPAL_HEADER}: forged",
            "X-Millrace-Other: forged",
            "X_Millrace_Principal: forged",
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Host: evil.example",
            "Forwarded: for=6.6.6.6",
            "X-Real-IP: 6.6.6.6",
            "X-Original-URL: /api/v1/admin",
            "Proxy-Authorization: Basic Zm9v",
            "Connection: keep-alive, X-Named",
            "Keep-Alive: 5",
            "TE: trailers",
            "X-Named: hop-by-hop",
            "Upgrade: h2c",
            "Accept: application/json",
            "Idempotency-Key: abc",
        )
        line, fields = json.loads(answer.body)
        assert line == "GET /api/v1/jobs HTTP/1.1"
        names = {name for name, _ in fields}
        assert names == {
            "accept",
            "idempotency-key",
            "host",
            "x-request-id",
            "traceparent",
            PRINCIPAL_HEADER.lower(),
        }
        signed = dict(fields)[PRINCIPAL_HEADER.lower()]
        principal = PrincipalSigner(PRINCIPAL_SECRET).verify(signed)
        assert principal.tenant == "default"
        assert "jobs:read" in principal.scopes


async def test_hop_by_hop_and_internal_headers_of_an_answer_do_not_pass(database: Database, tmp_path: Path) -> None:
    async def chatty(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        fields = "Connection: X-Named\r\nX-Named: 1\r\nKeep-Alive: 5\r\nServer: secret/1.0\r\nX-Millrace-Node: 3"
        writer.write(ok(b"", fields, "X-Request-ID: theirs", "Set-Cookie: a=1", "Set-Cookie: b=2"))

    async with Upstream.open(chatty) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        answer = await gateway.ask("GET /api/v1/jobs", "X-Request-ID: mine-1")
        ours = ("ratelimit", "ratelimit-policy", "referrer-policy", "x-content-type-options", "content-security-policy")
        assert [field for field in answer.head.fields if field[0] not in ours] == [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("cache-control", "private, no-cache"),
            ("x-request-id", "mine-1"),
            ("content-length", "0"),
        ]


async def test_a_trace_is_passed_on_or_begun(database: Database, tmp_path: Path) -> None:
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with Upstream.open(headers_back) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:

        async def seen(*fields: str) -> str:
            answer = await gateway.ask("GET /api/v1/jobs", *fields)
            return str(dict(json.loads(answer.body)[1])["traceparent"])

        assert await seen(f"traceparent: {given}") == given
        begun = {await seen(), await seen("traceparent: 00-nonsense-01"), await seen(f"traceparent: 00-{'0' * 32}-1")}
        assert len(begun) == 3
        assert all(len(each) == 55 for each in begun)


async def test_an_answer_without_a_length_is_framed_for_whoever_asked(database: Database, tmp_path: Path) -> None:
    async def endless(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    async with Upstream.open(endless) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        answer = await gateway.ask("GET /api/v1/jobs")
        assert answer.head.get("transfer-encoding") == "chunked"
        assert answer.body == b"until the end"
        async with gateway.wire() as wire:
            wire.send(b"GET /pipelines HTTP/1.0\r\n\r\n")
            head = await wire.head()
            assert (head.status, head.get("transfer-encoding"), head.get("connection")) == (200, None, "close")
            assert await wire.rest() == b"until the end"


async def test_requests_that_come_at_once_are_answered_in_order(database: Database, tmp_path: Path) -> None:
    async with (
        Upstream.open(headers_back) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /api/v1/jobs?1")
        wire.request("POST /api/v1/uploads?2", body=b"a body between them")
        wire.request("GET /ping")
        wire.request("POST /api/v1/uploads?3", "Transfer-Encoding: chunked")
        wire.send(b"3\r\nabc\r\n0\r\n\r\n")
        wire.request("GET /api/v1/jobs?4")
        answers = [await wire.answer() for _ in range(5)]
        lines = [json.loads(answer.body)[0] for answer in answers if b"pong" not in answer.body]
        assert lines == [
            "GET /api/v1/jobs?1 HTTP/1.1",
            "POST /api/v1/uploads?2 HTTP/1.1",
            "POST /api/v1/uploads?3 HTTP/1.1",
            "GET /api/v1/jobs?4 HTTP/1.1",
        ]
        assert answers[2].body == b'{"pong":true}'


async def test_pipelines_are_public_and_answer_at_the_root_too(database: Database, tmp_path: Path) -> None:
    async with Upstream.open(headers_back) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        for path in ("/pipelines", "/api/v1/pipelines"):
            answer = await gateway.ask(f"GET {path}?x=1", key=None)
            line, fields = json.loads(answer.body)
            assert line == "GET /api/v1/pipelines?x=1 HTTP/1.1"
            assert PRINCIPAL_HEADER.lower() not in dict(fields)


async def _problem(gateway: Gateway, line: str) -> tuple[int, str]:
    answer = await gateway.ask(line)
    assert answer.head.get("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status
    assert problem["request_id"] == answer.head.get("x-request-id")
    return answer.status, problem["code"]


async def test_a_service_that_is_down_is_503(database: Database, tmp_path: Path) -> None:
    async with Upstream.open(headers_back) as upstream:
        gone = upstream.url
    async with open_gateway(database, tmp_path, gone) as gateway:
        assert await _problem(gateway, "GET /api/v1/jobs") == (503, "unavailable")


async def test_a_service_that_stays_silent_is_504(database: Database, tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def silent(reader: Reader, writer: Writer) -> None:
        await reader.read()
        ended.set()

    async with (
        Upstream.open(silent) as upstream,
        open_gateway(database, tmp_path, upstream.url, upstream_timeout=0.2) as gateway,
    ):
        assert await _problem(gateway, "GET /api/v1/jobs") == (504, "upstream_timeout")
        await asyncio.wait_for(ended.wait(), PATIENCE)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 O",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Big: " + b"x" * 70_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
    ids=["nothing", "half a head", "not HTTP", "ambiguous", "endless head", "unasked upgrade"],
)
async def test_a_service_that_breaks_the_protocol_is_502(database: Database, tmp_path: Path, answer: bytes) -> None:
    async def broken(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(answer)

    async with Upstream.open(broken) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        assert await _problem(gateway, "GET /api/v1/jobs") == (502, "upstream_unavailable")


async def test_a_read_survives_that_its_connection_was_closed_in_the_meantime(
    database: Database, tmp_path: Path
) -> None:
    """A service that is restarted closes its idle connections; a request may be on its way at that moment."""

    async def once(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        writer.write(ok(head.line.encode()))
        await read_head(reader)  # and closes instead of an answer

    async with Upstream.open(once) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        for number in range(3):
            answer = await gateway.ask(f"GET /api/v1/jobs?{number}")
            assert (answer.status, answer.body) == (200, f"GET /api/v1/jobs?{number} HTTP/1.1".encode())
        assert (await gateway.ask("POST /api/v1/jobs", body=b"{}")).status == 502  # may have happened: not repeated


async def test_events_may_be_silent_for_longer_than_an_answer_where_their_service_says_so(
    database: Database, tmp_path: Path
) -> None:
    go_on = asyncio.Event()

    async def events(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n")
        writer.write(b"X-Millrace-Heartbeat: 60\r\n\r\n")
        await go_on.wait()
        writer.write(b"7\r\ndata: 1\r\n0\r\n\r\n")

    async with (
        Upstream.open(events) as upstream,
        open_gateway(database, tmp_path, upstream.url, upstream_timeout=0.2) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /connection/sse?channel=x")
        assert (await wire.head()).status == 200
        await asyncio.sleep(0.5)  # the silence itself is what is tested
        go_on.set()
        assert await asyncio.wait_for(read_chunk(wire.reader), PATIENCE) == b"data: 1"
