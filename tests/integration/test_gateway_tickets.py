"""Tickets: one WebSocket, once, for 30 seconds."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection

from deploy.provision import Database
from events.identity import PRINCIPAL_HEADER, PrincipalSigner
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, open_gateway, read_head
from fixtures.parts import PRINCIPAL_SECRET, OpenParts
from fixtures.sockets import SWITCHED, UPGRADE, Site, answers, connecting, open_site, received, refusal
from gateway.tickets.tickets import Tickets

JOB = "01a1fbea-6fbc-7335-a459-98abf90680e7"


@pytest_asyncio.fixture
async def site(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, open_parts_for, tmp_path) as site:
        yield site


@pytest_asyncio.fixture(scope="module")
async def lone_gateway(gateway_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """Without any service behind it."""
    async with open_gateway(gateway_database, tmp_path_factory.mktemp("lone"), "http://127.0.0.1:9") as gateway:
        yield gateway


async def test_a_ticket_opens_a_socket_that_sees_its_makers_jobs(site: Site) -> None:
    made = await site.ticket()
    assert made["ticket"].startswith("mr_tkt_")
    assert len(made["ticket"]) > 40  # 256 bits
    assert made["channels"] is None
    job_id = await site.writer.job(2, tenant="default")
    async with connecting(site.gateway, f"/ws/{job_id}?after=1&ticket={made['ticket']}") as socket:
        assert (await received(socket))["version"] == 2
        assert socket.response is not None
        assert socket.response.headers["X-Socket-ID"] == made["socket"]


async def test_a_ticket_is_used_once(site: Site) -> None:
    ticket = (await site.ticket())["ticket"]
    async with connecting(site.gateway, f"/ws?ticket={ticket}") as socket:
        assert (await received(socket))["type"] == "connected"
        status, problem, headers = await refusal(connecting(site.gateway, f"/ws?ticket={ticket}"))
        assert (status, problem["code"], problem["instance"]) == (401, "unauthenticated", "/ws")
        assert headers["WWW-Authenticate"] == "Bearer"
        assert await answers(socket)


async def test_of_many_who_come_with_one_ticket_to_two_replicas_one_gets_in(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path, replicas=2) as site:
        made_here, used_there = site.gateways
        path = f"/ws?ticket={(await site.ticket(gateway=made_here))['ticket']}"

        async def attempt(number: int) -> ClientConnection | int:
            try:
                return await connecting(used_there if number % 2 else made_here, path)
            except Exception as refused:
                return int(getattr(refused, "response").status_code)  # noqa: B009

        outcomes = await asyncio.gather(*(attempt(number) for number in range(10)))
        opened = [outcome for outcome in outcomes if isinstance(outcome, ClientConnection)]
        assert [outcome for outcome in outcomes if isinstance(outcome, int)] == [401] * 9
        await opened[0].close()
        async with connecting(used_there, f"/ws?ticket={(await site.ticket(gateway=made_here))['ticket']}") as socket:
            assert (await received(socket))["type"] == "connected"


async def test_a_ticket_is_good_for_30_seconds_by_the_databases_clock(site: Site) -> None:
    early, late = (await site.ticket())["ticket"], (await site.ticket())["ticket"]
    await site.connection.execute("UPDATE gateway.tickets SET made_at = made_at - interval '25 s'")
    async with connecting(site.gateway, f"/ws?ticket={early}") as socket:
        assert (await received(socket))["type"] == "connected"
    await site.connection.execute("UPDATE gateway.tickets SET made_at = made_at - interval '6 s'")
    status, problem, _ = await refusal(connecting(site.gateway, f"/ws?ticket={late}"))
    assert (status, "expired" in problem["detail"]) == (401, True)


async def test_expired_tickets_are_swept(site: Site, open_parts_for: OpenParts) -> None:
    await site.ticket()
    await site.connection.execute("UPDATE gateway.tickets SET made_at = made_at - interval '31 s'")
    fresh = (await site.ticket())["ticket"]
    async with open_parts_for("gateway", site.database) as parts:
        await Tickets(parts.pool).sweep()
    assert await site.connection.fetchval("SELECT count(*) FROM gateway.tickets") == 1
    async with connecting(site.gateway, f"/ws?ticket={fresh}") as socket:
        assert (await received(socket))["type"] == "connected"


async def test_a_bound_ticket_sees_its_channels_and_nothing_else(site: Site) -> None:
    mine, other = [await site.writer.job(1, tenant="default") for _ in range(2)]

    async def bound(path: str) -> str:
        made = await site.ticket([f"job:{mine.upper()}"])
        assert made["channels"] == [f"job:{mine}"]
        return f"{path}?ticket={made['ticket']}"

    async with connecting(site.gateway, await bound(f"/ws/{mine}")) as socket:
        assert (await received(socket))["job_id"] == mine
    status, problem, _ = await refusal(connecting(site.gateway, await bound(f"/ws/{other}")))
    assert (status, problem["code"]) == (403, "forbidden")
    async with connecting(site.gateway, await bound("/ws") + "&after=0") as socket:
        greeting = await received(socket)
        assert (greeting["type"], greeting["only"]) == ("connected", [f"job:{mine}"])
        assert (await received(socket))["job_id"] == mine  # from the log
        await site.writer.append(other, tenant="default")
        await site.writer.append(mine, tenant="default")
        frame = await received(socket)  # live
        assert (frame["job_id"], frame["version"]) == (mine, 2)
        await socket.send(json.dumps({"action": "subscribe", "job_id": other}))
        refused = await received(socket)
        assert (refused["type"], refused["code"], refused["job_id"]) == ("error", "forbidden", other)
        await socket.send(json.dumps({"action": "subscribe", "job_id": mine, "after": 1}))
        assert (await received(socket))["type"] == "subscribed"
        assert (await received(socket))["version"] == 2


BAD_BODIES = {
    "no category": ({"channels": ["nonsense"]}, "body.channels[0]"),
    "an unknown category": ({"channels": ["file:1"]}, "body.channels[0]"),
    "no uuid": ({"channels": [f"job:{JOB}", "job:1"]}, "body.channels[1]"),
    "another tenant": ({"channels": ["tenant:evil"]}, "body.channels[0]"),
    "another user": ({"channels": ["user:1"]}, "body.channels[0]"),
    "none at all": ({"channels": []}, "body.channels"),
    "too many": ({"channels": ["tenant:default"] * 101}, "body.channels"),
    "no list": ({"channels": "job:1"}, "body.channels"),
    "no text": ({"channels": [1]}, "body.channels[0]"),
    "an unknown field": ({"scopes": ["ops"]}, "body.scopes"),
    "no object": ([], "body"),
}


@pytest.mark.parametrize(("body", "place"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_wrong_wish_names_its_field(lone_gateway: Gateway, body: object, place: str) -> None:
    fields = ("Content-Type: application/json",)
    answer = await lone_gateway.ask("POST /api/v1/auth/tickets", *fields, body=json.dumps(body).encode())
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"]) == (422, "invalid_input")
    assert [error["field"] for error in problem["errors"]] == [place]


async def test_a_ticket_may_be_bound_to_what_is_ones_own(site: Site) -> None:
    assert (await site.ticket(["tenant:default", "tenant:default"]))["channels"] == ["tenant:default"]


async def test_a_ticket_is_good_for_nothing_but_a_websocket(site: Site) -> None:
    ticket = (await site.ticket())["ticket"]
    for line, fields in (
        (f"GET /ws?ticket={ticket}", ()),  # no upgrade
        (f"GET /api/v1/jobs?ticket={ticket}", ()),
        (f"GET /api/v1/jobs?ticket={ticket}", UPGRADE),
        ("GET /api/v1/jobs", (f"Authorization: Bearer {ticket}",)),
        ("POST /api/v1/auth/tickets", (f"X-API-Key: {ticket}",)),
    ):
        assert (await site.gateway.ask(line, *fields, key=None)).status == 401
    async with connecting(site.gateway, f"/ws?ticket={ticket}") as socket:
        assert (await received(socket))["type"] == "connected"


async def test_a_ticket_is_not_made_without_a_credential(site: Site) -> None:
    answer = await site.gateway.ask("POST /api/v1/auth/tickets", key=None)
    assert (answer.status, json.loads(answer.body)["code"]) == (401, "unauthenticated")


IN_QUERY = {
    "a key": f"key={KEY}",
    "a token": "token=eyJhbGciOiJFZERTQSJ9.e30.c2ln",
    "an access token": "after=3&access_token=abc",
    "its name encoded": f"%74oken={KEY}",
    "its name in capitals": f"API_KEY={KEY}",
    "a key by any name": f"x={quote(KEY)}",
    "a malformed ticket": "ticket=mr_tkt_short",
    "an empty ticket": "ticket=",
    "a ticket that nobody made": "ticket=mr_tkt_" + "A" * 43,
    "two tickets": "ticket=mr_tkt_" + "A" * 43 + "&ticket=mr_tkt_" + "B" * 43,
}


@pytest.mark.parametrize("query", IN_QUERY.values(), ids=IN_QUERY)
@pytest.mark.parametrize("path", ["/ws", f"/api/v1/ws/{JOB}", "/connection/websocket"])
async def test_any_other_credential_in_a_query_is_refused_and_told_what_to_do(
    lone_gateway: Gateway, query: str, path: str
) -> None:
    status, problem, _ = await refusal(connecting(lone_gateway, f"{path}?{query}"))
    assert (status, problem["code"], problem["instance"]) == (401, "unauthenticated", path)
    assert "POST /api/v1/auth/tickets" in problem["detail"] or "one credential" in problem["detail"]
    assert query not in json.dumps(problem)


async def test_a_ticket_beside_a_header_is_one_credential_too_many_and_stays_good(site: Site) -> None:
    ticket = (await site.ticket())["ticket"]
    status, problem, _ = await refusal(connecting(site.gateway, f"/ws?ticket={ticket}", key=KEY))
    assert (status, "more than one credential" in problem["detail"]) == (401, True)
    async with connecting(site.gateway, f"/ws?ticket={ticket}") as socket:
        assert (await received(socket))["type"] == "connected"


async def test_the_service_sees_the_principal_and_never_the_ticket(gateway_database: Database, tmp_path: Path) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def switches(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        signed = head.get(PRINCIPAL_HEADER)
        assert signed is not None
        assert PrincipalSigner(PRINCIPAL_SECRET).verify(signed).tenant == "default"
        assert "mr_tkt_" not in str(head)
        await seen.put(head.line)
        writer.write(SWITCHED)
        await reader.read()

    async with Upstream.open(switches) as upstream, open_gateway(gateway_database, tmp_path, upstream.url) as gateway:
        for before, after in (
            ("?ticket={}", ""),
            ("?ticket={}&after=3", "?after=3"),
            ("?after=3&ticket={}&x=%2B", "?after=3&x=%2B"),
            ("?after=3&%74icket={}", "?after=3"),
            ("?&ticket={}", "?"),
        ):
            ticket = json.loads((await gateway.ask("POST /api/v1/auth/tickets")).body)["ticket"]
            async with gateway.wire() as wire:
                wire.request(f"GET /ws/1{before.format(ticket)}", *UPGRADE, key=None)
                assert (await wire.head()).status == 101
                assert await asyncio.wait_for(seen.get(), PATIENCE) == f"GET /ws/1{after} HTTP/1.1"
