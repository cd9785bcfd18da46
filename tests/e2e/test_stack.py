"""The production shape: four processes, RabbitMQ and PostgreSQL, started and stopped as one."""

import asyncio
import json
import signal
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from deploy.stack import SERVICES, Stack
from fixtures.centrifugo import ENDPOINT, Client
from fixtures.client import Client as JobClient
from fixtures.event_streams import following, sse, with_key
from fixtures.gateway import Gateway
from fixtures.sockets import answers, closed, connecting, received

_CSV = b"name,age\nAda,36\nGrace,45\n"


async def profiled(stack: Stack) -> int:
    """Upload a small file, watch its job to the end, and return how many rows it found."""
    async with JobClient(stack.base_url, stack.admin_key) as client:
        accepted = await client.upload(_CSV)
        seen = await client.watch(accepted["job_id"])
        assert seen.versions == list(range(1, len(seen.versions) + 1))
        job = await client.get_until_answered(f"/api/v1/jobs/{accepted['job_id']}")
    return int(job["result"]["rows"])


async def test_an_upload_becomes_a_finished_job(stack: Stack) -> None:
    assert await profiled(stack) == 2


async def test_each_service_has_a_process_and_a_log_of_its_own(stack: Stack) -> None:
    assert len({stack.pid(service) for service in SERVICES}) == len(SERVICES)
    assert [int((stack.data / "pids" / service).read_text()) for service in SERVICES] == [*map(stack.pid, SERVICES)]
    for service in SERVICES:
        assert '"event": "listening"' in (stack.logs / f"{service}.log").read_text()


async def test_whoever_follows_with_a_key_is_sent_away_within_a_second_of_its_revocation(stack: Stack) -> None:
    door = Gateway("127.0.0.1", int(stack.base_url.rpartition(":")[2]), stack.logs / "gateway.log")
    made = await door.ask(
        "POST /api/v1/keys",
        "Content-Type: application/json",
        body=b'{"name":"gone","scopes":["jobs:read"]}',
        key=stack.admin_key,
    )
    gone, path = json.loads(made.body), sse("job:*")
    async with (
        connecting(door, "/ws", key=gone["key"]) as progress,
        connecting(door, ENDPOINT, key=gone["key"]) as centrifugo,
        connecting(door, ENDPOINT) as introduced,
        following(door.host, door.port, path, with_key(gone["key"])) as stream,
        connecting(door, "/ws", key=stack.admin_key) as other,
        following(door.host, door.port, path, with_key(stack.admin_key)) as other_stream,
    ):
        assert (await received(progress))["type"] == (await received(other))["type"] == "connected"
        assert "connect" in await Client(centrifugo).ask(connect={})
        assert "connect" in await Client(introduced).ask(connect={"token": gone["key"]})
        await stream.until_begun()
        await other_stream.until_begun()
        async with asyncio.timeout(1):
            revoked = await door.ask(f"DELETE /api/v1/keys/{gone['id']}", key=stack.admin_key)
            assert revoked.status == 204
            assert await closed(progress) == (4401, "credential revoked")
            assert await closed(centrifugo) == await closed(introduced) == (3500, "credential revoked")
            (error,) = await stream.rest()
        assert (error.data["code"], error.data["detail"]) == ("unauthenticated", "Credential revoked.")
        assert await answers(other)
        assert not other_stream.ended


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
