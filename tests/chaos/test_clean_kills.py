"""SIGKILL of the processor while a file is cleaned: each row is in one of the files, and no part is done twice."""

import asyncio
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
from fixtures.client import Client
from fixtures.passages import sampled

ROWS = 250_000
PARTS = 3
RECIPE = {
    "version": 1,
    "rules": [
        {"rule": "trim"},
        {"rule": "number", "columns": ["amount"]},
        {"rule": "unique", "columns": ["id"]},
    ],
}


@pytest.fixture(scope="module")
def rows() -> list[bytes]:
    """Each thousandth has an amount that is none."""
    return [
        b"%d,%s%d,%s\n"
        % (number, b"a name of some length " * 7, number, b"none" if number % 1_000 == 17 else b"%d.25" % number)
        for number in range(ROWS)
    ]


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        yield client


@pytest.mark.parametrize(("when", "nth"), sampled(list(product(["after", "before"], [6, 2, 4, 8, 10]))))
async def test_a_file_is_cleaned_though_its_worker_dies_at_any_append(
    stack: Stack, client: Client, tmp_path: Path, rows: list[bytes], when: str, nth: int
) -> None:
    armed = tmp_path / "armed"
    await stack.restart(
        "processor",
        environment=PATIENCE
        | {"KILL_AT": f"append:{when}:{nth}", "KILL_ARMED": str(armed), "PYTHONPATH": str(KILLPOINT)},
    )
    armed.touch()
    died = asyncio.create_task(stack.wait_for_death("processor"))
    accepted = await client.upload(
        b"id,name,amount\n" + b"".join(rows), workflow="csv-clean", options={"recipe": RECIPE}
    )
    await died
    await stack.start("processor", environment=PATIENCE)
    job_id = accepted["job_id"]
    await client.watch(job_id)

    job = await client.get_until_answered(f"/api/v1/jobs/{job_id}")
    assert job["status"] == "COMPLETED", job["error"]
    bad = [row for row in rows if row.endswith(b",none\n")]
    assert job["result"]["rows"] == {"in": ROWS, "out": ROWS - len(bad), "rejected": len(bad), "duplicates": 0}
    assert await client.download(f"/api/v1/jobs/{job_id}/artifacts/rejects.csv") == b"".join(bad)
    await _each_part_was_done_once(stack, job_id)


async def _each_part_was_done_once(stack: Stack, job_id: str) -> None:
    """And none was begun again that had ended."""
    ended: set[tuple[str, int | None]] = set()
    for change in await _changes(stack, job_id):
        key = (change["step"], change.get("item"))
        assert key not in ended, change
        if change["became"] == "COMPLETED":
            ended.add(key)
    assert {("parts", item) for item in range(PARTS)} <= ended


async def _changes(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    log = await asyncpg.connect(stack.postgres_url("owner"))
    try:
        events = await log.fetch("SELECT data FROM events.events WHERE stream = $1 ORDER BY position", f"job:{job_id}")
    finally:
        await log.close()
    return [change for event in events for change in msgspec.json.decode(event["data"]).get("changes", [])]
