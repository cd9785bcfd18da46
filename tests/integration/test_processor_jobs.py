"""From a message at the intake to a finished job, on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker import Exchange, Message, Queue
from events.broker_memory import MemoryBroker
from events.envelope import Event, encode_event, new_event, stream_name
from events.identity import PRINCIPAL_HEADER, Principal
from events.ids import new_id
from events.lifecycle import Address, Parts, serve
from events.uploads import UploadCompleted
from fixtures.parts import OpenParts, settings_for
from processor.app import open_service
from processor.settings import ProcessorSettings

READER = Principal("acme", "key:1", frozenset({"jobs:read", "events:read", "ops"}))
TERMINAL = {"COMPLETED", "FAILED", "CANCELLED"}


@dataclass
class Processor:
    address: Address
    parts: Parts
    broker: MemoryBroker
    session: aiohttp.ClientSession
    database: Database

    async def get(
        self, path: str, *, principal: Principal = READER, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        headers = {**(headers or {}), PRINCIPAL_HEADER: self.parts.signer.sign(principal)}
        async with self.session.get(f"{self.address.url}/api/v1{path}", headers=headers) as response:
            return response.status, await response.json() if response.status != 304 else None

    async def post(self, path: str, body: Any, *, principal: Principal = READER) -> tuple[int, Any]:
        headers = {PRINCIPAL_HEADER: self.parts.signer.sign(principal)}
        async with self.session.post(f"{self.address.url}/api/v1{path}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def uploaded(self, data: bytes, *, workflow: str = "csv-profile", tenant: str = "acme") -> tuple[Event, str]:
        """A stored upload and the event that says so, as ingest makes them."""
        upload_id, job_id = new_id(), new_id()
        key = f"uploads/{tenant}/{upload_id}"
        await self.parts.blobs.put(key, data)
        said = UploadCompleted(
            upload_id=upload_id,
            job_id=job_id,
            workflow=workflow,
            options={},
            filename="a.csv",
            content_type="text/csv",
            bytes=len(data),
            sha256="0" * 64,
            blob=key,
        )
        event = new_event(
            type="upload.completed",
            stream=stream_name("upload", upload_id),
            tenant=tenant,
            source="/millrace/ingest",
            data=said.encode(),
        )
        return event, str(job_id)

    async def tell(self, event: Event) -> None:
        await self.broker.publish(Exchange.INTAKE, Message(str(event.id), encode_event(event), event.type))

    async def run(self, data: bytes, **kwargs: Any) -> dict[str, Any]:
        event, job_id = await self.uploaded(data, **kwargs)
        await self.tell(event)
        return await self.finished(job_id)

    async def finished(self, job_id: str) -> dict[str, Any]:
        async with asyncio.timeout(90):
            while True:
                status, job = await self.get(f"/jobs/{job_id}")
                if status == 200 and job["status"] in TERMINAL:
                    return dict(job)
                await asyncio.sleep(0.02)

    async def types(self, job_id: str) -> list[str]:
        """Of the job's events; none while the job is not there yet."""
        status, page = await self.get(f"/jobs/{job_id}/events?limit=1000")
        return [event["type"] for event in page["items"]] if status == 200 else []

    async def eventually(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(90):
            while not await true():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, broker: MemoryBroker, **changes: Any
) -> AsyncIterator[Processor]:
    common = settings_for("processor", database, data_dir=tmp_path).model_dump()
    settings = ProcessorSettings(**common | {"database_pool_size": 16} | changes)
    async with (
        open_parts_for("processor", database, broker) as parts,
        open_service(settings, parts) as service,
        serve(service, "127.0.0.1", 0, grace=1) as address,
        aiohttp.ClientSession() as session,
    ):
        yield Processor(address, parts, broker, session, database)


@pytest_asyncio.fixture
async def processor(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Processor]:
    async with running(database, open_parts_for, tmp_path, MemoryBroker()) as processor:
        yield processor


async def test_an_upload_becomes_a_finished_job_with_its_profile(processor: Processor) -> None:
    job = await processor.run(b"name,age\nada,36\nbob,\n")
    assert job["status"] == "COMPLETED"
    assert job["progress_percent"] == 100
    assert job["result"]["rows"] == 2
    by_name = {column["name"]: column for column in job["result"]["columns"]}
    assert by_name["age"] == {
        "name": "age",
        "type": "BIGINT",
        "nulls": 1,
        "distinct": 1,
        "distinct_is_exact": True,
        "longest": 2,
    }
    assert await processor.types(job["id"]) == ["job.created", "job.started", "job.completed"]


async def test_a_message_that_comes_again_makes_no_second_job(processor: Processor) -> None:
    event, job_id = await processor.uploaded(b"a,b\n1,2\n")
    for _ in range(5):
        await processor.tell(event)
    await processor.finished(job_id)
    await processor.tell(event)
    await processor.eventually(lambda: _is_empty(processor))
    assert (await processor.types(job_id)).count("job.created") == 1
    _, page = await processor.get("/jobs")
    assert [job["id"] for job in page["items"]] == [job_id]


async def _is_empty(processor: Processor) -> bool:
    return await processor.broker.depth(Queue.INTAKE) == 0


BAD_FILES = {
    "blank": (b" \n\n", "empty_file"),
    "a NUL": (b"a,b\n1,\x00\n", "not_csv"),
    "binary": (bytes(range(1, 256)) * 50, "not_csv"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "unsupported_encoding"),
    "one endless line": (b"a,b\n" + b"x" * 5_000_000 + b",1\n", "line_too_long"),
}


@pytest.mark.parametrize(("data", "code"), BAD_FILES.values(), ids=BAD_FILES.keys())
async def test_what_is_no_csv_fails_with_a_reason(processor: Processor, data: bytes, code: str) -> None:
    job = await processor.run(data)
    assert (job["status"], job["error"]["code"]) == ("FAILED", code)
    assert job["error"]["detail"] == job["step_message"]
    assert (await processor.types(job["id"]))[-1] == "job.failed"


async def test_an_unknown_workflow_fails_with_a_reason(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n", workflow="no-such")
    assert job["error"]["code"] == "unknown_workflow"


async def test_rows_that_do_not_fit_are_counted_and_not_repaired(processor: Processor) -> None:
    job = await processor.run(b"a,b\n1,2\nonly one\n1,2,3\n4,5\n")
    assert (job["result"]["rows"], job["result"]["rejected_rows"]) == (2, 2)


async def test_a_column_without_a_name_gets_one_and_a_note(processor: Processor) -> None:
    job = await processor.run(b"a,,c\n1,2,3\n")
    assert [column["name"] for column in job["result"]["columns"]] == ["a", "column2", "c"]
    assert "Column 2 has no name" in job["result"]["notes"][0]


async def test_a_result_too_large_for_an_event_is_read_back_whole(processor: Processor) -> None:
    width = 500
    names = ",".join(f"column_{n}" for n in range(width))
    job = await processor.run(f"{names}\n{','.join('1' for _ in range(width))}\n".encode())
    assert len(job["result"]["columns"]) == width
    _, page = await processor.get(f"/jobs/{job['id']}/events")
    assert set(page["items"][-1]["data"]["result"]) == {"blob", "bytes"}


async def test_the_job_of_a_stopped_processor_is_taken_over_and_finished(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    broker = MemoryBroker()
    big = b"a,b\n" + b"1,2\n" * 3_000_000
    async with running(database, open_parts_for, tmp_path, broker) as first:
        event, job_id = await first.uploaded(big)
        await first.tell(event)

        async def started() -> bool:
            return "job.started" in await first.types(job_id)

        await first.eventually(started)
    async with running(database, open_parts_for, tmp_path, broker) as second:
        job = await second.finished(job_id)
        assert job["status"] == "COMPLETED"
        types = await second.types(job_id)
    assert types.count("job.created") == types.count("job.started") == types.count("job.completed") == 1
    assert types.count("job.claimed") == 1


async def test_an_acknowledged_job_is_never_a_404_and_an_unknown_one_always(processor: Processor) -> None:
    promised = new_id()
    owner = await asyncpg.connect(processor.database.url("owner"))
    await owner.execute("SELECT events.reserve('acme', $1)", f"job:{promised}")
    await owner.close()
    status, job = await processor.get(f"/jobs/{promised}")
    assert (status, job["status"]) == (200, "PENDING")
    assert (await processor.get(f"/jobs/{promised}/events"))[0] == 200
    assert (await processor.get(f"/jobs/{new_id()}"))[0] == 404
    stranger = Principal("other", "key:2", READER.scopes)
    assert (await processor.get(f"/jobs/{promised}", principal=stranger))[0] == 404
    assert (await processor.get(f"/jobs/{promised}/events", principal=stranger))[0] == 404


async def test_reads_are_paged_filtered_and_cached(processor: Processor) -> None:
    jobs = [await processor.run(b"a\n1\n") for _ in range(3)]
    failed = await processor.run(b"\x00")
    _, page = await processor.get("/jobs?limit=2")
    _, rest = await processor.get(f"/jobs?limit=2&cursor={page['next_cursor']}")
    assert {job["id"] for job in page["items"] + rest["items"]} == {job["id"] for job in [*jobs, failed]}
    assert rest["next_cursor"] is None
    _, only = await processor.get("/jobs?status=FAILED")
    assert [job["id"] for job in only["items"]] == [failed["id"]]
    version = jobs[0]["version"]
    assert (await processor.get(f"/jobs/{jobs[0]['id']}", headers={"If-None-Match": f'"{version}"'}))[0] == 304


async def test_the_tenants_log_is_read_by_position_and_a_foreign_cursor_is_refused(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n")
    _, page = await processor.get("/events?limit=2")
    _, rest = await processor.get(f"/events?after={page['next_cursor']}")
    found = page["items"] + rest["items"]
    assert [event["type"] for event in found] == ["upload.completed", "job.created", "job.started", "job.completed"]
    assert [event["position"] for event in found] == [1, 2, 3, 4]
    assert found[-1]["subject"] == f"job:{job['id']}"
    status, problem = await processor.get(f"/events?after={new_id()}.1")
    assert (status, problem["code"]) == (410, "cursor_expired")
    status, problem = await processor.get("/events?after=-1")
    assert (status, problem["errors"][0]["field"]) == (422, "query.after")
    _, nothing = await processor.get("/events", principal=Principal("other", "key:2", READER.scopes))
    assert nothing["items"] == []


async def test_what_cannot_be_handled_is_parked_with_its_reason_and_replayed(processor: Processor) -> None:
    await processor.broker.publish(Exchange.INTAKE, Message("m-1", b"{not json", "upload.completed"))

    async def parked() -> bool:
        return bool((await processor.get("/admin/dead-letters"))[1]["items"])

    await processor.eventually(parked)
    _, page = await processor.get("/admin/dead-letters")
    (letter,) = page["items"]
    assert letter["message_id"] == "m-1"
    assert letter["queue"] == "millrace.intake"
    assert "not an event" in letter["reason"]
    assert (await processor.post("/admin/dead-letters/replay", {"ids": [letter["id"]]}))[0] == 202

    async def parked_again() -> bool:
        ids = [item["id"] for item in (await processor.get("/admin/dead-letters"))[1]["items"]]
        return bool(ids) and ids != [letter["id"]]

    await processor.eventually(parked_again)
    nobody = Principal("acme", "key:2", frozenset({"jobs:read"}))
    assert (await processor.get("/admin/dead-letters", principal=nobody))[0] == 403


async def test_the_log_keeps_the_step_s_progress_monotone(processor: Processor) -> None:
    job = await processor.run(b"a,b\n" + b"hello,2\n" * 4_000_000)
    _, page = await processor.get(f"/jobs/{job['id']}/events?limit=1000")
    percents = [event["data"]["progress_percent"] for event in page["items"]]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(percents) > 4, "a file of this size takes long enough to be seen on its way"
    assert json.dumps(page["items"][-2]["data"]["step_message"]).startswith('"read ')
