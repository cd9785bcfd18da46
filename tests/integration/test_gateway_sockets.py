"""When WebSockets end, and that they say why: revoked, expired, drained; and how many there may be."""

import asyncio
import json
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from deploy.process import free_port
from deploy.provision import Database
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, Wire, open_gateway, read_body, read_head
from fixtures.parts import OpenParts
from fixtures.sockets import (
    ADMIN,
    SWITCHED,
    UPGRADE,
    Site,
    answers,
    closed,
    connected,
    connecting,
    open_site,
    plant,
    received,
    refusal,
)
from gateway.wire.boundaries import close_frame

REVOKED = (4401, "credential revoked")
EXPIRED = (4401, "credential expired")
WHOLE = b"\x82\x0a0123456789"  # a frame


@pytest_asyncio.fixture
async def site(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, open_parts_for, tmp_path) as site:
        yield site


@pytest_asyncio.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


async def greeted(site: Site, stack: AsyncExitStack, gateway: Gateway | None = None, **terms: Any) -> ClientConnection:
    """A socket that lives on these terms. Tickets that are about as old as what a replica heard are distrusted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ticket = await site.plant(**terms)
            try:
                opening = connecting(gateway or site.gateway, f"/ws?ticket={ticket.text}")
                socket = await stack.enter_async_context(opening)
            except InvalidStatus as refused:
                if refused.response.status_code != 401:
                    raise
                continue
            assert (await received(socket))["type"] == "connected"
            return socket


async def tunnel(connection: asyncpg.Connection, wire: Wire, path: str) -> None:
    """The same for `key:gone` on a bare connection."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ticket = await plant(connection, ended_by=["key:gone"])
            wire.request(f"GET {path}?ticket={ticket.text}", *UPGRADE, key=None)
            head = await wire.head()
            if head.status == 101:
                return
            assert head.status == 401
            await read_body(wire.reader, head)


async def test_revoking_a_credential_closes_its_sockets_on_every_replica_and_no_others(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path, replicas=2) as site, AsyncExitStack() as stack:
        revoked = [
            await greeted(site, stack, gateway, ended_by=["key:gone", "user:her"])
            for gateway in (*site.gateways, *site.gateways)
        ]
        others = [
            await greeted(site, stack, gateway, subject="key:stays", ended_by=["key:stays"])
            for gateway in site.gateways
        ]
        await site.revoke("key:gone")
        for socket in revoked:
            assert await closed(socket) == REVOKED
        assert all([await answers(socket) for socket in others])


async def test_a_ticket_is_worth_nothing_once_its_makers_credential_is_revoked(site: Site) -> None:
    async with AsyncExitStack() as stack:
        ticket = await site.plant(ended_by=["key:gone"])
        witness = await greeted(site, stack, ended_by=["key:gone"])
        await site.revoke("key:gone")
        assert await closed(witness) == REVOKED
        status, problem, _ = await refusal(connecting(site.gateway, f"/ws?ticket={ticket.text}"))
        assert (status, problem["detail"]) == (401, "The credential has been revoked.")
        await greeted(site, stack, ended_by=["key:gone"])  # made after it, so it was given anew


async def test_a_credential_that_is_revoked_during_the_handshake_opens_nothing(
    database: Database, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: Reader, writer: Writer) -> None:
        if "/ws/witness" not in (await read_head(reader)).line:
            asked.set()
            await go_on.wait()
        writer.write(SWITCHED)
        await reader.read()

    async with (
        Upstream.open(slow) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
        gateway.wire() as witness,
    ):
        await tunnel(connection, witness, "/ws/witness")
        ticket = await plant(connection, ended_by=["key:gone"])
        wire.request(f"GET /ws?ticket={ticket.text}", *UPGRADE, key=None)
        await asyncio.wait_for(asked.wait(), PATIENCE)
        await connection.execute("SELECT pg_notify('millrace_revoked', 'key:gone')")
        assert await witness.rest() == close_frame(*REVOKED)
        go_on.set()
        assert (await wire.head()).status == 101
        assert await wire.rest() == close_frame(*REVOKED)


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "never finished"])
async def test_the_close_stands_between_two_frames_and_nothing_comes_behind_it(
    database: Database, connection: asyncpg.Connection, tmp_path: Path, finished: bool
) -> None:
    go_on, heard_end = asyncio.Event(), asyncio.Event()

    async def halting(reader: Reader, writer: Writer) -> None:
        if "/ws/witness" in (await read_head(reader)).line:
            writer.write(SWITCHED)
        else:
            writer.write(SWITCHED + WHOLE + WHOLE[:5])
            await go_on.wait()
            if finished:
                writer.write(WHOLE[5:] + WHOLE)
                assert await reader.read() == b"", "what the client says is not passed on any more"
        await reader.read()
        heard_end.set()

    async with (
        Upstream.open(halting) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
        gateway.wire() as witness,
    ):
        await tunnel(connection, witness, "/ws/witness")
        await tunnel(connection, wire, "/ws")
        begun = await asyncio.wait_for(wire.reader.readexactly(len(WHOLE) + 5), PATIENCE)
        await connection.execute("SELECT pg_notify('millrace_revoked', 'key:gone')")
        assert await witness.rest() == close_frame(*REVOKED)
        go_on.set()
        if finished:
            assert begun + await wire.rest() == WHOLE + WHOLE + close_frame(*REVOKED)
            wire.send(b"\x88\x80mask")
            wire.writer.write_eof()
        else:
            assert await wire.rest() == b"", "a close in the middle of a frame would be read as its payload"
        await asyncio.wait_for(heard_end.wait(), PATIENCE)


async def test_a_socket_that_its_service_has_ended_already_is_let_be(
    database: Database, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """A frame written behind our own end-of-stream raised, and those who came after it in the list stayed open."""

    async def leaves(reader: Reader, writer: Writer) -> None:
        ends = "/ws/witness" not in (await read_head(reader)).line
        writer.write(SWITCHED)
        if ends:
            writer.write_eof()
        await reader.read()

    async with (
        Upstream.open(leaves) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        AsyncExitStack() as stack,
    ):
        wires = [await stack.enter_async_context(gateway.wire()) for _ in range(6)]
        for number, wire in enumerate(wires):
            await tunnel(connection, wire, "/ws" if number % 2 else "/ws/witness")
        for wire in wires[1::2]:
            assert await wire.rest() == b""  # half-closed: the client may still speak
        await connection.execute("SELECT pg_notify('millrace_revoked', 'key:gone')")
        for wire in wires[::2]:
            assert await wire.rest() == close_frame(*REVOKED)


async def test_whoever_cannot_hear_revocations_sends_those_away_whom_they_may_concern(site: Site) -> None:
    async with AsyncExitStack() as stack:
        revocable = await greeted(site, stack, ended_by=["key:perhaps"])
        ticket = await site.plant(ended_by=["key:perhaps"])
        forever = await greeted(site, stack)
        cut = await site.connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query ILIKE 'LISTEN%millrace_revoked%'"
        )
        assert cut == 1
        assert await closed(revocable) == (1012, "Revocations were out of hearing. Connect again.")
        assert await answers(forever)
        status, problem, _ = await refusal(connecting(site.gateway, f"/ws?ticket={ticket.text}"))
        assert (status, "not known here" in problem["detail"]) == (401, True)
        await greeted(site, stack, ended_by=["key:perhaps"])


async def test_a_socket_ends_with_its_credential_unless_it_is_refreshed_through_any_replica(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path, replicas=2) as site, AsyncExitStack() as stack:
        holds, other = site.gateways
        soon = int(time.time()) + 5
        kept, lost, foreign = [
            await greeted(site, stack, holds, expires_at=soon, ended_by=["session:1"], **terms)
            for terms in ({"subject": ADMIN}, {"subject": ADMIN}, {"subject": "user:other"})
        ]

        async def refresh(socket: ClientConnection) -> tuple[int, dict[str, object]]:
            assert socket.response is not None
            name = socket.response.headers["X-Socket-ID"]
            answer = await other.ask(f"POST /api/v1/auth/sockets/{name}/refresh")
            return answer.status, json.loads(answer.body)

        status, terms = await refresh(kept)
        assert (status, terms["expires_at"]) == (200, None)
        assert (await refresh(foreign))[0] == 404
        assert await closed(lost) == EXPIRED
        assert await closed(foreign) == EXPIRED
        assert await answers(kept)
        await site.revoke("session:1")  # it lives by another credential now
        assert await answers(kept)


async def test_a_refreshed_socket_ends_when_what_refreshed_it_is_revoked(site: Site) -> None:
    async with AsyncExitStack() as stack:
        socket = await greeted(site, stack, expires_at=int(time.time()) + 60, ended_by=["session:1"])
        witness = await greeted(site, stack, ended_by=["session:2"])
        assert socket.response is not None
        name = socket.response.headers["X-Socket-ID"]
        async with site.connection.transaction():
            await site.connection.execute(
                "UPDATE gateway.sockets SET ended_by = '{session:2}', changed_at = now() WHERE id = $1::uuid", name
            )
            await site.revoke(f"socket:{name}")
        await site.revoke("session:2")
        assert await closed(socket) == REVOKED
        assert await closed(witness) == REVOKED


@pytest.mark.parametrize("name", ["01a1fbea-6fbc-7335-a459-98abf90680e7", "nonsense"])
async def test_a_socket_that_is_not_there_cannot_be_refreshed(site: Site, name: str) -> None:
    answer = await site.gateway.ask(f"POST /api/v1/auth/sockets/{name}/refresh")
    assert (answer.status, json.loads(answer.body)["code"]) in ((404, "not_found"), (422, "invalid_input"))


async def test_an_expired_credentials_ticket_opens_nothing(site: Site) -> None:
    ticket = await site.plant(expires_at=int(time.time()) - 1)
    status, problem, _ = await refusal(connecting(site.gateway, f"/ws?ticket={ticket.text}"))
    assert (status, problem["detail"]) == (401, "The credential has expired.")


async def test_draining_sends_everybody_away_while_a_request_finishes_and_refuses_nobody(
    database: Database, connection: asyncpg.Connection, tmp_path: Path
) -> None:
    """Who opened a WebSocket on a connection that was kept got a 503, as if there were no other replica."""
    go_on = asyncio.Event()

    async def service(reader: Reader, writer: Writer) -> None:
        if (await read_head(reader)).get("upgrade"):
            writer.write(SWITCHED)
            await reader.read()
        else:
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    async with AsyncExitStack() as stack, Upstream.open(service) as upstream:
        running = open_gateway(database, tmp_path, upstream.url)
        gateway = await running.__aenter__()

        async def wire() -> Wire:
            return await stack.enter_async_context(gateway.wire())

        request, latecomer, prober = await wire(), await wire(), await wire()
        sockets = [await wire() for _ in range(20)]
        for number, socket in enumerate(sockets):
            socket.request(f"GET /ws/{number}", *UPGRADE)
            assert (await socket.head()).status == 101
        prober.request("GET /readyz")
        assert (await prober.answer()).status == 200
        request.request("GET /api/v1/jobs")
        stopping = asyncio.create_task(running.__aexit__(None, None, None))
        for socket in sockets:  # none of them hangs up, so that it stays as it is for a while
            assert await socket.rest() == close_frame(1012, "The service restarts. Connect again.")
        prober.request("GET /readyz")
        not_ready = await prober.answer()
        assert (not_ready.status, json.loads(not_ready.body)["service"]) == (503, "down")
        assert not_ready.head.get("retry-after") == "1"
        assert not_ready.head.get("connection") == "close", "its next request goes to another replica"
        latecomer.request("GET /ws", *UPGRADE)
        assert (await latecomer.head()).status == 101
        assert await latecomer.rest() == close_frame(1012, "The service restarts. Connect again.")
        latecomer.writer.close()
        go_on.set()
        assert (await request.answer()).body == b"done"
        for socket in sockets:
            socket.writer.close()
        await asyncio.wait_for(stopping, PATIENCE)


async def test_a_notifier_that_stops_sends_its_clients_away_with_1012(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with AsyncExitStack() as clients:
        async with open_site(database, open_parts_for, tmp_path) as site:
            sockets = [await greeted(site, clients) for _ in range(5)]
        for socket in sockets:
            assert await closed(socket) == (1012, "The service restarts. Connect again.")


@pytest.mark.parametrize("limit", ["max_sockets", "max_sockets_per_tenant", "max_sockets_per_subject"])
async def test_open_sockets_have_a_limit(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, limit: str
) -> None:
    async with open_site(database, open_parts_for, tmp_path, **{limit: 2}) as site, AsyncExitStack() as stack:
        first, _ = [await greeted(site, stack, subject=ADMIN) for _ in range(2)]
        status, problem, headers = await refusal(connecting(site.gateway, "/ws", key=KEY))
        assert (status, problem["code"]) == (429, "too_many_sockets")
        assert int(headers["Retry-After"]) > 0
        if limit != "max_sockets":
            await greeted(site, stack, tenant="another")
        if limit == "max_sockets_per_subject":
            await greeted(site, stack)
        await first.close()
        async with asyncio.timeout(PATIENCE):
            while True:  # the place is free as soon as the gateway has seen the end of it
                try:
                    await greeted(site, stack, subject=ADMIN)
                    break
                except Exception:
                    await asyncio.sleep(0.01)
        assert (await refusal(connecting(site.gateway, "/ws", key=KEY)))[0] == 429


async def test_a_refused_handshake_takes_no_place(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path, max_sockets=1) as site, AsyncExitStack() as stack:
        for _ in range(3):
            assert (await refusal(connecting(site.gateway, "/ws/nonsense", key=KEY)))[0] == 422
        await greeted(site, stack)


JOB = "01a1fbea-6fbc-7335-a459-98abf90680e7"
WRONG_UPGRADES = {
    "an unknown path": ("/nowhere", (), 404, "not_found"),
    "a path below a job": (f"/ws/{JOB}/more", (), 404, "not_found"),
    "a dialect that is not there": ("/connection/engine", (), 404, "not_found"),
    "a job that is not there": (f"/ws/{JOB}", (), 404, "not_found"),
    "no job's id": ("/ws/nonsense", (), 422, "invalid_input"),
    "a wrong cursor": ("/ws?after=nonsense", (), 422, "invalid_input"),
    "a cursor of another log": (f"/ws?after={JOB}.3", (), 410, "cursor_expired"),
    "a path trick": ("/ws/%2e%2e/metrics", (), 404, "not_found"),
    "an old version": ("/ws", ("Sec-WebSocket-Version: 8",), 426, "upgrade_required"),
    "a wrong key": ("/ws", ("Sec-WebSocket-Key: short",), 400, "bad_request"),
}


async def test_a_wrong_upgrade_is_answered_with_a_problem_and_never_with_a_bare_403(site: Site) -> None:
    for path, changed, status, code in WRONG_UPGRADES.values():
        names = {field.partition(":")[0] for field in changed}
        fields = [field for field in UPGRADE if field.partition(":")[0] not in names]
        answer = await site.gateway.ask(f"GET {path}", *fields, *changed)
        problem = json.loads(answer.body)
        assert (answer.status, problem["code"]) == (status, code), path
        assert answer.head.get("content-type") == "application/problem+json"
        assert (problem["status"], problem["instance"]) == (status, path.partition("?")[0])
        assert problem["request_id"] == answer.head.get("x-request-id")


async def test_without_a_database_a_ticket_is_503_and_the_admin_key_still_opens_sockets(tmp_path: Path) -> None:
    async def switches(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        await reader.read()

    gone = Database(f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/nothing", {"gateway": "nothing"})
    async with Upstream.open(switches) as upstream, open_gateway(gone, tmp_path, upstream.url) as gateway:
        for line, fields, key in (
            ("POST /api/v1/auth/tickets", (), KEY),
            ("GET /ws?ticket=mr_tkt_" + "A" * 43, UPGRADE, None),
        ):
            answer = await gateway.ask(line, *fields, key=key)
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")
            assert answer.head.get("retry-after") == "1"
        async with gateway.wire() as wire:
            wire.request("GET /ws", *UPGRADE)
            assert (await wire.head()).status == 101


ORIGINS = {
    "no browser": (None, 101),
    "the same origin": ("https://millrace.example", 101),
    "an allowed one": ("https://app.example:8443", 101),
    "an allowed one in capitals": ("https://APP.example:8443", 101),
    "a foreign one": ("https://evil.example", 403),
    "another port": ("https://app.example", 403),
    "another scheme": ("http://app.example:8443", 403),
    "one that begins alike": ("https://app.example:8443.evil.example", 403),
    "a sandboxed page": ("null", 403),
    "an empty one": ("", 403),
}


@pytest.mark.parametrize(("origin", "status"), ORIGINS.values(), ids=ORIGINS)
async def test_foreign_pages_open_no_sockets(
    gateway_database: Database, tmp_path: Path, origin: str | None, status: int
) -> None:
    async def switches(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        await reader.read()

    async with (
        Upstream.open(switches) as upstream,
        open_gateway(
            gateway_database, tmp_path, upstream.url, allowed_origins="https://app.example:8443, https://b.example"
        ) as gateway,
        gateway.wire() as wire,
    ):
        wire.request(f"GET /ws/{uuid4()}", *UPGRADE, *([] if origin is None else [f"Origin: {origin}"]))
        if status == 101:
            assert (await wire.head()).status == 101
        else:
            answer = await wire.answer()
            assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")
