"""The tus protocol through the gateway: under the paths, and with the headers, that clients and browsers use."""

import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.gateway import Answer, Gateway, open_gateway
from fixtures.ingest import RunningIngest, open_ingest
from fixtures.parts import OpenParts

PAGE = "https://app.example.org"
VERSION = "Tus-Resumable: 1.0.0"
BYTES = "Content-Type: application/offset+octet-stream"


@dataclass(frozen=True)
class Through:
    ingest: RunningIngest
    gateway: Gateway

    async def patch(self, path: str, offset: int, content: bytes) -> Answer:
        return await self.gateway.ask(f"PATCH {path}", VERSION, BYTES, f"Upload-Offset: {offset}", body=content)


@pytest_asyncio.fixture
async def through(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Through]:
    async with (
        open_ingest(database, open_parts_for, MemoryBroker(), tmp_path) as ingest,
        open_gateway(database, tmp_path, ingest.address.url, allowed_origins=PAGE) as gateway,
    ):
        yield Through(ingest, gateway)


@pytest.mark.parametrize("prefix", ["/files", "/api/v1/files"])
async def test_a_file_is_sent_asked_for_and_completed(through: Through, prefix: str) -> None:
    content, ask = os.urandom(50_000), through.gateway.ask
    made = await ask(f"POST {prefix}", VERSION, "Upload-Length: 50000", f"Origin: {PAGE}")
    path = made.head.get("location") or ""
    assert (made.status, path.startswith("/api/v1/files/")) == (201, True)
    assert made.head.get("access-control-allow-origin") == PAGE
    assert made.head.get("access-control-expose-headers") == "*"
    path = path.replace("/api/v1/files", prefix)
    assert (await through.patch(path, 0, content[:20_000])).status == 204
    assert (await ask(f"HEAD {path}", VERSION)).head.get("upload-offset") == "20000"
    last = await through.patch(path, 20_000, content[20_000:])
    assert (last.status, last.head.get("upload-offset")) == (204, "50000")
    assert last.head.get("millrace-job-id")
    upload = (await through.ingest.get(f"/api/v1/uploads/{last.head.get('upload-id')}")).status
    assert upload == 404, "it belongs to the tenant of the key"
    read = await ask(f"GET /api/v1/uploads/{last.head.get('upload-id')}/content")
    assert hashlib.sha256(read.body).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("path", ["/files", "/files/", "/api/v1/files", "/api/v1/files/x"])
async def test_what_the_server_can_is_told_without_a_credential(through: Through, path: str) -> None:
    told = await through.gateway.ask(f"OPTIONS {path}", key=None)
    assert (told.status, told.head.get("tus-version")) == (204, "1.0.0")
    assert told.head.get("tus-extension")
    for line in (f"POST {path}", f"PATCH {path}", f"GET {path}"):
        assert (await through.gateway.ask(line, VERSION, key=None)).status == 401


async def test_a_browser_may_send_what_tus_needs(through: Through) -> None:
    named = "authorization,tus-resumable,upload-length,upload-metadata,upload-offset,upload-checksum,content-type"
    for method in ("POST", "PATCH", "HEAD", "DELETE"):
        asked = await through.gateway.ask(
            "OPTIONS /api/v1/files/x",
            f"Origin: {PAGE}",
            f"Access-Control-Request-Method: {method}",
            f"Access-Control-Request-Headers: {named}",
            key=None,
        )
        assert asked.status == 204
        assert method in (asked.head.get("access-control-allow-methods") or "")
        assert asked.head.get("access-control-allow-headers") == named


async def test_a_checksum_that_is_wrong_has_its_own_status(through: Through) -> None:
    made = await through.gateway.ask("POST /files", VERSION, "Upload-Length: 5")
    path = made.head.get("location")
    wrong = "Upload-Checksum: sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="
    answer = await through.gateway.ask(f"PATCH {path}", VERSION, BYTES, "Upload-Offset: 0", wrong, body=b"12345")
    assert answer.status == 460
    assert (await through.patch(path or "", 0, b"12345")).status == 204
