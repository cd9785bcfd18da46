"""What a connection has used is free again when it has ended, not when Python looks for garbage: that is seldom, and
takes the longer the more there is."""

import asyncio
import gc
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.frames import Opcode

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.identity import PRINCIPAL_HEADER
from fixtures.event_streams import following, sse, with_key
from fixtures.gateway import KEY, PATIENCE, open_gateway
from fixtures.notifier import READER, RunningNotifier, Writer, open_notifier, open_writer
from fixtures.parts import OpenParts
from fixtures.raw_websockets import frame, raw_client

_OURS = ("notifier.", "gateway.wire", "uvicorn.protocols", "uvloop.loop.TCPTransport")
_CLIENTS = 3  # of more, the gateway lets some wait


@pytest_asyncio.fixture
async def writer(database: Database, open_parts_for: OpenParts) -> AsyncIterator[Writer]:
    async with open_writer(database, open_parts_for) as writer:
        yield writer


@pytest.fixture
def nobody_looks() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _here() -> Counter[str]:
    kinds = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(kind for kind in kinds if kind.startswith(_OURS))


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Of what is ours there must be as much afterwards as before."""
    before = _here()
    yield
    try:
        async with asyncio.timeout(PATIENCE):
            while _here() - before:
                await asyncio.sleep(0.01)
    except TimeoutError:
        assert dict(_here() - before) == {}


def _signed(notifier: RunningNotifier) -> str:
    return f"{PRINCIPAL_HEADER}: {notifier.headers(READER)[PRINCIPAL_HEADER]}"


@pytest.mark.usefixtures("nobody_looks")
async def test_a_websocket_leaves_nothing_in_the_notifier(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    """Each left its session, its conversation and both of its protocols, which referred to each other: 35 objects."""
    job_id = await writer.job(1)
    async with open_notifier(database, open_parts_for, MemoryBroker()) as notifier:
        for path in (f"/ws/{job_id}", "/ws", "/connection/websocket"):
            await _visit(notifier, path, f"job:{job_id}")  # a form stays, for all who follow
            async with leaving_nothing():
                for _ in range(_CLIENTS):
                    await _visit(notifier, path, f"job:{job_id}")


async def _visit(notifier: RunningNotifier, path: str, channel: str) -> None:
    async with raw_client(notifier.address.host, notifier.address.port, path, _signed(notifier)) as client:
        commands: tuple[dict[str, Any], ...] = ({"connect": {}}, {"subscribe": {"channel": channel}})
        for number, command in enumerate(commands if path.startswith("/connection") else (), 1):
            client.send(frame(Opcode.TEXT, json.dumps({"id": number} | command).encode()))
            assert (await client.frame())[0] is Opcode.TEXT
        if not path.startswith("/connection"):
            assert (await client.frame())[0] is Opcode.TEXT


@pytest.mark.usefixtures("nobody_looks")
async def test_a_stream_of_events_leaves_nothing_in_the_notifier(
    database: Database, open_parts_for: OpenParts, writer: Writer
) -> None:
    job_id = await writer.job(1)
    async with open_notifier(database, open_parts_for, MemoryBroker()) as notifier:
        place = notifier.address.host, notifier.address.port
        async with following(*place, sse(f"job:{job_id}", after="0"), _signed(notifier)):
            pass  # its form stays, for all who follow
        async with leaving_nothing():
            for _ in range(_CLIENTS):
                async with following(*place, sse(f"job:{job_id}", after="0"), _signed(notifier)) as stream:
                    await stream.next()


@pytest.mark.usefixtures("nobody_looks")
async def test_neither_a_websocket_nor_a_stream_leaves_anything_in_the_gateway(
    database: Database, open_parts_for: OpenParts, writer: Writer, tmp_path: Path
) -> None:
    job_id = await writer.job(1, tenant="default")
    async with (
        open_notifier(database, open_parts_for, MemoryBroker()) as notifier,
        open_gateway(database, tmp_path, notifier.address.url) as gateway,
    ):

        async def visit() -> None:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
                session.ws_connect(f"{gateway.url}/ws") as client,
            ):
                assert (await client.receive(PATIENCE)).type is aiohttp.WSMsgType.TEXT
            async with following(gateway.host, gateway.port, sse(f"job:{job_id}", after="0"), with_key()) as stream:
                await stream.next()

        await visit()  # what all share stays
        async with leaving_nothing():
            for _ in range(_CLIENTS):
                await visit()
