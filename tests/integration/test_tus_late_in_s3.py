"""Files that arrive in pieces, kept in S3: what replicas leave there of each other."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from deploy.provision import Database
from events.blobs.blobs import Blobs, open_blobs
from events.blobs.segments import SEAL_BYTES
from events.broker.memory import MemoryBroker
from fixtures.ingest import RunningIngest, open_ingest, until
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.s3 import Bucket
from fixtures.tus import Tus

CONTENT = b"x" * (2 * SEAL_BYTES)  # of which some is recorded before the last byte has come
REST = b"rest"
LENGTH = len(CONTENT + REST)


class Puts:
    """The real ones; once they are held, they wait."""

    def __init__(self) -> None:
        self.held, self.waiting, self.go_on = False, threading.Event(), threading.Event()
        self._put = obstore.put

    def __call__(self, *arguments: Any) -> None:
        if self.held:
            self.waiting.set()
            assert self.go_on.wait(15)
        self._put(*arguments)


async def test_what_is_stored_after_another_has_completed_the_file_does_not_stay(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer was cut off from the database with an object on its way. Its successor removed what it saw of it."""
    last = asyncio.Event()

    def in_bucket(_: Blobs) -> Blobs:
        return open_blobs(bucket.url)

    async def content() -> AsyncIterator[bytes]:
        yield CONTENT
        await last.wait()
        yield REST

    async with open_ingest(
        database,
        open_parts_for,
        MemoryBroker(),
        tmp_path,
        through=in_bucket,
        max_upload_bytes=LENGTH,
        body_idle_seconds=30.0,
    ) as ingest:
        tus, puts = Tus(ingest), Puts()
        monkeypatch.setattr(obstore, "put", puts)
        path = await tus.created(LENGTH)
        late = asyncio.create_task(tus.patch(path, 0, content()))
        await until(lambda: ingest.count("ingest.files WHERE stored > 0"))
        puts.held = True
        last.set()
        await until(puts.waiting.is_set)
        puts.held = False
        async with as_owner(database) as owner:
            await owner.execute("UPDATE ingest.files SET token = token + 1, holder = NULL")
        stored = await tus.offset(path)
        assert (await tus.patch(path, stored, io.BytesIO((CONTENT + REST)[stored:]))).headers["Millrace-Job-Id"]
        await until(lambda: _no_segments(ingest))
        puts.go_on.set()
        assert (await late).status == 423
        assert await bucket.keys() == [f"kept/uploads/acme/{path.rpartition('/')[2]}"]


async def _no_segments(ingest: RunningIngest) -> bool:
    return await ingest.count("ingest.segments") == 0
