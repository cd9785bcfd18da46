"""PostgreSQL goes away while a file arrives: its client hears of it, or waits. What it was told to be stored stays."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from deploy.postgres import PostgresServer
from deploy.provision import Database
from events.blobs.segments import SEAL_BYTES
from events.broker.memory import MemoryBroker
from events.identity import PRINCIPAL_HEADER
from fixtures.ingest import UPLOADER, RunningIngest, open_ingest, until
from fixtures.parts import OpenParts
from fixtures.tus import Tus

PIECE = b"x" * 65_536
PIECES = 1_024  # 64 MiB
# What is not durable yet, what is about to be, and what the sockets hold.
HELD_BYTES = 4 * SEAL_BYTES


@pytest_asyncio.fixture
async def ingest(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[RunningIngest]:
    async with open_ingest(
        database, open_parts_for, MemoryBroker(), tmp_path, max_upload_bytes=PIECES * len(PIECE), body_idle_seconds=30.0
    ) as running:
        yield running


@dataclass
class Body:
    """All that a file may have, as fast as it is taken. It can be halted behind so many pieces."""

    halted: asyncio.Event
    halt_at: int
    sent: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.sent < PIECES:
            if self.sent == self.halt_at:
                await self.halted.wait()
            yield PIECE
            self.sent += 1


def patch_head(ingest: RunningIngest, path: str) -> bytes:
    lines = [
        f"PATCH {path} HTTP/1.1",
        "Host: x",
        f"{PRINCIPAL_HEADER}: {ingest.parts.signer.sign(UPLOADER)}",
        "Tus-Resumable: 1.0.0",
        "Upload-Offset: 0",
        "Content-Type: application/offset+octet-stream",
        "Transfer-Encoding: chunked",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def stored(ingest: RunningIngest) -> int:
    return int(await ingest.parts.pool.fetchval("SELECT max(stored) FROM ingest.files"))


async def test_a_killed_database_is_a_503_and_no_offset_is_taken_back(
    ingest: RunningIngest, tus: Tus, postgres_server: PostgresServer
) -> None:
    path, body = await tus.created(None), Body(asyncio.Event(), 500)
    sending = asyncio.create_task(ingest.raw_stream(patch_head(ingest, path), body.__aiter__()))
    await until(lambda: stored(ingest))
    told = await stored(ingest)
    await postgres_server.kill()
    try:
        body.halted.set()
        answer = await sending
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"unavailable"' in answer
        assert b"retry-after: 1" in answer.lower()
        for ask in (tus.head(path), tus.create(5), tus.patch(path, 0, b"x"), tus.ask("DELETE", path)):
            assert (await ask).status == 503
    finally:
        await postgres_server.start()
    offset = await tus.offset(path)
    assert told <= offset <= PIECES * len(PIECE)
    assert (await tus.patch(path, offset, b"y", {"Upload-Length": str(offset + 1)})).status == 204
    upload = (await ingest.get(path.replace("files", "uploads"))).json
    assert upload["sha256"] == hashlib.sha256(b"x" * offset + b"y").hexdigest()


async def test_a_database_that_hangs_holds_the_client_back_and_costs_no_memory(
    ingest: RunningIngest, tus: Tus, postgres_server: PostgresServer
) -> None:
    path, body = await tus.created(PIECES * len(PIECE)), Body(asyncio.Event(), 300)
    sending = asyncio.create_task(tus.patch(path, 0, body.__aiter__()))
    await until(lambda: stored(ingest))
    postgres_server.pause()
    try:
        before = body.sent
        body.halted.set()
        await still(body)
        assert before < body.sent < before + HELD_BYTES // len(PIECE)
        assert not sending.done()
    finally:
        postgres_server.resume()
    assert (await sending).status == 204
    upload = (await ingest.get(path.replace("files", "uploads"))).json
    assert upload["sha256"] == hashlib.sha256(PIECE * PIECES).hexdigest()


async def still(body: Body) -> None:
    """Until nothing of it has been taken for half a second."""
    before = -1
    while body.sent > before:
        before = body.sent
        await asyncio.sleep(0.5)
