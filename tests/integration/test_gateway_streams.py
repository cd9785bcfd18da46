"""Streams of events through the gateway: how many there may be, when they end and that they say why, and how a browser
that came by a ticket comes back."""

import asyncio
import json
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.database import load_queries
from fixtures.event_streams import EventClient, Refused, Said, following, sse, with_key
from fixtures.gateway import PATIENCE, Gateway, Upstream, open_gateway, read_head
from fixtures.parts import OpenParts
from fixtures.sockets import ADMIN, Site, connected, open_site, plant
from gateway.tickets.tickets import hash_ticket

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = "Content-Type: application/json"
BEGUN = b"retry: 1000\nid: e.1\n\n"


@pytest_asyncio.fixture
async def site(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, open_parts_for, tmp_path) as site:
        yield site


def follow(
    gateway: Gateway, path: str, *fields: str, last_id: str | None = None
) -> AbstractAsyncContextManager[EventClient]:
    return following(gateway.host, gateway.port, path, *fields, last_id=last_id)


def chunk(text: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text)


async def refusal(gateway: Gateway, path: str, *fields: str) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        async with follow(gateway, path, *fields):
            pass
    return refused.value.said


async def planted(site: Site, stack: AsyncExitStack, path: str, **terms: Any) -> tuple[EventClient, str, str]:
    """A stream that lives on these terms, its URL, and its cookie. Tickets that are about as old as what a replica
    heard are distrusted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            url = f"{path}&ticket={(await site.plant(**terms)).text}"
            try:
                client = await stack.enter_async_context(follow(site.gateway, url))
            except Refused as refused:
                if refused.head.status != 401:
                    raise
                continue
            await client.until_begun()
            cookie, *terms_of_it = str(client.head.get("set-cookie")).split("; ")
            assert terms_of_it == ["Path=/api/v1/connection/sse", "HttpOnly", "SameSite=Strict"]
            return client, url, f"Cookie: other=1; {cookie}"


def why(said: list[Said]) -> tuple[str, str, str]:
    (error,) = said
    return error.event, error.data["code"], error.data["detail"]


REVOKED = ("error", "unauthenticated", "Credential revoked.")


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_events_come_as_they_happen_and_go_on_where_they_were(site: Site, prefix: str) -> None:
    job_id = await site.writer.job(2, tenant="default")
    path = sse(f"job:{job_id}", after="0").replace("/api/v1", prefix)
    async with follow(site.gateway, path, with_key(), "Accept-Encoding: gzip, zstd") as client:
        assert client.head.get("content-encoding") is None
        assert await client.versions(2) == [1, 2]
        await site.writer.append(job_id, tenant="default")
        assert await client.versions(1) == [3]
        last_id = client.last_id
    await site.writer.append(job_id, 2, tenant="default")
    async with follow(site.gateway, path, with_key(), last_id=last_id) as client:
        assert await client.versions(2) == [4, 5]


async def test_a_ticket_that_is_used_up_opens_its_stream_again_with_the_cookie_of_its_first_answer(site: Site) -> None:
    """EventSource comes back with the same URL, and the ticket in it was refused."""
    job_id = await site.writer.job(1, tenant="default")
    ticket = await site.ticket([f"job:{job_id}"])
    path = sse(f"job:{job_id}", after="0", ticket=ticket["ticket"])
    async with follow(site.gateway, path) as client:
        assert client.head.get("x-socket-id") == ticket["socket"]
        cookie = f"Cookie: {str(client.head.get('set-cookie')).partition(';')[0]}"
        assert await client.versions(1) == [1]
    await site.writer.append(job_id, tenant="default")
    for version in (2, 3):
        async with follow(site.gateway, path, cookie, last_id=client.last_id) as client:
            assert client.head.get("x-socket-id") == ticket["socket"]
            assert await client.versions(1) == [version]
            await site.writer.append(job_id, tenant="default")
    assert await refusal(site.gateway, path) == (401, "unauthenticated"), "the URL alone may have been in a log"
    other = await site.ticket([f"job:{job_id}"])
    async with follow(site.gateway, sse(f"job:{job_id}", ticket=other["ticket"]), cookie) as client:
        assert client.head.get("set-cookie") is not None, "a cookie of another stream counts for nothing"
    elsewhere = sse(f"job:{await site.writer.job(1, tenant='default')}", ticket=ticket["ticket"])
    assert await refusal(site.gateway, elsewhere, cookie) == (403, "forbidden"), "it is bound to its channels still"


async def test_a_stream_is_opened_again_on_any_replica_and_a_revoked_one_on_none(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    """A gateway that has just been started has heard of nothing, and refused what it could not be sure of."""
    async with open_site(database, open_parts_for, tmp_path) as site:
        job_id = await site.writer.job(1, tenant="default")
        made = await site.gateway.ask("POST /api/v1/keys", JSON, body=b'{"name":"page","scopes":["jobs:read"]}')
        key = json.loads(made.body)
        ticket = json.loads((await site.gateway.ask("POST /api/v1/auth/tickets", key=key["key"])).body)["ticket"]
        path = sse(f"job:{job_id}", ticket=ticket)
        async with follow(site.gateway, path) as client:
            cookie = f"Cookie: {str(client.head.get('set-cookie')).partition(';')[0]}"
            last_id = await client.until_begun()
        await site.writer.append(job_id, tenant="default")
        async with open_gateway(database, tmp_path / "new", site.notifier.address.url) as fresh:
            async with follow(fresh, path, cookie, last_id=last_id) as client:
                assert await client.versions(1) == [2]
            assert (await site.gateway.ask(f"DELETE /api/v1/keys/{key['id']}")).status == 204
            assert await refusal(fresh, path, cookie) == (401, "unauthenticated")


async def test_who_comes_again_before_the_loss_was_noticed_takes_the_place_over(site: Site) -> None:
    job_id = await site.writer.job(1, tenant="default")
    async with AsyncExitStack() as stack:
        client, path, cookie = await planted(site, stack, sse(f"job:{job_id}"))
        async with follow(site.gateway, path, cookie) as again:
            assert why(await client.rest()) == ("error", "unavailable", "It was opened again.")
            await site.writer.append(job_id, tenant="default")
            assert await again.versions(1) == [2]


async def test_a_revocation_ends_a_stream_within_a_second_and_its_way_back(site: Site) -> None:
    job_id = await site.writer.job(1, tenant="default")
    async with AsyncExitStack() as stack:
        client, path, cookie = await planted(site, stack, sse(f"job:{job_id}"), ended_by=["key:gone"])
        other, *_ = await planted(site, stack, sse(f"job:{job_id}"), ended_by=["key:stays"])
        began = time.monotonic()
        await site.revoke("key:gone")
        assert why(await client.rest()) == REVOKED
        assert time.monotonic() - began < 1
        assert client.ended
        async with asyncio.timeout(PATIENCE):
            while await site.connection.fetchval("SELECT count(*) FROM gateway.streams") > 1:
                pass
        assert await refusal(site.gateway, path, cookie) == (401, "unauthenticated")
        await site.writer.append(job_id, tenant="default")
        assert await other.versions(1) == [2]


async def test_a_revocation_that_is_heard_while_a_stream_is_looked_up_counts(site: Site) -> None:
    job_id = await site.writer.job(1, tenant="default")
    async with AsyncExitStack() as stack:
        client, path, cookie = await planted(site, stack, sse(f"job:{job_id}"), ended_by=["key:gone"])
        other, *_ = await planted(site, stack, sse(f"job:{job_id}"), ended_by=["key:gone"])
        client.hang_up()
        locking = await stack.enter_async_context(connected(site.database))
        async with locking.transaction():
            await locking.execute("LOCK TABLE gateway.streams IN ACCESS EXCLUSIVE MODE")
            again = asyncio.create_task(refusal(site.gateway, path, cookie))
            async with asyncio.timeout(PATIENCE):
                while not await site.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    pass
            await site.revoke("key:gone")
            assert why(await other.rest()) == REVOKED
        assert await again == (401, "unauthenticated")


async def test_a_stream_expires_with_its_credential(site: Site) -> None:
    job_id = await site.writer.job(1, tenant="default")
    async with AsyncExitStack() as stack:
        client, path, cookie = await planted(site, stack, sse(f"job:{job_id}"), expires_at=int(time.time()) + 2)
        assert why(await client.rest()) == ("error", "unauthenticated", "Credential expired.")
        assert (await refusal(site.gateway, path, cookie))[0] == 401, "expired, or forgotten already"


async def test_a_stream_that_is_refreshed_lives_by_the_new_credential_and_so_does_its_way_back(site: Site) -> None:
    job_id = await site.writer.job(1, tenant="default")
    async with AsyncExitStack() as stack:
        terms = {"subject": ADMIN, "expires_at": int(time.time()) + 60}
        client, path, cookie = await planted(site, stack, sse(f"job:{job_id}"), **terms)
        socket = client.head.get("x-socket-id")
        assert (await site.gateway.ask(f"POST /api/v1/auth/sockets/{socket}/refresh")).status == 200
        async with asyncio.timeout(PATIENCE):
            while await site.connection.fetchval("SELECT credential_expires_at FROM gateway.streams") is not None:
                pass
        client.hang_up()
        async with follow(site.gateway, path, cookie, last_id=client.last_id) as again:
            await site.writer.append(job_id, tenant="default")
            assert await again.versions(1) == [2]


async def test_streams_are_counted_among_the_sockets(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path, max_sockets_per_subject=1) as site:
        path = sse(f"job:{await site.writer.job(1, tenant='default')}")
        async with follow(site.gateway, path, with_key()) as client:
            await client.until_begun()
            async with follow(site.gateway, path, with_key()) as turned_away:
                (error,) = await turned_away.rest()
            assert (error.event, error.data["code"], error.data["status"]) == ("error", "too_many_sockets", 429)
            assert turned_away.retry is not None
            assert turned_away.retry >= 5000
            plain = await site.gateway.ask(f"GET {path}")
            assert plain.status == 429, "who does not come again by itself gets the status"
        async with asyncio.timeout(PATIENCE):
            while True:
                async with follow(site.gateway, path, with_key()) as client:
                    if client.head.get("x-socket-id") is not None:
                        break


async def test_a_gateway_that_stops_says_so_in_each_stream(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        async with open_site(database, open_parts_for, tmp_path) as site:
            path = sse(f"job:{await site.writer.job(1, tenant='default')}")
            clients = [await stack.enter_async_context(follow(site.gateway, path, with_key())) for _ in range(3)]
            for client in clients:
                await client.until_begun()
            retries = {client.retry for client in clients}
        for client in clients:
            assert why(await client.rest()) == ("error", "unavailable", "The service restarts. Connect again.")
            assert client.ended
            assert client.retry not in retries


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "never finished"])
async def test_an_end_stands_between_two_messages_and_nothing_comes_behind_it(
    database: Database, tmp_path: Path, finished: bool
) -> None:
    go_on = asyncio.Event()

    async def halting(reader: Reader, writer: Writer) -> None:
        if b"witness" in (await read_head(reader)).line.encode():
            writer.write(HEAD + chunk(BEGUN))
        else:
            writer.write(HEAD + chunk(BEGUN) + chunk(b'id: e.2\ndata: {"half":'))
            await go_on.wait()
            if finished:
                writer.write(chunk(b"true}\n") + chunk(b"\nid: e.3\ndata: {}\n\n"))
        await reader.read()

    async with (
        connected(database) as connection,
        Upstream.open(halting) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        AsyncExitStack() as stack,
    ):
        clients = list[EventClient]()
        for channel in ("witness", "halted"):
            async with asyncio.timeout(PATIENCE):
                while len(clients) < 2:
                    ticket = await plant(connection, ended_by=["key:gone"])
                    try:
                        client = await stack.enter_async_context(follow(gateway, sse(channel, ticket=ticket.text)))
                    except Refused:
                        continue
                    clients.append(client)
                    break
        witness, halted = clients
        assert await halted.until_begun() == "e.1"
        await connection.execute("SELECT pg_notify('millrace_revoked', 'key:gone')")
        assert why(await witness.rest()) == REVOKED
        go_on.set()
        said = await halted.rest()
        if finished:
            assert (said[0].data, said[0].id) == ({"half": True}, "e.2")
            assert why(said[1:]) == REVOKED
        else:
            assert (said, halted.last_id) == ([], "e.1"), "half a message is none"


async def test_a_service_that_breaks_off_ends_the_stream_and_one_that_is_away_does_not_end_the_client(
    database: Database, tmp_path: Path
) -> None:
    async def breaks(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(HEAD + chunk(BEGUN))
        await writer.drain()
        writer.transport.abort()

    async with (
        Upstream.open(breaks) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        follow(gateway, sse("x"), with_key()) as client,
    ):
        assert why(await client.rest())[1] == "upstream_unavailable"
    async with open_gateway(database, tmp_path, "http://127.0.0.1:9") as gateway:
        async with follow(gateway, sse("x"), with_key()) as client:
            assert why(await client.rest())[1] == "unavailable"
            assert client.retry is not None
        assert (await gateway.ask(f"GET {sse('x')}")).status == 503


async def test_a_ticket_that_is_used_while_the_service_is_away_is_good_for_coming_again(
    database: Database, tmp_path: Path
) -> None:
    async with open_gateway(database, tmp_path, "http://127.0.0.1:9") as gateway, connected(database) as connection:
        path = sse("x", ticket=(await plant(connection)).text)
        async with follow(gateway, path) as client:
            assert why(await client.rest())[1] == "unavailable"
            cookie = f"Cookie: {str(client.head.get('set-cookie')).partition(';')[0]}"
        async with follow(gateway, path, cookie) as client:
            assert why(await client.rest())[1] == "unavailable"


async def test_a_ticket_that_is_refused_for_now_is_good_for_coming_again(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    """It was used up before its stream was refused for want of a place, and its cookie was made only afterwards."""
    async with open_site(database, open_parts_for, tmp_path, max_sockets_per_subject=1) as site:
        job_id = await site.writer.job(1, tenant="default")
        first, second = [(await site.plant(subject="user:her")).text for _ in range(2)]
        async with follow(site.gateway, sse(f"job:{job_id}", ticket=first)) as client:
            await client.until_begun()
            path = sse(f"job:{job_id}", after="0", ticket=second)
            async with follow(site.gateway, path) as turned_away:
                assert why(await turned_away.rest())[1] == "too_many_sockets"
                cookie = f"Cookie: {str(turned_away.head.get('set-cookie')).partition(';')[0]}"
            assert await refusal(site.gateway, path) == (401, "unauthenticated"), "it is used up all the same"
        async with asyncio.timeout(PATIENCE):
            while True:
                async with follow(site.gateway, path, cookie) as again:
                    if again.head.get("x-socket-id") is not None:
                        assert await again.versions(1) == [1]
                        break


async def test_a_ticket_of_a_revoked_credential_opens_no_stream_where_the_revocation_was_not_heard(
    database: Database, open_parts_for: OpenParts, tmp_path: Path
) -> None:
    async with open_site(database, open_parts_for, tmp_path) as site:
        path = sse(f"job:{await site.writer.job(1, tenant='default')}")
        tickets = list[str]()
        for _ in range(2):
            made = await site.gateway.ask("POST /api/v1/keys", JSON, body=b'{"name":"page","scopes":["jobs:read"]}')
            key = json.loads(made.body)
            ticket = json.loads((await site.gateway.ask("POST /api/v1/auth/tickets", key=key["key"])).body)["ticket"]
            tickets.append(f"{path}&ticket={ticket}")
        assert (await site.gateway.ask(f"DELETE /api/v1/keys/{key['id']}")).status == 204
        async with open_gateway(database, tmp_path / "new", site.notifier.address.url) as fresh:
            good, revoked = tickets
            assert await refusal(fresh, revoked) == (401, "unauthenticated")
            async with follow(fresh, good) as client:
                await client.until_begun()


async def test_a_ticket_that_is_used_up_while_its_credential_is_revoked_leaves_no_way_back(
    site: Site, database: Database
) -> None:
    """A revocation that had ended the streams before this one was kept had left it open for an hour."""
    made = await site.gateway.ask("POST /api/v1/keys", JSON, body=b'{"name":"page","scopes":["jobs:read"]}')
    key = json.loads(made.body)
    ticket = json.loads((await site.gateway.ask("POST /api/v1/auth/tickets", key=key["key"])).body)["ticket"]
    begin = load_queries("gateway", "tickets/streams.sql")["begin_stream"]
    async with connected(database) as using_it:
        async with using_it.transaction():
            assert await using_it.fetchrow(begin, hash_ticket(ticket), b"h" * 32, 30.0) is not None
            revoking = asyncio.create_task(site.gateway.ask(f"DELETE /api/v1/keys/{key['id']}"))
            async with asyncio.timeout(PATIENCE):
                while not await site.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    pass
        assert (await revoking).status == 204
        assert await using_it.fetchval("SELECT count(*) FROM gateway.streams") == 0


async def test_a_ticket_that_was_made_while_its_credential_was_revoked_opens_no_stream_where_that_was_heard(
    site: Site, database: Database
) -> None:
    """The stream counted from when the ticket was used, so that it had begun after the revocation, and stayed."""
    made = await site.gateway.ask("POST /api/v1/keys", JSON, body=b'{"name":"page","scopes":["jobs:read"]}')
    key = json.loads(made.body)
    ticket = json.loads((await site.gateway.ask("POST /api/v1/auth/tickets", key=key["key"])).body)["ticket"]
    channel = f"job:{await site.writer.job(1, tenant='default')}"
    path = f"{sse(channel)}&ticket={ticket}"
    async with connected(database) as late:
        await late.execute("CREATE TEMP TABLE kept AS SELECT * FROM gateway.tickets")
        assert (await site.gateway.ask(f"DELETE /api/v1/keys/{key['id']}")).status == 204
        async with asyncio.timeout(PATIENCE):
            while (await site.gateway.ask("GET /api/v1/jobs", key=key["key"])).status != 401:
                pass
        await late.execute("INSERT INTO gateway.tickets SELECT * FROM kept")
    assert await refusal(site.gateway, path) == (401, "unauthenticated")
    async with connected(database) as looking, asyncio.timeout(PATIENCE):
        while await looking.fetchval("SELECT count(*) FROM gateway.streams"):
            pass  # nor is there a way back


@pytest.mark.parametrize("told", [True, False], ids=["of heartbeats", "of nothing"])
@pytest.mark.parametrize("whole", [True, False], ids=["between two messages", "in a message"])
async def test_a_service_that_is_silent_for_too_long_ends_the_stream_and_its_client_is_told(
    database: Database, tmp_path: Path, told: bool, whole: bool
) -> None:
    """Nothing told a client that the service behind its stream hung: it waited for events that never came."""

    async def hangs(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        head = HEAD.replace(b"\r\n\r\n", b"\r\nX-Millrace-Heartbeat: 0.2\r\n\r\n") if told else HEAD
        writer.write(head + chunk(BEGUN if whole else BEGUN + b'id: e.2\ndata: {"half":'))
        await reader.read()

    async with (
        Upstream.open(hangs) as upstream,
        open_gateway(database, tmp_path, upstream.url, upstream_timeout=600.0 if told else 0.4) as gateway,
        follow(gateway, sse("x"), with_key()) as client,
    ):
        said = await client.rest()
        assert (client.last_id, client.ended) == ("e.1", whole)
        assert client.head.get("x-millrace-heartbeat") is None
        if whole:
            assert why(said) == ("error", "upstream_timeout", "The notifier was silent for too long. Connect again.")
            assert client.retry != 1000, "not with all others"
        else:
            assert said == [], "half a message is none"


@pytest.mark.parametrize("patient", [True, False])
async def test_who_reads_slowly_is_waited_for_longer_than_for_an_answer_and_not_for_ever(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, patient: bool
) -> None:
    times: dict[str, Any] = {"send_timeout": 0.1, "unread_timeout": 60.0} if patient else {"unread_timeout": 0.1}
    async with open_site(database, open_parts_for, tmp_path, **times) as site:
        job_id = await site.writer.job(1, tenant="default")
        path = sse(f"job:{job_id}", after="0")
        async with following(site.gateway.host, site.gateway.port, path, with_key(), limit=4096) as client:
            assert await client.versions(1) == [1]
            for _ in range(60):
                await site.writer.append(job_id, 10, tenant="default", padding=16 * 1024)
            if patient:
                await site.notifier.until("millrace_notifier_demotions_total", lambda demoted: demoted >= 1)
                assert await client.versions(600) == list(range(2, 602))
            else:
                await site.notifier.until("millrace_notifier_connections", lambda count: count == 0)


async def test_a_page_of_another_origin_opens_no_stream(site: Site) -> None:
    path = sse(f"job:{await site.writer.job(1, tenant='default')}")
    assert await refusal(site.gateway, path, with_key(), "Origin: https://evil.example") == (403, "forbidden")


async def test_the_cookie_and_the_ticket_are_no_business_of_the_service(database: Database, tmp_path: Path) -> None:
    heard = list[str]()

    async def listening(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        heard.append(f"{head.line} {head.fields}")
        writer.write(HEAD + chunk(BEGUN))
        await reader.read()

    async with (
        connected(database) as connection,
        Upstream.open(listening) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
    ):
        async with asyncio.timeout(PATIENCE):
            while not heard:
                ticket = await plant(connection)
                try:
                    async with follow(gateway, sse("x", ticket=ticket.text), "Cookie: a=1") as client:
                        await client.until_begun()
                        cookie = str(client.head.get("set-cookie")).partition(";")[0]
                except Refused:
                    continue
        async with follow(gateway, sse("x", ticket=ticket.text), f"Cookie: {cookie}") as client:
            await client.until_begun()
    assert len(heard) == 2
    assert not any("cookie" in each or "ticket" in each for each in heard)


async def test_of_many_cookies_the_oldest_are_taken_back(site: Site) -> None:
    many = "; ".join(f"millrace_stream_{number:016x}={'A' * 43}" for number in range(25))
    ticket = (await site.ticket())["ticket"]
    async with follow(site.gateway, sse("job:*", ticket=ticket), f"Cookie: {many}") as client:
        made, *taken_back = client.head.all("set-cookie")
    assert "Max-Age" not in made
    assert [cookie[:33] for cookie in taken_back] == [f"millrace_stream_{number:016x}=" for number in range(6)]
    assert all("Max-Age=0" in cookie for cookie in taken_back)
