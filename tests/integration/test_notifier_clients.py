"""Slow clients are slowed, hostile ones are cut off, and nobody else notices either."""

import asyncio
import os
import socket as sockets
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest_asyncio
from websockets.frames import Frame, Opcode

from deploy.provision import Database
from events.broker_memory import MemoryBroker
from events.identity import PRINCIPAL_HEADER
from fixtures.notifier import PATIENCE, READER, RunningNotifier, Writer, open_notifier, open_writer
from fixtures.parts import OpenParts

LIMITS = {"max_message_bytes": 16 * 1024, "message_burst": 100}
SMALL = {"queue_bytes": 16 * 1024}
LAZY: dict[str, Any] = {
    "max_queue": 1,
    "close_timeout": 0.1,
}  # a client that reads from its socket only what is asked for


@pytest_asyncio.fixture
async def writer(database: Database, open_parts_for: OpenParts) -> AsyncIterator[Writer]:
    async with open_writer(database, open_parts_for) as writer:
        yield writer


@asynccontextmanager
async def a_notifier(
    database: Database, open_parts_for: OpenParts, writer: Writer, **settings: float
) -> AsyncIterator[RunningNotifier]:
    broker = MemoryBroker()
    async with writer.relaying(broker), open_notifier(database, open_parts_for, broker, **settings) as notifier:
        yield notifier


def _small_socket(notifier: RunningNotifier) -> sockets.socket:
    """One whose kernel buffers little, so that not to read is felt at the other end."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.connect((notifier.address.host, notifier.address.port))
    raw.setblocking(False)
    return raw


async def test_a_client_that_stops_reading_gets_everything_once_when_it_reads_again(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    job_id = await writer.reserve()
    async with (
        a_notifier(database, open_parts_for, writer, **SMALL) as notifier,
        notifier.open(f"/ws/{job_id}", sock=_small_socket(notifier), **LAZY) as slow,
        notifier.open("/ws", sock=_small_socket(notifier), **LAZY) as slow_on_all,
        notifier.open(f"/ws/{job_id}") as quick,
    ):
        expected = 0
        for _ in range(2):
            await writer.append(job_id, 300, padding=8000)
            # The others hear it while the slow ones do not read.
            assert await quick.versions(300) == list(range(expected + 1, expected + 301))
            for socket in (slow, slow_on_all):
                assert await socket.versions(300) == list(range(expected + 1, expected + 301))
            expected += 300
        assert (await notifier.metrics())["millrace_notifier_demotions_total"] >= 2
        for socket in (slow, slow_on_all):
            assert await socket.is_silent()


async def test_a_client_that_never_reads_again_is_given_up(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    job_id = await writer.reserve()
    settings = {**SMALL, "stall_seconds": 0.2, "ping_seconds": 0.2}
    async with (
        a_notifier(database, open_parts_for, writer, **settings) as notifier,
        notifier.open(f"/ws/{job_id}", sock=_small_socket(notifier), **LAZY),
    ):
        await writer.append(job_id, 300, padding=8000)
        await notifier.until('millrace_notifier_connections_ended_total{why="stalled"}', lambda count: count == 1)


@dataclass
class RawClient:
    """A client that sends whatever bytes it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> tuple[Opcode, bytes]:
        """The server's next frame, which must be whole and unmasked."""
        async with asyncio.timeout(PATIENCE):
            first, length = await self.reader.readexactly(2)
            assert first & 0xF0 == 0x80
            assert length < 127
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            return Opcode(first & 0x0F), await self.reader.readexactly(length)

    async def close_code(self) -> int | None:
        """The code of the close frame that must be the next, and last, thing to come."""
        opcode, payload = await self.frame()
        assert opcode is Opcode.CLOSE
        assert await self.reader.read() == b""
        payload[2:].decode()
        return int.from_bytes(payload[:2], "big") if payload else None


def upgrade(notifier: RunningNotifier, path: str) -> bytes:
    signed = notifier.headers(READER)[PRINCIPAL_HEADER]
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{PRINCIPAL_HEADER}: {signed}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def raw_client(notifier: RunningNotifier) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection(notifier.address.host, notifier.address.port)
    writer.write(upgrade(notifier, "/ws"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"101 Switching Protocols" in head
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # the example of RFC 6455, 1.3
    client = RawClient(reader, writer)
    assert (await client.frame())[1].startswith(b'{"type":"connected"')
    try:
        yield client
    finally:
        writer.close()


def frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def head(first: int, second: int, rest: bytes = b"") -> bytes:
    return bytes((first, second)) + rest


PING = b'{"action":"ping"}'
PONG = b'{"type":"pong"}'

VIOLATIONS = {
    "an unmasked frame": (head(0x81, 0x02, b"hi"), 1002),
    "a reserved bit": (head(0xC1, 0x80, b"abcd"), 1002),
    "an unknown opcode": (head(0x83, 0x80, b"abcd"), 1002),
    "an unknown control opcode": (head(0x8B, 0x80, b"abcd"), 1002),
    "a fragmented ping": (head(0x09, 0x80, b"abcd"), 1002),
    "a ping that is too long": (head(0x89, 0xFE, b"\x00\x7e"), 1002),
    "a continuation of nothing": (frame(Opcode.CONT, b"x"), 1002),
    "a message within a message": (frame(Opcode.TEXT, b"x", fin=False) + frame(Opcode.TEXT, b"y"), 1002),
    "a length that is not the shortest, of 16 bits": (head(0x81, 0xFE, b"\x00\x7d"), 1002),
    "a length that is not the shortest, of 64 bits": (head(0x81, 0xFF, bytes(6) + b"\xff\xff"), 1002),
    "a message beyond the limit, by its announcement": (head(0x81, 0xFE, b"\x41\x00"), 1009),
    "a message of 2^63 bytes and more": (head(0x81, 0xFF, b"\xff" * 8), 1009),
    "fragments that sum up beyond the limit": (
        frame(Opcode.TEXT, bytes(16_000), fin=False) + frame(Opcode.CONT, bytes(400)),
        1009,
    ),
    "text that is not UTF-8": (frame(Opcode.TEXT, b'"\xff"'), 1007),
    "text that ends within a character": (frame(Opcode.TEXT, "é".encode()[:1]), 1007),
    "text with a surrogate": (frame(Opcode.TEXT, b"\xed\xa0\x80"), 1007),
    "a binary message": (frame(Opcode.BINARY, PING), 1003),
    "a close with half a code": (frame(Opcode.CLOSE, b"\x03"), 1002),
    "a close with a reserved code": (frame(Opcode.CLOSE, (1005).to_bytes(2, "big")), 1002),
    "a close with an unknown code": (frame(Opcode.CLOSE, (2999).to_bytes(2, "big")), 1002),
    "a close whose reason is not UTF-8": (frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
    "more frames than allowed": (frame(Opcode.PONG) * 101, 1008),
    "more empty fragments than allowed": (
        frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * 100,
        1008,
    ),
}


async def test_whatever_breaks_the_protocol_is_answered_with_its_close_code(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with a_notifier(database, open_parts_for, writer, **LIMITS) as notifier:
        for violation, (data, code) in VIOLATIONS.items():
            async with raw_client(notifier) as client:
                client.send(data)
                assert await client.close_code() == code, violation
        assert (await notifier.get("/livez"))[0] == 200


async def test_a_client_that_asks_faster_than_it_is_answered_waits(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    """SDKs subscribe to everything at once, each with a message of its own, when they come back."""
    async with a_notifier(database, open_parts_for, writer) as notifier, raw_client(notifier) as client:
        client.send(frame(Opcode.TEXT, PING) * 900 + frame(Opcode.PING))
        answers = [await client.frame() for _ in range(901)]
        assert (answers.count((Opcode.TEXT, PONG)), answers.count((Opcode.PONG, b""))) == (900, 1)
        client.send(frame(Opcode.TEXT, PING) * 90 + b"no frame at all")
        while (answer := await client.frame())[0] is not Opcode.CLOSE:
            assert answer == (Opcode.TEXT, PONG)


async def test_what_the_protocol_allows_is_understood(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with a_notifier(database, open_parts_for, writer, **LIMITS) as notifier, raw_client(notifier) as client:
        for byte in frame(Opcode.TEXT, PING):  # one at a time
            client.send(bytes((byte,)))
            await client.writer.drain()
        assert await client.frame() == (Opcode.TEXT, PONG)

        fragments = [frame(Opcode.TEXT, PING[:3], fin=False), frame(Opcode.CONT, PING[3:9], fin=False)]
        client.send(fragments[0] + frame(Opcode.PING, b"between") + fragments[1] + frame(Opcode.CONT, PING[9:]))
        assert await client.frame() == (Opcode.PONG, b"between")
        assert await client.frame() == (Opcode.TEXT, PONG)

        client.send(frame(Opcode.PONG, b"nobody asked") + frame(Opcode.PING, bytes(125)))
        assert await client.frame() == (Opcode.PONG, bytes(125))

        client.send(frame(Opcode.TEXT, PING + b" " * (16 * 1024 - len(PING))))  # as long as allowed
        assert await client.frame() == (Opcode.TEXT, PONG)

        client.send(frame(Opcode.CLOSE, b"\x0b\xb8bye"))
        assert await client.close_code() == 3000


async def test_a_close_without_a_code_is_answered_without_one(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with a_notifier(database, open_parts_for, writer) as notifier, raw_client(notifier) as client:
        client.send(frame(Opcode.CLOSE))
        assert await client.close_code() is None


async def test_a_half_close_is_answered_with_a_close_code(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    """So the gateway, which only tunnels, can tell a client that it restarts."""
    async with a_notifier(database, open_parts_for, writer) as notifier, raw_client(notifier) as client:
        client.writer.write_eof()
        assert await client.close_code() == 1012


async def test_noise_leaves_nothing_behind(database: Database, open_parts_for: OpenParts, writer: Writer) -> None:
    async with a_notifier(database, open_parts_for, writer) as notifier:
        for _ in range(50):
            async with raw_client(notifier) as client:
                client.send(os.urandom(200))
                client.writer.transport.abort()
        await notifier.until("millrace_notifier_connections", lambda count: count == 0)


async def test_a_socket_ends_with_the_credential_that_opened_it(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    expires_at = int(time.time()) + 2
    soon = replace(READER, expires_at=expires_at)
    async with (
        a_notifier(database, open_parts_for, writer, ping_seconds=0.2) as notifier,
        notifier.open("/ws", soon) as socket,
    ):
        assert await socket.close_code() == 4401
        assert time.time() >= expires_at


async def test_a_client_that_answers_no_ping_is_given_up(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    settings = {"ping_seconds": 0.1, "pong_seconds": 0.1}
    async with (
        a_notifier(database, open_parts_for, writer, **settings) as notifier,
        notifier.open("/ws") as alive,
        raw_client(notifier) as dead,
    ):
        assert await dead.frame() == (Opcode.PING, b"")
        assert await dead.close_code() == 1011
        assert await alive.is_silent()


async def test_at_shutdown_clients_are_told_to_come_again(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    async with AsyncExitStack() as clients:
        async with a_notifier(database, open_parts_for, writer) as notifier:
            polite = await clients.enter_async_context(notifier.open("/ws"))
            mute = await clients.enter_async_context(raw_client(notifier))
        assert await polite.close_code() == 1012
        assert await mute.close_code() == 1012


async def test_clients_that_vanish_leave_nothing_behind(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    job_id = await writer.job(1000)
    async with a_notifier(database, open_parts_for, writer) as notifier:
        for _ in range(20):
            _, before_the_answer = await asyncio.open_connection(notifier.address.host, notifier.address.port)
            before_the_answer.write(upgrade(notifier, f"/ws/{job_id}"))
            await before_the_answer.drain()
            before_the_answer.transport.abort()
            in_mid_catch_up = await notifier.connecting(f"/ws/{job_id}")
            in_mid_catch_up.transport.abort()
        async with notifier.open("/ws") as socket:
            await notifier.until("millrace_notifier_connections", lambda count: count == 1)
            assert await socket.is_silent()
