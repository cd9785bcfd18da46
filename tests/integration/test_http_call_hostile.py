"""`http.call` against whoever wants it to say more than it should, to hold more than it can, or never to end."""

import asyncio
import errno
import fcntl
import gzip
import socket
import sys
import termios
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from fixtures.attempts import an_attempt
from fixtures.http_peers import answer, ask, http_call, peer, read_request, until_it_leaves
from processor.step import StepError


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nX-Injected: 1"},
        {"X": "a\nb"},
        {"X": "a\rb"},
        {"X": "a\x00b"},
        {"X": "\x7f"},
        {"X": "grün"},
        {"X": " a"},
        {"X": "a\t"},
        {"X": "\ud800"},
        {"X: 1\r\nY": "a"},
        {"": "a"},
        {"X Y": "a"},
        {"X:": "a"},
        {"Ü": "a"},
        {"X": "a", "x": "b"},
        {"Host": "evil.test"},
        {"hOST": "evil.test"},
        {"Content-Length": "5"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "keep-alive, X-Secret"},
        {"Upgrade": "websocket"},
        {"TE": "trailers"},
        {"Expect": "100-continue"},
        {"Proxy-Authorization": "Basic x"},
    ],
    ids=repr,
)
async def test_headers_that_would_be_read_otherwise_are_refused_before_anything_is_sent(
    headers: dict[str, str],
) -> None:
    async with peer(answer()) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, headers=headers)
    assert (failed.value.code, seen.connections) == ("invalid_header", 0)


@pytest.mark.parametrize("body", ["\ud800", ["\ud800"]])
async def test_a_body_that_is_no_unicode_is_refused(body: object) -> None:
    async with peer(answer()) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, method="POST", body=body)
    assert (failed.value.code, seen.connections) == ("invalid_body", 0)


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_bomb_is_not_taken_in(layers: int) -> None:
    bomb = gzip.compress(b"\0" * (200 << 20))
    for _ in range(layers - 1):
        bomb = gzip.compress(bomb)
    encodings = ", ".join(["gzip"] * layers)
    async with peer(answer(bomb, f"Content-Encoding: {encodings}")) as seen:
        tracemalloc.start()
        with pytest.raises(StepError) as failed:
            await ask(seen, given={"http_answer_bytes": 1 << 20})
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert failed.value.code == ("answer_too_large" if layers == 1 else "answer_not_text")
    assert peak < 8 << 20


@pytest.mark.parametrize("framing", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked", "X-Until: the end"])
async def test_an_answer_without_an_end_is_cut_at_its_largest_size(framing: str) -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        while True:
            writer.write((b"8000\r\n" if "chunked" in framing else b"") + b"x" * 0x8000 + b"\r\n")
            await writer.drain()

    async with peer(pour) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, given={"http_answer_bytes": 1 << 20})
        await asyncio.wait_for(seen.left.wait(), 5)
    assert failed.value.code == "answer_too_large"


DRIPS: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "the status": (b"HTTP/1.1 200 ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize(("begin", "drop"), DRIPS.values(), ids=DRIPS.keys())
async def test_a_server_that_drips_is_cut_by_the_deadline_of_the_whole_call(begin: bytes, drop: bytes) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        leaving = asyncio.create_task(until_it_leaves(reader))
        writer.write(begin)
        while not leaving.done():
            writer.write(drop)
            await asyncio.wait([leaving], timeout=0.02)
        await leaving

    async with peer(drip) as seen:
        with pytest.raises(StepError) as failed:
            async with asyncio.timeout(5):
                await ask(seen, given={"http_seconds": 0.4})
        await asyncio.wait_for(seen.left.wait(), 5)
    assert failed.value.code == "call_timeout"


async def test_a_lookup_that_takes_too_long_is_cut_too() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return [host, str(port)]

    async with peer(answer()) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, given={"dns": never, "http_seconds": 0.2})
    assert failed.value.code == "call_timeout"


async def test_a_connection_that_the_kernel_gives_up_is_no_deadline_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python calls both a TimeoutError."""

    async def gives_up(*_: object) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", gives_up)
    async with peer(answer()) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen)
    assert failed.value.code == "connection_failed"


NONSENSE: dict[str, tuple[bytes, str]] = {
    "one huge header": (answer(b"", f"X: {'x' * 100_000}"), "answer_too_large"),
    "many headers": (answer(b"", *(f"X-{number}: {'x' * 20}" for number in range(5_000))), "answer_too_large"),
    "more headers than are kept": (answer(b"", *(f"X-{n}: {'x' * 4_000}" for n in range(10))), "answer_too_large"),
    "one huge status": (b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n", "answer_too_large"),
    "cut in the headers": (b"HTTP/1.1 200 OK\r\nContent-", "connection_failed"),
    "cut in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive", "connection_failed"),
    "cut in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nfive", "connection_failed"),
    "no last chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfive\r\n", "connection_failed"),
    "a chunk of no size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nx\r\n", "connection_failed"),
    "a chunk of minus one": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n", "connection_failed"),
    "a huge chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx",
        "connection_failed",
    ),
    "two lengths": (answer(b"x", "Content-Length: 2"), "connection_failed"),
    "length and chunks": (answer(b"1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), "connection_failed"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", "connection_failed"),
    "a NUL in a header": (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "connection_failed"),
    "no gzip": (answer(b"plain", "Content-Encoding: gzip"), "connection_failed"),
}


@pytest.mark.parametrize(("says", "code"), NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_fails_the_step_and_is_not_mistaken_for_an_answer(says: bytes, code: str) -> None:
    async with peer(says) as seen:
        with pytest.raises(StepError) as failed:
            await ask(seen, given={"http_seconds": 5})
    assert failed.value.code == code


async def test_headers_that_are_no_unicode_are_kept_as_text() -> None:
    async with peer(answer(b"", "X: gr\xfcn")) as seen:
        assert (await ask(seen))["headers"]["x"] == "grün"


async def waits_for_an_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: asyncio.Event) -> None:
    await read_request(reader)
    at.set()
    await until_it_leaves(reader)


async def waits_for_the_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: asyncio.Event) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive")
    at.set()
    await until_it_leaves(reader)


async def cannot_send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at: asyncio.Event) -> None:
    """Nobody reads: that the other side is stuck, and that it has left, is for the kernel to tell."""
    cast(asyncio.Transport, writer.transport).pause_reading()
    connection = writer.get_extra_info("socket")
    taken = [-1, 0]
    while len(set(taken[-10:])) > 1 or taken[-1] == 0:
        taken.append(int.from_bytes(fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder))
        await asyncio.sleep(0.01)
    at.set()
    established = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    while connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == established:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stage", [waits_for_an_answer, waits_for_the_rest, cannot_send])
async def test_a_cancelled_call_ends_its_connection_at_once(
    stage: Callable[[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Event], Awaitable[None]],
) -> None:
    """Also where the peer does not take what we send: aiohttp would keep the connection until it does."""
    there = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stage(reader, writer, there)

    async with peer(serve) as seen, http_call(f"api.test:{seen.port}") as call:
        parameters = {"url": f"http://api.test:{seen.port}/", "method": "POST"}
        if stage is cannot_send:
            parameters["body"] = "x" * 20_000_000
        calling = asyncio.ensure_future(call(an_attempt(), parameters))
        await asyncio.wait_for(there.wait(), 5)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asyncio.wait_for(seen.left.wait(), 5)
