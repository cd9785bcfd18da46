"""The gateway as a process of its own: what it takes of memory, and how it ends."""

import asyncio
import os
import re
import sys
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from deploy.process import ChildProcess, Command
from deploy.provision import Database
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, gateway_settings, read_head
from gateway.wire.boundaries import close_frame

PIECE = bytes(1 << 20)
LISTENING = re.compile(r'"?port"?[=:] ?(\d+)')


@asynccontextmanager
async def gateway_process(
    database: Database, data_dir: Path, upstream: str, *, grace: float = 5.0, key: str = KEY
) -> AsyncIterator[tuple[Gateway, ChildProcess]]:
    settings = gateway_settings(database, data_dir, upstream)
    command = Command(
        argv=[sys.executable, "-m", "gateway"],
        log=data_dir / "console",
        environment={
            "PATH": os.environ["PATH"],
            "MILLRACE_PORT": "0",
            "MILLRACE_DATA_DIR": str(data_dir),
            "MILLRACE_DATABASE_URL": settings.database_url.get_secret_value(),
            "MILLRACE_PRINCIPAL_SECRET": settings.principal_secret.get_secret_value(),
            "MILLRACE_ADMIN_KEY": key,
            "MILLRACE_KEY_PEPPER": settings.key_pepper.get_secret_value(),
            "MILLRACE_INGEST_URL": upstream,
            "MILLRACE_PROCESSOR_URL": upstream,
            "MILLRACE_NOTIFIER_URL": upstream,
            "MILLRACE_SHUTDOWN_GRACE": str(grace),
        },
    )
    process = ChildProcess(command)
    await process.start()
    try:
        while (listening := LISTENING.search(process.last_words())) is None:
            assert process.running(), process.last_words()
            await asyncio.sleep(0.05)
        yield Gateway("127.0.0.1", int(listening[1]), data_dir / "logs" / "gateway.log"), process
    finally:
        await process.stop()


@pytest.mark.parametrize("slow", ["nobody", "the service", "the client"])
async def test_a_body_of_any_size_takes_a_bounded_amount_of_memory(
    database: Database, tmp_path: Path, slow: str
) -> None:
    pieces = 512  # of a MiB, up and down again

    async def back_and_forth(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        for number in range(pieces):
            await reader.readexactly(len(PIECE))
            if slow == "the service" and number % 50 == 0:
                await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * pieces))
        for _ in range(pieces):
            writer.write(PIECE)
            await writer.drain()

    async with (
        Upstream.open(back_and_forth) as upstream,
        gateway_process(database, tmp_path, upstream.url) as (gateway, process),
    ):
        assert (await gateway.ask("GET /ping")).status == 200
        memory = psutil.Process(process.pid)
        idle = peak = memory.memory_info().rss
        async with gateway.wire() as wire:
            wire.request("POST /api/v1/uploads", f"Content-Length: {len(PIECE) * pieces}")
            for _ in range(pieces):
                wire.send(PIECE)
                await wire.writer.drain()
                peak = max(peak, memory.memory_info().rss)
            assert (await wire.head()).status == 200
            for number in range(pieces):
                await wire.reader.readexactly(len(PIECE))
                peak = max(peak, memory.memory_info().rss)
                if slow == "the client" and number % 50 == 0:
                    await asyncio.sleep(0.02)
        assert peak - idle < 20 << 20


async def test_on_sigterm_an_open_request_is_finished_and_a_socket_hears_of_it(
    database: Database, tmp_path: Path
) -> None:
    go_on, gone = asyncio.Event(), asyncio.Event()

    async def service(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        if head.get("upgrade"):
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            assert await reader.read() == b""
            gone.set()
        else:
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    async with (
        Upstream.open(service) as upstream,
        gateway_process(database, tmp_path, upstream.url) as (gateway, process),
        gateway.wire() as idle,
        gateway.wire() as request,
        gateway.wire() as socket,
    ):
        idle.request("GET /ping")
        assert (await idle.answer()).status == 200
        request.request("GET /api/v1/jobs")
        socket.request("GET /ws", "Connection: Upgrade", "Upgrade: websocket")
        assert (await socket.head()).status == 101
        stopping = asyncio.create_task(process.stop())
        assert await socket.rest() == close_frame(1012, "The service restarts. Connect again.")
        await asyncio.wait_for(gone.wait(), PATIENCE)
        socket.writer.close()
        assert await idle.rest() == b""
        go_on.set()
        answer = await request.answer()
        assert (answer.status, answer.body, answer.head.get("connection")) == (200, b"done", "close")
        await asyncio.wait_for(stopping, PATIENCE)
        assert process.exit_code == 0


async def test_what_does_not_finish_within_the_grace_is_cut_off(database: Database, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def never(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        begun.set()
        await reader.read()

    async with (
        Upstream.open(never) as upstream,
        gateway_process(database, tmp_path, upstream.url, grace=1) as (gateway, process),
        gateway.wire() as wire,
    ):
        wire.request("GET /api/v1/jobs")
        await asyncio.wait_for(begun.wait(), PATIENCE)
        await asyncio.wait_for(process.stop(), PATIENCE)
        assert process.exit_code == 0


async def test_a_wrong_admin_key_is_one_clear_sentence(database: Database, tmp_path: Path) -> None:
    mistyped = KEY[:-1] + ("0" if KEY[-1] != "0" else "1")
    attempt = gateway_process(database, tmp_path, "http://127.0.0.1:9", key=mistyped)
    with pytest.raises(AssertionError, match=r"^MILLRACE_ADMIN_KEY is not usable: The API key is mistyped"):
        await attempt.__aenter__()
