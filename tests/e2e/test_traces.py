"""One trace, from a client's request through all four processes, RabbitMQ and the log to the frame on its WebSocket."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
import pytest_asyncio

from deploy.stack import SERVICES, Stack
from events.remote import Task, remote_worker
from fixtures.client import Client
from fixtures.collected import PATIENCE, Collected, Collector, collecting, hanging
from fixtures.millrace import running
from fixtures.stack import OpenStack
from fixtures.told import ended

_CSV = b"name,age\nAda,36\nGrace,45\n"


@dataclass
class Traced:
    """A client that traces what it asks for."""

    session: aiohttp.ClientSession
    url: str
    trace: str
    span: str

    @classmethod
    @asynccontextmanager
    async def open(cls, stack: Stack, *, flags: str = "01") -> AsyncIterator[Self]:
        trace, span = secrets.token_hex(16), secrets.token_hex(8)
        headers = {"Authorization": f"Bearer {stack.admin_key}", "traceparent": f"00-{trace}-{span}-{flags}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield cls(session, stack.base_url, trace, span)

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        async with self.session.request(method, f"{self.url}{path}", **more) as answer:
            body = await answer.json()
            assert answer.status < 300, body
            return body

    async def upload(self) -> list[dict[str, Any]]:
        """One that is followed live. The frames of its job."""
        async with asyncio.timeout(PATIENCE), self.session.ws_connect(f"{self.url}/ws") as socket:
            assert (await socket.receive_json())["type"] == "connected"
            path, of_csv = "/api/v1/uploads?workflow=csv-profile&filename=people.csv", {"Content-Type": "text/csv"}
            job = (await self.ask("POST", path, data=_CSV, headers=of_csv))["job_id"]
            frames: list[dict[str, Any]] = []
            while not frames or frames[-1]["status"] not in ("COMPLETED", "FAILED"):
                frame = await socket.receive_json()
                if frame["job_id"] == job:
                    frames.append(frame)
        assert frames[-1]["status"] == "COMPLETED"
        return frames


def _place_of(span: Collected) -> tuple[str, str, str]:
    return span.trace, span.kind, span.service.removeprefix("millrace-")


@pytest_asyncio.fixture(scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module")
async def stack(
    open_stack: OpenStack, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    async with open_stack(tmp_path_factory.mktemp("stack"), collector.settings) as stack:
        yield stack


async def test_an_upload_is_one_trace_from_its_client_to_the_frame(stack: Stack, collector: Collector) -> None:
    async with Traced.open(stack) as client:
        frames = await client.upload()

    async def one(name: str, parent: str | None = None) -> Collected:
        fits = lambda span: span.trace == client.trace and parent in (None, span.parent)  # noqa: E731
        return await collector.one(name, of=fits)

    door = await one("POST /api/v1/uploads", client.span)
    ingest = await one("POST /api/v1/uploads", door.id)
    send = await one("send millrace.intake", ingest.id)
    process = await one("process millrace.intake", send.id)
    append = await one("SELECT processor.append", process.id)
    job = await one("job", process.id)
    step = await one("step csv-profile", job.id)
    run = await one("run csv-profile", step.id)
    appends = await collector.all(lambda span: span.name == append.name and span.parent == job.id)
    relays = await collector.all(lambda span: span.name == "send millrace.feed" and span.is_about(client.trace))
    heard = await collector.all(
        lambda span: span.name == "process millrace.feed" and span.parent in {relay.id for relay in relays}
    )
    told = await collector.all(
        lambda span: span.name == "send websocket" and span.parent in {batch.id for batch in heard}
    )

    assert {span.service.removeprefix("millrace-") for span in (door, ingest, process, heard[0])} == {
        *("gateway", "ingest", "processor", "notifier")
    }
    assert [span.kind for span in (door, ingest, send, process, append)] == [
        *("SERVER", "SERVER", "PRODUCER", "CONSUMER", "CLIENT")
    ]
    assert [span.kind for span in (relays[0], heard[0], told[0])] == ["PRODUCER", "CONSUMER", "PRODUCER"]
    assert (ingest.service, send.service, step.service) == ("millrace-ingest", "millrace-ingest", "millrace-processor")
    assert run.attributes["process.pid"] not in {stack.pid(service) for service in SERVICES}
    assert all(span.is_about(client.trace) for span in (*appends, *relays, *heard, *told))
    assert {frame["traceparent"][3:35] for frame in frames} == {client.trace}
    assert frames[0]["traceparent"][36:52] == process.id
    assert {frame["traceparent"][36:52] for frame in frames[1:]} == {job.id}
    assert not [span for span in collector.spans if span.trace == client.trace and span.failed]

    assert {name: door.attributes[name] for name in ("http.request.method", "http.route", "url.path")} == {
        "http.request.method": "POST",
        "http.route": "/api/v1/uploads",
        "url.path": "/api/v1/uploads",
    }
    assert door.attributes["http.response.status_code"] == ingest.attributes["http.response.status_code"] == 202
    for span, operation in ((send, "send"), (process, "process")):
        assert span.attributes["messaging.system"] == "rabbitmq"
        assert span.attributes["messaging.operation.name"] == span.attributes["messaging.operation.type"] == operation
        assert span.attributes["messaging.destination.name"] == "millrace.intake"
        assert span.attributes["messaging.rabbitmq.destination.routing_key"] == "upload.completed"
    assert send.attributes["messaging.message.id"] == process.attributes["messaging.message.id"]
    assert append.attributes["db.system.name"] == "postgresql"
    assert append.attributes["db.stored_procedure.name"] == "processor.append"
    assert append.attributes["db.operation.batch.size"] == 2, "the upload, and its job"


async def test_the_trace_is_in_the_log_of_every_service(stack: Stack, collector: Collector) -> None:
    async with Traced.open(stack) as client:
        frames = await client.upload()
        await client.ask("GET", f"/api/v1/jobs/{frames[0]['job_id']}")
        await client.ask("POST", "/api/v1/auth/tickets")
        # A span ends behind what is logged in it.
        ends = [*(("SERVER", service) for service in ("ingest", "processor", "notifier")), ("INTERNAL", "gateway")]
        for end in ends:
            await collector.all(lambda span, end=(client.trace, *end): end == _place_of(span))  # type: ignore[misc]
    for service in SERVICES:
        lines = [json.loads(line) for line in (stack.logs / f"{service}.log").read_text().splitlines()]
        assert client.trace in {line.get("trace_id") for line in lines}, service


async def test_what_its_client_does_not_sample_is_not_collected(stack: Stack, collector: Collector) -> None:
    async with Traced.open(stack, flags="00") as client:
        frames = await client.upload()
    async with Traced.open(stack) as later:  # in every process, what is done for it comes behind
        await later.upload()
        for name in ("send millrace.intake", "job", "send websocket"):
            await collector.one(name, of=lambda span: span.is_about(later.trace))
    assert [span for span in collector.spans if span.is_about(client.trace)] == []
    assert {(frame["traceparent"][3:35], frame["traceparent"][-2:]) for frame in frames} == {(client.trace, "00")}


async def test_a_remote_worker_goes_on_with_the_trace(stack: Stack, collector: Collector) -> None:
    seen: list[Task] = []

    async def double(task: Task) -> dict[str, Any]:
        seen.append(task)
        return {"number": 2 * task.parameters["number"]}

    flow = {"name": "doubling", "steps": {"one": {"uses": "remote/doubles", "with": {"number": 21}}}}
    async with remote_worker(stack.broker_url, "doubles", double), Traced.open(stack) as client:
        await client.ask("POST", "/api/v1/workflows", json=flow)
        job = await client.ask("POST", "/api/v1/workflows/doubling/jobs", json={})
        async with Client(stack.base_url, stack.admin_key) as watching:
            await watching.watch(job["id"])
        held = await collector.one("job", of=lambda span: span.trace == client.trace)
        sent = await collector.one("send millrace.tasks", of=lambda span: span.parent == held.id)
        said = await collector.one("process millrace.intake", of=lambda span: span.parent == sent.id)
    assert [task.traceparent for task in seen] == [f"00-{client.trace}-{sent.id}-01"]
    assert sent.attributes["messaging.rabbitmq.destination.routing_key"] == "doubles"
    assert said.attributes["messaging.rabbitmq.destination.routing_key"].startswith("step.")


async def test_no_secret_is_in_a_span(stack: Stack, collector: Collector) -> None:
    secret = "mr_live_abcdefghijkl_SECRETSECRET"
    async with Traced.open(stack) as client:
        paths = (f"/ws?ticket={secret}", f"/api/v1/jobs?token={secret}", f"/api/v1/jobs/{secret}", f"/nowhere/{secret}")
        for path in paths:
            headers = {"X-API-Key": secret, "Cookie": f"a={secret}", "User-Agent": secret, "X-Request-ID": secret}
            async with client.session.get(f"{client.url}{path}", headers=headers):
                pass
        doors = lambda span: span.trace == client.trace and span.service == "millrace-gateway"  # noqa: E731
        await collector.all(doors, count=len(paths))
    assert "SECRETSECRET" not in collector.text
    assert stack.admin_key not in collector.text


async def test_a_collector_that_never_answers_costs_no_more_than_the_spans(tmp_path: Path) -> None:
    asked = asyncio.Event()
    async with hanging(asked) as settings, running(tmp_path, settings) as millrace:
        async with Client(millrace.url, millrace.admin_key) as client:
            for _ in range(2):
                accepted = await client.upload(_CSV)
                assert (await client.watch(accepted["job_id"])).frames[-1]["status"] == "COMPLETED"
                async with asyncio.timeout(PATIENCE):
                    await asked.wait()
        assert "has stopped" in await ended(millrace)
