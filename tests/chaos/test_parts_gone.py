"""RabbitMQ stopped, its queues purged, PostgreSQL restarted: in mid-flight, under load, in the whole stack. The same
must be true afterwards as after any kill."""

import asyncio
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import pytest_asyncio

from chaos.history import everything_happened_once
from chaos.load import Load, Promise
from deploy.rabbitmq import ApiRefused
from deploy.stack import Stack
from fixtures.client import Client

CSV = b"name,age\n" + b"".join(b"person %d,%d\n" % (n, n % 90) for n in range(2000))
CLIENTS = 8


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        yield client


async def finish(load: Load, stack: Stack) -> None:
    await load.finish()
    for promise in load.kept:
        assert promise.upload_id is not None
        await everything_happened_once(stack, promise.seen.job_id, promise.upload_id, promise.seen)


def uploading(client: Client) -> Load:
    """Clients that upload and watch, one job after the other."""

    async def upload() -> Promise:
        accepted = await client.upload(CSV)
        return Promise("upload", accepted, await client.watch(accepted["job_id"]))

    return Load([upload] * CLIENTS)


async def insist(stack: Stack, path: str) -> None:
    """Delete at the management API. It refuses for a while what is just coming up or going down."""
    patience = time.monotonic() + 30
    while True:
        try:
            await stack.rabbitmq.api("DELETE", path)
            return
        except ApiRefused as refused:
            if refused.status == 404:
                return  # gone by itself
            if time.monotonic() > patience:
                raise
        await asyncio.sleep(0.2)


async def test_purged_queues_lose_nothing(stack: Stack, client: Client) -> None:
    async with uploading(client) as load:
        for _ in range(10):
            await load.until(1)
            for queue in ("millrace.intake", "millrace.dead"):
                await insist(stack, f"/queues/{stack.vhost}/{queue}/contents")
        await load.until(4)
        await finish(load, stack)


async def test_broken_connections_to_the_broker_lose_nothing(stack: Stack, client: Client) -> None:
    """With its connection a notifier loses its private queue, and whatever the feed had put there."""
    async with uploading(client) as load:
        for _ in range(3):
            await load.until(2)
            for connection in await stack.rabbitmq.api("GET", f"/vhosts/{stack.vhost}/connections"):
                await insist(stack, f"/connections/{quote(connection['name'])}")
        await load.until(4)
        await finish(load, stack)


@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_postgresql_restarted_in_mid_flight_loses_nothing(stack: Stack, client: Client, how: str) -> None:
    async with uploading(client) as load:
        await load.until(4)
        if how == "restart":
            await stack.postgres.restart()
        else:
            await stack.postgres.kill()
            await stack.postgres.start()
        await load.until(4)
        await finish(load, stack)


async def test_rabbitmq_away_for_thirty_seconds_delays_and_loses_nothing(stack: Stack, client: Client) -> None:
    """The last one here: RabbitMQ 3.10 never elects a leader again for a queue that is younger than two seconds when
    the server is killed."""
    async with uploading(client) as load:
        await load.until(4)
        await stack.rabbitmq.kill()
        accepted = await client.upload(CSV)  # an upload needs no broker
        await asyncio.sleep(30)  # the outage itself
        await stack.rabbitmq.start()
        late = await client.watch(accepted["job_id"])
        await load.until(4)
        await finish(load, stack)
        await everything_happened_once(stack, accepted["job_id"], accepted["upload_id"], late)
