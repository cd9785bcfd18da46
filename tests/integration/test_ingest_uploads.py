"""Uploads over a real socket, with a real database: what becomes a job, and what is refused without a trace."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker import Queue
from events.broker_memory import MemoryBroker
from events.envelope import decode_event
from events.identity import PRINCIPAL_HEADER, Principal
from events.lifecycle import Address, Parts, serve
from fixtures.parts import OpenParts, settings_for
from ingest.app import open_service
from ingest.settings import IngestSettings

CSV = b"name,age\nada,36\n"
UPLOADER = Principal("acme", "key:1", frozenset({"uploads:write"}))
LIMIT = 100_000


@dataclass
class Ingest:
    address: Address
    parts: Parts
    broker: MemoryBroker
    session: aiohttp.ClientSession
    database: Database
    blobs: Path

    async def post(
        self,
        body: Any = CSV,
        *,
        query: str = "",
        principal: Principal | None = UPLOADER,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        signed = {} if principal is None else {PRINCIPAL_HEADER: self.parts.signer.sign(principal)}
        headers = {**(headers or {}), **signed}
        url = f"{self.address.url}/api/v1/uploads{query}"
        async with self.session.post(url, data=body, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, path: str, *, principal: Principal = UPLOADER, **headers: str) -> tuple[int, bytes]:
        headers[PRINCIPAL_HEADER] = self.parts.signer.sign(principal)
        async with self.session.get(f"{self.address.url}{path}", headers=headers) as response:
            return response.status, await response.read()

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.blobs)) for path in self.blobs.rglob("*") if path.is_file())

    async def raw(self, request: bytes, *, then_close: bool = False) -> bytes:
        """Exactly these bytes, and whatever comes back until the server closes."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        writer.write(request)
        if then_close:
            writer.write_eof()
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest_asyncio.fixture
async def ingest(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Ingest]:
    common = settings_for("ingest", database, data_dir=tmp_path).model_dump()
    settings = IngestSettings(**common | {"max_upload_bytes": LIMIT, "body_idle_seconds": 0.5})
    broker = MemoryBroker()
    async with (
        open_parts_for("ingest", database, broker) as parts,
        open_service(settings, parts) as service,
        serve(service, "127.0.0.1", 0, grace=1) as address,
        aiohttp.ClientSession() as session,
    ):
        yield Ingest(address, parts, broker, session, database, tmp_path / "blobs")


async def test_an_upload_becomes_a_blob_a_row_and_one_event(ingest: Ingest) -> None:
    status, accepted = await ingest.post(query='?workflow=csv-profile&options={"a":1}&filename=p.csv')

    assert status == 202
    assert accepted["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert accepted["bytes"] == len(CSV)
    assert accepted["channel"] == f"job:{accepted['job_id']}"
    assert ingest.files() == [f"uploads/acme/{accepted['upload_id']}"]
    async with ingest.broker.consume(Queue.INTAKE, prefetch=1) as deliveries:
        event = decode_event((await anext(deliveries)).message.body)
    assert event.type == "upload.completed"
    assert event.tenant == "acme"
    said = json.loads(bytes(event.data))
    assert said["job_id"] == accepted["job_id"]
    assert (said["workflow"], said["options"], said["filename"]) == ("csv-profile", {"a": 1}, "p.csv")


async def test_the_promised_streams_exist_before_their_first_event(ingest: Ingest) -> None:
    _, accepted = await ingest.post()
    connection = await asyncpg.connect(ingest.database.url("owner"))
    rows = await connection.fetch("SELECT stream, version FROM events.streams ORDER BY stream")
    await connection.close()
    assert [tuple(row) for row in rows] == [
        (f"job:{accepted['job_id']}", 0),
        (f"upload:{accepted['upload_id']}", 0),
    ]


async def test_a_multipart_file_is_stored_without_its_wrapping(ingest: Ingest) -> None:
    form = aiohttp.FormData()
    form.add_field("file", CSV, filename="people.csv", content_type="text/csv")
    status, accepted = await ingest.post(form)
    assert status == 202
    assert accepted["sha256"] == hashlib.sha256(CSV).hexdigest()
    _, upload = await ingest.get(f"/api/v1/uploads/{accepted['upload_id']}")
    assert json.loads(upload)["filename"] == "people.csv"
    assert json.loads(upload)["content_type"] == "text/csv"


BOUNDARY = "multipart/form-data; boundary=xx"
PART = b'--xx\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n'

REFUSED = {
    "empty": (b"", {}, 422, "empty_upload", "body"),
    "an empty file part": (
        PART.replace(b"abc", b"") + b"--xx--\r\n",
        {"Content-Type": BOUNDARY},
        422,
        "empty_upload",
        "body",
    ),
    "no boundary": (PART, {"Content-Type": "multipart/form-data"}, 422, "invalid_input", "header.content-type"),
    "a lying boundary": (
        PART.replace(b"--xx", b"--yy") + b"--yy--\r\n",
        {"Content-Type": BOUNDARY},
        422,
        "invalid_input",
        "body",
    ),
    "a body that ends within a part": (PART, {"Content-Type": BOUNDARY}, 422, "invalid_input", "body"),
    "two files": (PART + PART + b"--xx--\r\n", {"Content-Type": BOUNDARY}, 422, "invalid_input", "body.file"),
    "another field": (
        PART.replace(b'"file"', b'"photo"') + b"--xx--\r\n",
        {"Content-Type": BOUNDARY},
        422,
        "invalid_input",
        "body.photo",
    ),
    "junk without end": (b"--xx\r\n" + b"\r\n--xx" * 5000, {"Content-Type": BOUNDARY}, 422, "invalid_input", "body"),
}


@pytest.mark.parametrize(("body", "headers", "status", "code", "field"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_bad_body_is_refused_and_leaves_nothing(
    ingest: Ingest, body: bytes, headers: dict[str, str], status: int, code: str, field: str
) -> None:
    answer, problem = await ingest.post(body, headers=headers)
    assert (answer, problem["code"]) == (status, code)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["request_id"]
    assert ingest.files() == []
    assert await ingest.broker.depth(Queue.INTAKE) == 0


WRONG_QUERIES = {
    "?workflow=": "query.workflow",
    "?workflow=CSV%00": "query.workflow",
    "?options=nope": "query.options",
    "?options=[1]": "query.options",
    "?options=" + "[" * 5000: "query.options",
    "?filename=a%00b": "query.filename",
    "?filename=" + "x" * 256: "query.filename",
    "?wrokflow=csv-profile": "query.wrokflow",
}


@pytest.mark.parametrize(("query", "field"), WRONG_QUERIES.items(), ids=[query[:20] for query in WRONG_QUERIES])
async def test_a_wrong_parameter_is_named(ingest: Ingest, query: str, field: str) -> None:
    status, problem = await ingest.post(query=query)
    assert status == 422
    assert [error["field"] for error in problem["errors"]] == [field]
    assert ingest.files() == []


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(ingest: Ingest) -> None:
    principal = ingest.parts.signer.sign(UPLOADER)
    answer = await ingest.raw(
        f"POST /api/v1/uploads HTTP/1.1\r\nHost: x\r\n{PRINCIPAL_HEADER}: {principal}\r\n"
        f"Content-Length: {LIMIT + 1}\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_large"' in answer


async def test_a_chunked_body_is_cut_off_at_the_limit(ingest: Ingest) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 1000 + 2):
            yield b"x" * 1000

    status, problem = await ingest.post(endless())
    assert (status, problem["code"]) == (413, "too_large")
    assert ingest.files() == []


async def test_a_client_that_stops_half_way_leaves_nothing(ingest: Ingest) -> None:
    principal = ingest.parts.signer.sign(UPLOADER)
    head = (
        f"POST /api/v1/uploads HTTP/1.1\r\nHost: x\r\n{PRINCIPAL_HEADER}: {principal}\r\nContent-Length: 9\r\n\r\nabc"
    )
    _, writer = await asyncio.open_connection(ingest.address.host, ingest.address.port)
    writer.write(head.encode())
    await writer.drain()
    await _until(lambda: ingest.files() != [])
    writer.transport.abort()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    await _until(lambda: ingest.files() == [])
    connection = await asyncpg.connect(ingest.database.url("owner"))
    assert await connection.fetchval("SELECT count(*) FROM ingest.uploads") == 0
    await connection.close()


async def test_a_body_that_pauses_too_long_is_given_up(ingest: Ingest) -> None:
    principal = ingest.parts.signer.sign(UPLOADER)
    answer = await ingest.raw(
        f"POST /api/v1/uploads HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{PRINCIPAL_HEADER}: {principal}\r\n"
        "Content-Length: 9\r\n\r\nabc".encode()
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert ingest.files() == []


async def test_without_a_principal_or_its_scope_nothing_is_taken(ingest: Ingest) -> None:
    assert (await ingest.post(principal=None))[0] == 401
    status, problem = await ingest.post(principal=Principal("acme", "key:2", frozenset({"jobs:read"})))
    assert (status, problem["code"]) == (403, "forbidden")
    assert ingest.files() == []


async def test_the_same_idempotency_key_and_body_get_the_first_answer(ingest: Ingest) -> None:
    key = {"Idempotency-Key": "k-1"}
    first, again = await ingest.post(headers=key), await ingest.post(headers=key)
    assert first == again
    assert len(ingest.files()) == 1
    status, problem = await ingest.post(CSV + b"bob,2\n", headers=key)
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert len(ingest.files()) == 1
    other = await ingest.post(principal=Principal("other", "key:9", frozenset({"uploads:write"})), headers=key)
    assert other[0] == 202
    assert other[1]["upload_id"] != first[1]["upload_id"]


async def test_simultaneous_repetitions_make_one_upload(ingest: Ingest) -> None:
    answers = await asyncio.gather(*(ingest.post(headers={"Idempotency-Key": "k-2"}) for _ in range(8)))
    assert len({answer[1]["upload_id"] for answer in answers}) == 1
    assert len(ingest.files()) == 1


async def test_content_is_read_back_whole_and_in_ranges(ingest: Ingest) -> None:
    _, accepted = await ingest.post()
    path = f"/api/v1/uploads/{accepted['upload_id']}/content"
    assert await ingest.get(path) == (200, CSV)
    assert await ingest.get(path, Range="bytes=5-7") == (206, CSV[5:8])
    assert await ingest.get(path, Range="bytes=-4") == (206, CSV[-4:])
    assert await ingest.get(path, Range="bytes=9-") == (206, CSV[9:])
    assert (await ingest.get(path, Range="bytes=99-"))[0] == 416
    assert (await ingest.get(path, Range="lines=1-2"))[0] == 416


async def test_another_tenant_sees_nothing_of_an_upload(ingest: Ingest) -> None:
    _, accepted = await ingest.post()
    stranger = Principal("other", "key:9", frozenset({"uploads:write", "jobs:read"}))
    path = f"/api/v1/uploads/{accepted['upload_id']}"
    assert (await ingest.get(path, principal=stranger))[0] == 404
    assert (await ingest.get(f"{path}/content", principal=stranger))[0] == 404
    assert json.loads((await ingest.get("/api/v1/uploads", principal=stranger))[1])["items"] == []


async def test_lists_are_paged_newest_first(ingest: Ingest) -> None:
    ids = [(await ingest.post())[1]["upload_id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = json.loads((await ingest.get(f"/api/v1/uploads?limit=2{cursor}"))[1])
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert seen == ids[::-1]


async def _until(true: Any) -> None:
    """What happens on the other side of a socket gives no signal here; a bounded poll is the next best thing."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)
