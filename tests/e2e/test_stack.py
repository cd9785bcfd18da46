"""The production shape: four processes, RabbitMQ and PostgreSQL, started and stopped as one."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from deploy.stack import SERVICES, Stack
from fixtures.client import Client

_CSV = b"name,age\nAda,36\nGrace,45\n"


async def profiled(stack: Stack) -> int:
    """Upload a small file, watch its job to the end, and return how many rows it found."""
    async with Client(stack.base_url, stack.admin_key) as client:
        accepted = await client.upload(_CSV)
        seen = await client.watch(accepted["job_id"])
        assert seen.versions == list(range(1, len(seen.versions) + 1))
        job = await client.get_until_answered(f"/api/v1/jobs/{accepted['job_id']}")
    return int(job["result"]["rows"])


async def test_an_upload_becomes_a_finished_job(stack: Stack) -> None:
    assert await profiled(stack) == 2


async def test_each_service_has_a_process_and_a_log_of_its_own(stack: Stack) -> None:
    assert len({stack.pid(service) for service in SERVICES}) == len(SERVICES)
    for service in SERVICES:
        assert '"event": "listening"' in (stack.logs / f"{service}.log").read_text()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_killed_service_can_be_started_again(stack: Stack, service: str) -> None:
    await stack.kill(service)
    assert await stack.wait_for_death(service) == -signal.SIGKILL
    await stack.start(service)
    assert await profiled(stack) == 2


async def test_a_dead_service_is_started_again_by_supervision(stack: Stack) -> None:
    supervising = asyncio.create_task(stack.supervise())
    try:
        dead = stack.pid("gateway")
        await stack.kill("gateway")
        assert await profiled(stack) == 2  # the client tries until the gateway is back
        assert stack.pid("gateway") != dead
    finally:
        supervising.cancel()


async def test_it_stops_as_one_and_continues_with_what_it_had(tmp_path: Path) -> None:
    async with Stack.open(tmp_path) as first:
        assert await profiled(first) == 2
        urls = [first.url(service) for service in SERVICES]
        database = first.postgres_url("owner")
        key = first.admin_key
    async with aiohttp.ClientSession() as session:
        for url in urls:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{url}/livez")
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncpg.connect(database)
    async with Stack.open(tmp_path) as second:
        assert second.admin_key == key
        owner = await asyncpg.connect(second.postgres_url("owner"))
        assert await owner.fetchval("SELECT count(*) FROM processor.jobs WHERE status = 'COMPLETED'") == 1
        await owner.close()
