"""SIGKILL of each process before and after each commit, publish and ack on the upload's way.

The stack is whole: four processes, real RabbitMQ, real PostgreSQL. A client uploads and watches through the gateway and
keeps trying, as clients do. The killed process is started again, as supervisors do. Then: one job per upload, one
terminal event, and the client has seen every version once, in order.
"""

import asyncio
import collections
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from deploy.stack import Stack
from fixtures.client import TERMINAL, Client, Watched

KILLPOINT = Path(__file__).parent / "killpoint"
CSV = b"name,age\n" + b"".join(b"person %d,%d\n" % (n, n % 90) for n in range(2000))

MATRIX = [
    *[("ingest", f"commit:{when}:{nth}") for when in ("before", "after") for nth in (1, 2, 3)],
    *[("ingest", f"publish:{when}:1") for when in ("before", "after")],
    *[("processor", f"commit:{when}:{nth}") for when in ("before", "after") for nth in range(1, 9)],
    *[("processor", f"publish:{when}:{nth}") for when in ("before", "after") for nth in (1, 2, 3, 4)],
    *[("processor", f"ack:{when}:1") for when in ("before", "after")],
]


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        yield client


async def everything_happened_once(stack: Stack, job_id: str, upload_id: str, seen: Watched) -> None:
    """What must be true of one upload, whatever happened on its way."""
    log = await asyncpg.connect(stack.postgres_url("owner"))
    try:
        events = await log.fetch(
            "SELECT version, type, data FROM events.events WHERE stream = $1 ORDER BY position", f"job:{job_id}"
        )
        jobs = await log.fetchval("SELECT count(*) FROM processor.jobs WHERE input->>'upload_id' = $1", upload_id)
    finally:
        await log.close()
    types = collections.Counter(event["type"] for event in events)
    assert jobs == 1
    assert types["job.created"] == 1
    assert types["job.completed"] + types["job.failed"] + types["job.cancelled"] == 1
    assert types["job.completed"] == 1, dict(types)
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert seen.versions == [event["version"] for event in events], "every version once, in order"


@pytest.mark.parametrize(("service", "at"), MATRIX, ids=[f"{service}-{at}" for service, at in MATRIX])
async def test_a_service_killed_at_any_passage_loses_nothing_and_does_nothing_twice(
    stack: Stack, client: Client, tmp_path: Path, service: str, at: str
) -> None:
    armed = tmp_path / "armed"
    await stack.restart(service, environment={"KILL_AT": at, "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)})
    armed.touch()
    died = asyncio.create_task(stack.wait_for_death(service))
    uploading = asyncio.create_task(client.upload(CSV))
    await died
    await stack.start(service)

    accepted = await uploading
    seen = await client.watch(accepted["job_id"])

    await everything_happened_once(stack, accepted["job_id"], accepted["upload_id"], seen)
    job = await client.get_until_answered(f"/api/v1/jobs/{accepted['job_id']}")
    assert job["result"]["rows"] == 2000


@pytest.mark.parametrize("service", ["gateway", "notifier", "processor", "ingest"])
async def test_a_service_killed_under_load_is_not_noticed_but_by_a_delay(
    stack: Stack, client: Client, service: str
) -> None:
    async def one() -> tuple[dict[str, Any], Watched]:
        accepted = await client.upload(CSV)
        return accepted, await client.watch(accepted["job_id"])

    working = [asyncio.create_task(one()) for _ in range(12)]
    await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
    await stack.kill(service)
    await stack.start(service)
    for accepted, seen in await asyncio.gather(*working):
        await everything_happened_once(stack, accepted["job_id"], accepted["upload_id"], seen)
        assert seen.frames[-1]["status"] in TERMINAL
