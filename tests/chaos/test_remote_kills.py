"""SIGKILL of the processor and of a remote worker, around each commit, publish and ack on a remote step's way; and the
tasks' queue purged meanwhile. Real processes, real RabbitMQ, real PostgreSQL. Whoever died is started again. Then: the
job is completed, each of its steps once, and each effect was had once.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.process import ChildProcess, Command
from deploy.stack import Stack
from events.broker.broker import task_queue
from events.broker.by_url import open_broker
from fixtures import processes
from fixtures.client import Client, Watched
from fixtures.passages import sampled

KILLPOINT = Path(__file__).parent / "killpoint"
WORKER = Path(processes.__file__).with_name("remote_worker.py")
PATIENCE = {
    "MILLRACE_LEASE_SECONDS": "1.5",
    "MILLRACE_REMOTE_LOST_SECONDS": "2",
    "MILLRACE_STEP_ATTEMPTS": "10",
    "MILLRACE_WORKERS": "1",
}

PROCESSOR = [
    *[f"commit:{when}:{nth}" for when in ("before", "after") for nth in (1, 2, 3, 5, 7, 9, 11)],
    *[f"publish:{when}:{nth}" for when in ("before", "after") for nth in (1, 2, 3)],
    *[f"ack:{when}:{nth}" for when in ("before", "after") for nth in (1, 3)],
]
WORKERS = [
    *[f"ack:{when}:{nth}" for when in ("before", "after") for nth in (1, 2)],
    *[f"publish:{when}:{nth}" for when in ("before", "after") for nth in (1, 2, 4)],
]
STEPS = {
    "one": {"uses": "remote/work", "with": {"seconds": 2.0}},
    "two": {"uses": "remote/work", "with": {"seconds": 0.1}, "depends": ["one"]},
}


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        yield client


class Worker:
    """A process that is started again when it has died."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.effects = folder / "effects"
        self._process: ChildProcess | None = None

    async def start(self, **environment: str) -> None:
        self._process = ChildProcess(
            Command(
                argv=[sys.executable, str(WORKER)],
                log=self._folder / "worker.log",
                environment={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "MILLRACE_BROKER_URL": self._stack.broker_url,
                    "EFFECTS": str(self.effects),
                    **environment,
                },
            )
        )
        await self._process.start()

    async def died(self) -> None:
        assert self._process is not None
        await self._process.wait()

    async def kill(self) -> None:
        assert self._process is not None
        await self._process.kill()


@pytest_asyncio.fixture
async def worker(stack: Stack, tmp_path: Path) -> AsyncIterator[Worker]:
    worker = Worker(stack, tmp_path)
    yield worker
    await worker.kill()


async def published(client: Client) -> str:
    name = f"w{uuid.uuid4().hex}"
    await client.post_until_answered("/api/v1/workflows", {"name": name, "steps": STEPS}, 201)
    return name


async def started(client: Client, workflow: str) -> str:
    job = await client.post_until_answered("/api/v1/jobs", {"workflow": workflow}, 202)
    return str(job["id"])


async def everything_was_done_once(client: Client, worker: Worker, seen: Watched) -> None:
    job = await client.get_until_answered(f"/api/v1/jobs/{seen.job_id}")
    assert job["status"] == "COMPLETED", job
    assert seen.versions == list(range(1, len(seen.versions) + 1))
    types = [frame["type"] for frame in seen.frames]
    assert [types.count(once) for once in ("job.created", "job.started", "job.completed")] == [1, 1, 1]
    completed = [
        change["step"] for frame in seen.frames for change in changes(frame) if change["became"] == "COMPLETED"
    ]
    assert completed == ["one", "two"]
    assert len(worker.effects.read_text().split()) == 2


def changes(frame: dict[str, Any]) -> list[dict[str, Any]]:
    return list(frame.get("changes", frame.get("data", {}).get("changes", [])))


@pytest.mark.parametrize("at", sampled(PROCESSOR))
async def test_a_processor_killed_at_any_passage_loses_no_remote_step(
    stack: Stack, client: Client, worker: Worker, tmp_path: Path, at: str
) -> None:
    armed = tmp_path / "armed"
    await worker.start()
    await stack.restart(
        "processor", environment=PATIENCE | {"KILL_AT": at, "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)}
    )
    workflow = await published(client)
    armed.touch()
    died = asyncio.create_task(stack.wait_for_death("processor"))
    starting = asyncio.create_task(started(client, workflow))
    await died
    await stack.start("processor", environment=PATIENCE)
    await everything_was_done_once(client, worker, await client.watch(await starting))


@pytest.mark.parametrize("at", sampled(WORKERS))
async def test_a_worker_killed_at_any_passage_is_replaced(
    stack: Stack, client: Client, worker: Worker, tmp_path: Path, at: str
) -> None:
    await stack.restart("processor", environment=PATIENCE)
    armed = tmp_path / "armed"
    armed.touch()
    await worker.start(KILL_AT=at, KILL_ARMED=str(armed), PYTHONPATH=str(KILLPOINT))
    job_id = await started(client, await published(client))
    watching = asyncio.create_task(client.watch(job_id))
    await worker.died()
    await worker.start()
    await everything_was_done_once(client, worker, await watching)


async def test_a_purged_queue_loses_no_remote_step(stack: Stack, client: Client, worker: Worker) -> None:
    await stack.restart("processor", environment=PATIENCE)
    workflow = await published(client)
    jobs = [await started(client, workflow) for _ in range(5)]
    async with open_broker(stack.broker_url, name="test") as broker:
        while not await broker.depth(task_queue("work")):
            await asyncio.sleep(0.05)
        purged = await broker.purge(task_queue("work"))
    assert purged > 0
    await worker.start()
    for job_id in jobs:
        seen = await client.watch(job_id)
        assert seen.frames[-1]["status"] == "COMPLETED"
