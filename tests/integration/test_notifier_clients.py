"""Slow clients are slowed, hostile ones are cut off, and nobody else notices either."""

import asyncio
import os
import socket as sockets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from websockets.frames import Opcode

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.identity import PRINCIPAL_HEADER
from fixtures.notifier import READER, RunningNotifier, Writer, open_notifier
from fixtures.parts import OpenParts
from fixtures.raw_websockets import RawClient, frame
from fixtures.raw_websockets import raw_client as opened

SMALL = {"queue_bytes": 16 * 1024}
LAZY: dict[str, Any] = {
    "max_queue": 1,
    "close_timeout": 0.1,
}  # a client that reads from its socket only what is asked for


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


def upgrade(notifier: RunningNotifier, path: str) -> bytes:
    signed = notifier.headers(READER)[PRINCIPAL_HEADER]
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{PRINCIPAL_HEADER}: {signed}\r\n\r\n"
    ).encode()


@asynccontextmanager
async def raw_client(notifier: RunningNotifier) -> AsyncIterator[RawClient]:
    signed = f"{PRINCIPAL_HEADER}: {notifier.headers(READER)[PRINCIPAL_HEADER]}"
    async with opened(notifier.address.host, notifier.address.port, "/ws", signed) as client:
        assert (await client.frame())[1].startswith(b'{"type":"connected"')
        yield client


EXCESSES = {
    "more frames than allowed": frame(Opcode.PONG) * 101,
    "more empty fragments than allowed": frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * 100,
}


async def test_who_sends_too_much_is_cut_off(database: Database, open_parts_for: OpenParts, writer: Writer) -> None:
    async with a_notifier(database, open_parts_for, writer, message_burst=100) as notifier:
        for excess, data in EXCESSES.items():
            async with raw_client(notifier) as client:
                client.send(data)
                assert await client.close_code() == 1008, excess
        assert (await notifier.get("/livez"))[0] == 200


PING, PONG = b'{"action":"ping"}', b'{"type":"pong"}'


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
