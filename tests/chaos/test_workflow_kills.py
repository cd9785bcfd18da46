"""SIGKILL of the processor before and after each append of a workflow's life: each step has its effect once."""

import asyncio
import collections
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from chaos.test_kill_matrix import KILLPOINT, PATIENCE
from deploy.stack import Stack
from fixtures.client import Client, Watched
from fixtures.passages import sampled

ITEMS = 12
WORKFLOW = {
    "name": "kills",
    "steps": {
        "first": {"uses": "noop", "with": {"made": "first"}},
        "each": {
            "uses": "emit",
            "with": {"data": {"item": "${{ item }}", "made": "${{ steps.first.output.made }}"}},
            "map": {"items": f"${{{{ range({ITEMS}) }}}}", "parallel": 3},
            "depends": ["first"],
        },
        "rest": {"uses": "sleep", "with": {"seconds": 0.2}, "depends": ["each"]},
        "inner": {"workflow": "kills-inner", "with": {"of": "${{ job.id }}"}, "depends": ["each"]},
        "last": {"uses": "emit", "with": {"data": {"last": True}}, "depends": ["rest", "inner"]},
    },
    "on_exit": {"uses": "emit", "with": {"data": {"ended": "${{ job.status }}"}}},
}
INNER = {
    "name": "kills-inner",
    "inputs": {"of": {"type": "string"}},
    "steps": {"one": {"uses": "emit", "with": {"data": {"inner": "${{ inputs.of }}"}}}},
}
UNDONE = {
    "name": "kills-undone",
    "steps": {
        "made": {
            "uses": "noop",
            "compensate": {"uses": "emit", "with": {"data": {"undone": "made"}}},
        },
        "asks": {"uses": "approve", "with": {"question": "Go on?"}, "depends": ["made"]},
    },
}


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        for document in (INNER, WORKFLOW, UNDONE):
            await client.send("PUT", f"/api/v1/workflows/{document['name']}", document)
        yield client


@pytest.mark.parametrize(("when", "nth"), sampled(list(product(["before", "after"], [1, 2, 3, 5, 8]))))
async def test_a_workflow_whose_worker_dies_at_any_append_does_every_step_once(
    stack: Stack, client: Client, tmp_path: Path, when: str, nth: int
) -> None:
    await _armed(stack, tmp_path, f"append:{when}:{nth}")
    starting = asyncio.create_task(client.send("POST", "/api/v1/workflows/kills/jobs", {}))
    await stack.wait_for_death("processor")
    await stack.start("processor", environment=PATIENCE)
    job = await starting
    seen = await client.watch(job["id"])

    events = await _events(stack, job["id"])
    assert [event["version"] for event in events] == seen.versions == list(range(1, len(events) + 1))
    types = collections.Counter(event["type"] for event in events)
    assert (types["job.created"], types["job.started"], types["job.completed"]) == (1, 1, 1)
    assert events[-1]["type"] == "job.completed"
    emitted = [event["data"]["data"] for event in events if event["type"] == "job.emitted"]
    assert sorted(said["item"] for said in emitted if "item" in said) == list(range(ITEMS))
    assert [said for said in emitted if "item" not in said] == [{"last": True}, {"ended": "COMPLETED"}]
    _ended_once(events)
    whole = await client.get_until_answered(f"/api/v1/jobs/{job['id']}")
    (inner,) = [step["child"] for step in whole["steps"] if step["id"] == "inner"]
    inside = await _events(stack, inner)
    assert [event["data"]["data"] for event in inside if event["type"] == "job.emitted"] == [{"inner": job["id"]}]
    assert whole["progress_percent"] == 100


@pytest.mark.parametrize(("when", "nth"), sampled(list(product(["before", "after"], [1, 2]))))
async def test_a_cancel_is_not_lost_nor_anything_undone_twice_whenever_the_worker_dies(
    stack: Stack, client: Client, tmp_path: Path, when: str, nth: int
) -> None:
    job = await client.send("POST", "/api/v1/workflows/kills-undone/jobs", {})
    await _until_waiting(client, job["id"])
    await _armed(stack, tmp_path, f"append:{when}:{nth}")
    cancelling = asyncio.create_task(
        client.send("POST", f"/api/v1/jobs/{job['id']}/cancel", {"reason": "enough"}, refused={409})
    )
    await stack.wait_for_death("processor")
    await stack.start("processor", environment=PATIENCE)
    await cancelling
    seen = await client.watch(job["id"])

    events = await _events(stack, job["id"])
    assert seen.frames[-1]["status"] == "CANCELLED"
    assert [event["data"]["data"] for event in events if event["type"] == "job.emitted"] == [{"undone": "made"}]
    assert sum(event["type"] == "job.cancel_requested" for event in events) == 1
    _ended_once(events)


async def _armed(stack: Stack, tmp_path: Path, at: str) -> None:
    armed = tmp_path / "armed"
    await stack.restart(
        "processor", environment=PATIENCE | {"KILL_AT": at, "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)}
    )
    armed.touch()


async def _until_waiting(client: Client, job_id: str) -> Watched:
    seen = Watched(job_id)
    async with client.socket(f"/ws/{job_id}?after=0") as frames:
        async for frame in frames:
            seen.frames.append(frame)
            if frame.get("sub_status") == "waiting":
                break
    return seen


def _ended_once(events: list[dict[str, Any]]) -> None:
    """No step is completed twice, and nothing happens after the end."""
    ends = [
        (change["step"], change.get("item"))
        for event in events
        for change in event["data"].get("changes", [])
        if change["became"] in ("COMPLETED", "FAILED", "CANCELLED")
    ]
    assert len(ends) == len(set(ends))


async def _events(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    log = await asyncpg.connect(stack.postgres_url("owner"))
    try:
        rows = await log.fetch(
            "SELECT version, type, data FROM events.events WHERE stream = $1 ORDER BY position", f"job:{job_id}"
        )
    finally:
        await log.close()
    return [{**row, "data": msgspec.json.decode(row["data"])} for row in rows]
