"""A connection is kept open with a fresh token, in the protocol's own way. The gateway decides on it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from deploy.provision import Database
from events.broker_memory import MemoryBroker
from fixtures.centrifugo import ENDPOINT, Client
from fixtures.gateway import KEY, open_gateway
from fixtures.notifier import RunningNotifier, open_notifier
from fixtures.parts import OpenParts
from fixtures.sockets import ADMIN, connected, plant
from fixtures.way import Way


async def test_a_connection_lives_by_the_token_that_refreshes_it(
    database: Database, open_parts_for: OpenParts, data_dir: Path
) -> None:
    async with (
        Way.to("http://127.0.0.1:1") as to_gateway,
        open_notifier(database, open_parts_for, MemoryBroker(), gateway_url=to_gateway.url) as notifier,
        open_gateway(database, data_dir, notifier.address.url) as gateway,
        connected(database) as connection,
    ):
        to_gateway.server_port = gateway.port

        @asynccontextmanager
        async def opened(**terms: Any) -> AsyncIterator[tuple[Client, dict[str, Any]]]:
            ticket = await plant(connection, **{"expires_at": int(time.time()) + 60, "subject": ADMIN, **terms})
            url = gateway.url.replace("http", "ws")
            async with connect(f"{url}{ENDPOINT}?ticket={ticket.text}", compression=None, proxy=None) as raw:
                client = Client(raw)
                yield client, (await client.ask(connect={}))["connect"]

        async with opened() as (client, told):
            assert told["expires"]
            assert 40 <= told["ttl"] <= 45
            (refreshed,) = (await client.ask(refresh={"token": KEY})).values()
            assert refreshed == {"client": told["client"], "version": "millrace"}
            assert await connection.fetchval("SELECT expires_at FROM gateway.sockets") is None
            assert await client.refused(refresh={"token": KEY}) == 108
        for terms, token in (({}, "mr_live_no"), ({"subject": "user:ada"}, KEY)):
            async with opened(**terms) as (client, _):
                await client.send({"refresh": {"token": token}})
                assert await client.closed() == (3500, "invalid token")
        async with opened(expires_at=None) as (client, told):
            assert "expires" not in told
            assert await client.refused(refresh={"token": KEY}) == 108


@pytest.mark.parametrize(
    ("status", "code", "heard"),
    [
        (401, "token_expired", (3005, "token expired")),
        (403, "forbidden", (3500, "invalid token")),
        (429, "quota_exceeded", 100),
        (503, "unavailable", 100),
        (None, "", 100),
    ],
)
async def test_what_the_gateway_refuses_for_now_may_be_asked_for_again(
    database: Database, open_parts_for: OpenParts, status: int | None, code: str, heard: object
) -> None:
    socket = uuid4()

    async def refuse(request: web.Request) -> web.Response:
        assert request.path == f"/api/v1/auth/sockets/{socket}/refresh"
        assert request.headers["Authorization"] == "Bearer x"
        assert status is not None
        return web.Response(status=status, body=json.dumps({"code": code}))

    app = web.Application()
    app.router.add_post("/{any:.*}", refuse)
    async with serving(app) as url:
        gateway_url = "http://127.0.0.1:1" if status is None else url
        terms = {"X-Socket-Id": str(socket), "X-Socket-Expires": str(int(time.time()) + 60)}
        async with (
            open_notifier(database, open_parts_for, MemoryBroker(), gateway_url=gateway_url) as notifier,
            client_of(notifier, terms) as client,
        ):
            if heard == 100:
                (error,) = (await client.ask(refresh={"token": "x"})).values()
                assert (error["code"], error["temporary"]) == (100, True)
            else:
                await client.send({"refresh": {"token": "x"}})
                assert await client.closed() == heard


@asynccontextmanager
async def client_of(notifier: RunningNotifier, headers: dict[str, str]) -> AsyncIterator[Client]:
    async with notifier.connecting(ENDPOINT, headers=headers) as raw:
        client = Client(raw)
        assert (await client.ask(connect={}))["connect"]["expires"]
        yield client


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
