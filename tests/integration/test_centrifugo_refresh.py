"""A connection is kept open with a fresh token, in the protocol's own way. The gateway decides on it."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.accounts import register
from fixtures.centrifugo import ENDPOINT, Client
from fixtures.gateway import KEY, Gateway, open_gateway
from fixtures.limits import COUNTED, only
from fixtures.notifier import RunningNotifier, open_notifier
from fixtures.parts import OpenParts
from fixtures.sockets import ADMIN, connected, plant
from fixtures.way import Way
from gateway.limits.sealed_address import SealedAddresses


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

        async with opened(gateway, connection) as (client, told):
            assert told["expires"]
            assert 40 <= told["ttl"] <= 45
            (refreshed,) = (await client.ask(refresh={"token": KEY})).values()
            assert refreshed == {"client": told["client"], "version": "millrace"}
            assert await connection.fetchval("SELECT expires_at FROM gateway.sockets") is None
            assert await client.refused(refresh={"token": KEY}) == 108
        for subject, token in ((ADMIN, "mr_live_no"), ("user:ada", KEY)):
            async with opened(gateway, connection, subject=subject) as (client, _):
                await client.send({"refresh": {"token": token}})
                assert await client.closed() == (3500, "invalid token")
        async with opened(gateway, connection, expires_at=None) as (client, told):
            assert "expires" not in told
            assert await client.refused(refresh={"token": KEY}) == 108


@pytest.mark.parametrize("by_token", [False, True], ids=["opened with a ticket", "opened with a token"])
async def test_wrong_tokens_count_for_the_address_of_their_client_and_not_for_the_notifiers(
    database: Database, open_parts_for: OpenParts, data_dir: Path, by_token: bool
) -> None:
    """The gateway hears all of them from the notifier: a few clients with old tokens kept everybody from refreshing."""
    settings: dict[str, Any] = {"trusted_proxies": ["127.0.0.1/32"], "limits": only("guess", "address", 3), **COUNTED}
    async with (
        Way.to("http://127.0.0.1:1") as to_gateway,
        open_notifier(database, open_parts_for, MemoryBroker(), gateway_url=to_gateway.url) as notifier,
        open_gateway(database, data_dir, notifier.address.url, **settings) as gateway,
        connected(database) as connection,
    ):
        to_gateway.server_port = gateway.port
        ada = (await register(gateway, "ada@example.org")).access
        token = {"token": ada} if by_token else None
        async with opened(gateway, connection, address="203.0.113.8", token=token) as (patient, _):
            for _ in range(3):
                async with opened(gateway, connection, address="203.0.113.7", token=token) as (client, _):
                    await client.send({"refresh": {"token": "mr_live_no"}})
                    assert await client.closed() == (3500, "invalid token")
            async with opened(gateway, connection, address="203.0.113.7", token=token) as (client, _):
                assert await client.refused(refresh={"token": "mr_live_no"}) == 100, (
                    "a guesser is not heard for a while"
                )
            good = ada if by_token else KEY
            assert "refresh" in await patient.ask(refresh={"token": good})
        for address, status in (("203.0.113.7", 429), ("203.0.113.8", 401)):
            refused = await gateway.ask("GET /api/v1/jobs", f"X-Forwarded-For: {address}", key="mr_live_no")
            assert refused.status == status


async def test_nobody_can_lay_wrong_tokens_at_anothers_door(
    database: Database, data_dir: Path, any_service: str
) -> None:
    settings: dict[str, Any] = {"trusted_proxies": ["127.0.0.1/32"], "limits": only("guess", "address", 1), **COUNTED}
    stolen = SealedAddresses("the pepper of another installation").seal("203.0.113.8").decode()
    async with open_gateway(database, data_dir, any_service, **settings) as gateway:
        heard = []
        for client in ("X-Socket-Client: 203.0.113.8", f"X-Socket-Client: {stolen}"):
            path = f"POST /api/v1/auth/sockets/{uuid4()}/refresh"
            answer = await gateway.ask(path, "X-Forwarded-For: 203.0.113.7", client, key="mr_live_no")
            heard.append(answer.status)
        assert heard == [401, 429]
        assert (await gateway.ask("GET /api/v1/jobs", "X-Forwarded-For: 203.0.113.8", key=None)).status == 401


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
        assert (request.headers["Authorization"], request.headers["X-Socket-Client"]) == ("Bearer x", "sealed")
        assert status is not None
        return web.Response(status=status, body=json.dumps({"code": code}))

    app = web.Application()
    app.router.add_post("/{any:.*}", refuse)
    async with serving(app) as url:
        gateway_url = "http://127.0.0.1:1" if status is None else url
        terms = {"X-Socket-Id": str(socket), "X-Socket-Expires": str(int(time.time()) + 60)}
        terms["X-Socket-Client"] = "sealed"
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
async def opened(
    gateway: Gateway,
    connection: asyncpg.Connection,
    *,
    address: str = "203.0.113.1",
    token: dict[str, str] | None = None,
    **terms: Any,
) -> AsyncIterator[tuple[Client, dict[str, Any]]]:
    """A client that has connected with this token, or else by a ticket of these terms; and what it was told."""
    query = ""
    if token is None:
        ticket = await plant(connection, **{"expires_at": int(time.time()) + 60, "subject": ADMIN, **terms})
        query = f"?ticket={ticket.text}"
    url = f"{gateway.url.replace('http', 'ws')}{ENDPOINT}{query}"
    seen = {"X-Forwarded-For": address}
    async with connect(url, compression=None, proxy=None, additional_headers=seen) as raw:
        client = Client(raw)
        yield client, (await client.ask(connect=token or {}))["connect"]


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
