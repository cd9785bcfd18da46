"""SIGKILL of each process before and after each commit, publish and ack on the upload's way.

The stack is whole: four processes, real RabbitMQ, real PostgreSQL. A client uploads and watches through the gateway and
keeps trying, as clients do. The killed process is started again, as supervisors do. Then: one job per upload, one
terminal event, and the client has seen every version once, in order.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chaos.history import everything_happened_once
from deploy.stack import Stack
from fixtures.client import TERMINAL, Client, Watched
from fixtures.passages import sampled

KILLPOINT = Path(__file__).parent / "killpoint"
CSV = b"name,age\n" + b"".join(b"person %d,%d\n" % (n, n % 90) for n in range(2000))

# Leases and retries of production, made short enough to wait for, and no more processes for steps than are needed:
# each test starts them twice.
PATIENCE = {"MILLRACE_LEASE_SECONDS": "1.5", "MILLRACE_OUTBOX_RETRY_SECONDS": "1", "MILLRACE_WORKERS": "1"}

MATRIX = [
    *[("ingest", f"commit:{when}:{nth}") for when in ("before", "after") for nth in (1, 2, 3)],
    *[("ingest", f"publish:{when}:1") for when in ("before", "after")],
    *[("processor", f"append:{when}:{nth}") for when in ("before", "after") for nth in (1, 2, 3)],
    *[("processor", f"commit:{when}:{nth}") for when in ("before", "after") for nth in (1, 2, 3, 4)],
    *[("processor", f"publish:{when}:{nth}") for when in ("before", "after") for nth in (1, 2, 3, 4)],
    *[("processor", f"ack:{when}:1") for when in ("before", "after")],
]


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        yield client


@pytest.mark.parametrize(("service", "at"), sampled(MATRIX), ids=[f"{service}-{at}" for service, at in MATRIX])
async def test_a_service_killed_at_any_passage_loses_nothing_and_does_nothing_twice(
    stack: Stack, client: Client, tmp_path: Path, service: str, at: str
) -> None:
    armed = tmp_path / "armed"
    await stack.restart(
        service, environment=PATIENCE | {"KILL_AT": at, "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)}
    )
    armed.touch()
    died = asyncio.create_task(stack.wait_for_death(service))
    uploading = asyncio.create_task(client.upload(CSV))
    await died
    await stack.start(service, environment=PATIENCE)

    accepted = await uploading
    seen = await client.watch(accepted["job_id"])

    await everything_happened_once(stack, accepted["job_id"], accepted["upload_id"], seen)
    job = await client.get_until_answered(f"/api/v1/jobs/{accepted['job_id']}")
    assert job["result"]["rows"] == 2000


@pytest.mark.parametrize("service", sampled(["processor", "gateway", "notifier", "ingest"]))
async def test_a_service_killed_under_load_is_not_noticed_but_by_a_delay(
    stack: Stack, client: Client, service: str
) -> None:
    async def one() -> tuple[dict[str, Any], Watched]:
        accepted = await client.upload(CSV)
        return accepted, await client.watch(accepted["job_id"])

    working = [asyncio.create_task(one()) for _ in range(12)]
    await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
    await stack.kill(service)
    await stack.start(service, environment=PATIENCE)
    for accepted, seen in await asyncio.gather(*working):
        await everything_happened_once(stack, accepted["job_id"], accepted["upload_id"], seen)
        assert seen.frames[-1]["status"] in TERMINAL
