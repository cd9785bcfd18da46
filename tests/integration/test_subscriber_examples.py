"""The internal services in deploy/examples: killed, their queue purged, and nothing is lost or twice."""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker.broker import Broker, Exchange, Message
from events.broker.by_url import open_broker
from events.envelope import encode_json
from events.ids import new_id
from fixtures.client import Client
from fixtures.gateway import KEY, open_gateway
from fixtures.node import NodeCommand
from fixtures.processor import OpenProcessor
from fixtures.subscribers import let_in

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
STATE = "SELECT version, percent FROM jobs WHERE (stream, status) = (?, ?)"
QUEUE = "millrace.subscribers.ledger"
WORKFLOW = {
    "name": "told",
    "inputs": {"ask": {"type": "boolean", "default": False}},
    "steps": {
        "first": {"uses": "noop", "with": {}},
        "ask": {
            "uses": "approve",
            "with": {"question": "Well?"},
            "when": "inputs.ask",
            "depends": ["first"],
        },
    },
    "output": {"asked": "${{ inputs.ask }}"},
}


@dataclass
class System:
    """A processor and a gateway, with RabbitMQ between the processor and whoever subscribes."""

    url: str
    database: Database
    broker: Broker
    broker_url: str
    client: Client

    async def started(self, **input_: Any) -> str:
        """The stream of a job."""
        job = await self.client.post_until_answered("/api/v1/jobs", {"workflow": "told", "input": input_}, 202)
        return f"job:{job['id']}"

    async def answered(self, stream: str) -> None:
        path = f"/api/v1/jobs/{stream.removeprefix('job:')}/signals/ask"
        await self.client.post_until_answered(path, {"approved": True}, 202)


@pytest_asyncio.fixture
async def system(
    database: Database, broker_url: str, open_processor: OpenProcessor, tmp_path: Path
) -> AsyncIterator[System]:
    async with (
        open_broker(broker_url, name="test") as broker,
        open_processor(broker) as processor,
        open_gateway(database, tmp_path, processor.address.url) as gateway,
        Client(f"http://{gateway.host}:{gateway.port}", KEY) as client,
    ):
        await client.post_until_answered("/api/v1/workflows", WORKFLOW, 201)
        yield System(f"http://{gateway.host}:{gateway.port}", database, broker, broker_url, client)


@asynccontextmanager
async def running(*command: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """It ends by a SIGKILL."""
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | settings, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_subscriber_in_python_keeps_a_row_for_each_completed_job(system: System) -> None:
    url = await let_in(system.database, "billing")
    settings = {"MILLRACE_DATABASE_URL": url, "MILLRACE_BROKER_URL": system.broker_url}
    connection = await asyncpg.connect(url)

    async def kept(wanted: set[str]) -> list[asyncpg.Record]:
        async with asyncio.timeout(60):
            while True:
                if await connection.fetchval("SELECT to_regclass('billing.completed') IS NOT NULL"):
                    rows = list(await connection.fetch("SELECT * FROM billing.completed"))
                    if wanted <= {row["job"] for row in rows}:
                        return rows
                await asyncio.sleep(0.05)

    jobs = {await system.started()}
    async with running(sys.executable, str(EXAMPLES / "subscriber.py"), **settings):
        await kept(jobs)
    jobs.add(await system.started())
    async with running(sys.executable, str(EXAMPLES / "subscriber.py"), **settings):
        rows = await kept(jobs)
    assert [(row["tenant"], row["keys"]) for row in rows] == [("default", 1)] * 2
    await connection.close()


async def test_the_subscriber_with_a_queue_keeps_the_newest_state_of_each_job(system: System, tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    command = sys.executable, str(EXAMPLES / "queue_subscriber.py"), str(file)

    async def state(stream: str, status: str) -> tuple[int, int]:
        async with asyncio.timeout(60):
            while True:
                with closing(sqlite3.connect(file)) as database:
                    found = database.execute(STATE, (stream, status)).fetchone()
                if found is not None:
                    return int(found[0]), int(found[1])
                await asyncio.sleep(0.05)

    async with running(*command, MILLRACE_BROKER_URL=system.broker_url) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening\n"
        asked = await system.started(ask=True)
        await state(asked, "PROCESSING")
    await system.answered(asked)
    async with running(*command, MILLRACE_BROKER_URL=system.broker_url):
        version, percent = await state(asked, "COMPLETED")
        job = await system.client.get_until_answered(f"/api/v1/jobs/{asked.removeprefix('job:')}")
        assert (version, percent) == (job["version"], 100)
        stale = (await system.client.get_until_answered(f"/api/v1/streams/{asked}/events"))["items"][0]
        for event in (stale, stale | {"id": str(new_id())}):
            late = Message(event["id"], encode_json(event), "default.job.created")
            await system.broker.publish(Exchange.EVENTS, late)
        last = await system.started()
        await state(last, "COMPLETED")
        assert await state(asked, "COMPLETED") == (version, 100), "what is older, or came twice, changes nothing"


@pytest.mark.timeout(600)  # the first time, Node is fetched
async def test_the_subscriber_in_node_keeps_a_line_for_each_event_in_order(
    system: System, node_command: NodeCommand, tmp_path: Path
) -> None:
    ledger, key = tmp_path / "ledger.jsonl", tmp_path / "key"
    key.write_text(KEY)
    settings = {
        "MILLRACE_BROKER_URL": system.broker_url,
        "MILLRACE_URL": system.url,
        "MILLRACE_KEY_FILE": str(key),
    }
    command = (*node_command(EXAMPLES / "subscriber.mjs"), str(ledger))

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []

    async def ended(stream: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(60):
            while not any(line["subject"] == stream and line["type"] == "job.completed" for line in lines()):
                await asyncio.sleep(0.05)
        return [line for line in lines() if line["subject"] == stream]

    async with running(*command, **settings) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening\n"
        first = await system.started()
        await ended(first)
    asked = await system.started(ask=True)
    async with asyncio.timeout(60):
        while not await system.broker.depth(QUEUE) >= 3:
            await asyncio.sleep(0.05)
    await system.broker.purge(QUEUE)
    async with running(*command, **settings):
        for event in (await system.client.get_until_answered(f"/api/v1/streams/{first}/events"))["items"]:
            again = Message(event["id"], encode_json(event), f"default.{event['type']}")
            await system.broker.publish(Exchange.EVENTS, again)
        await system.broker.publish(Exchange.EVENTS, Message("bad", b"{no JSON", "default.job.emitted"))
        await system.answered(asked)
        for stream in (first, asked):
            versions = [line["version"] for line in await ended(stream)]
            assert versions == list(range(1, len(versions) + 1)), "in order, and what was purged is there too"
        letters: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while not letters:
                page = await system.client.get_until_answered(f"/api/v1/admin/dead-letters?queue={QUEUE}")
                letters = page["items"]
    assert (letters[0]["message_id"], letters[0]["routing_key"]) == ("bad", "default.job.emitted")
    assert "SyntaxError" in letters[0]["reason"]
    assert len({line["id"] for line in lines()}) == len(lines())
