"""A service at several places: all of them are used, and the loss of one is hardly noticed."""

import asyncio
import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.provision import Database
from fixtures.frames import frame
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, Wire, open_gateway, read_body, read_head
from fixtures.ingest import until
from fixtures.sockets import SWITCHED, UPGRADE
from gateway.limits.policy import Connects

GONE = "http://127.0.0.1:9"
_PLENTY = Connects(seconds=1, free=1000, most=1000)
OFTEN = {"ws": _PLENTY, "connection": _PLENTY}


@dataclass
class Replica:
    """Takes sockets and requests, or says that it stops, or breaks off."""

    mood: str = "well"
    sockets: int = 0
    requests: int = 0
    url: str = field(default="", init=False)

    async def serve(self, reader: Reader, writer: Writer) -> None:
        while True:
            head = await read_head(reader)
            await read_body(reader, head)
            if "/readyz" in head.line or "/statusz" in head.line:
                said = json.dumps({"broker": "ok", "database": "ok", "storage": "ok", "state": "ok"}).encode()
                typed = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                writer.write(typed % (len(said), said))
                continue
            self.requests += 1
            if self.mood == "ill":
                return
            if self.mood == "silent":
                await reader.read()
                return
            if self.mood == "stopping":
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            elif head.get("upgrade") is not None:
                self.sockets += 1
                writer.write(SWITCHED)
                await reader.read()
                self.sockets -= 1
                return
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")


@asynccontextmanager
async def two_replicas(
    database: Database, data_dir: Path, **settings: Any
) -> AsyncIterator[tuple[Gateway, Replica, Replica]]:
    one, other = Replica(), Replica()
    async with AsyncExitStack() as stack:
        for replica in (one, other):
            replica.url = (await stack.enter_async_context(Upstream.open(replica.serve))).url
        urls = f"{one.url},{other.url}"
        opening = open_gateway(
            database, data_dir, one.url, processor_url=urls, notifier_url=urls, limits_connects=OFTEN, **settings
        )  # fmt: skip
        yield await stack.enter_async_context(opening), one, other


@asynccontextmanager
async def sockets(gateway: Gateway, count: int) -> AsyncIterator[list[Wire]]:
    async with AsyncExitStack() as stack:
        wires = []
        for _ in range(count):
            wire = await stack.enter_async_context(gateway.wire())
            wire.request("GET /ws", *UPGRADE)
            assert (await wire.head()).status == 101
            wires.append(wire)
        yield wires


async def test_sockets_are_shared_out(database: Database, tmp_path: Path) -> None:
    async with two_replicas(database, tmp_path) as (gateway, one, other), sockets(gateway, 6) as opened:
        assert (one.sockets, other.sockets) == (3, 3)
        fuller = one
        for wire in opened[:2]:
            wire.writer.write_eof()
            assert await wire.rest() == b""
        async with sockets(gateway, 2):
            assert (fuller.sockets, other.sockets) == (3, 3), "who has fewer gets the next"


async def test_a_place_that_is_gone_is_not_noticed(database: Database, tmp_path: Path) -> None:
    replica = Replica()
    async with (
        Upstream.open(replica.serve) as upstream,
        open_gateway(
            database, tmp_path, upstream.url, notifier_url=f"{GONE},{upstream.url}", limits_connects=OFTEN
        ) as gateway,
        sockets(gateway, 5),
    ):
        assert replica.sockets == 5
        health = await gateway.ask("GET /health", key=None)
        assert (health.status, "services" in json.loads(health.body)) == (200, False)
        details = json.loads((await gateway.ask("GET /health/detailed")).body)["details"]
        assert (details["notifier"]["state"], details["notifier-2"]["state"]) == ("down", "ok")


async def test_when_all_places_are_gone_that_is_said(database: Database, tmp_path: Path) -> None:
    async with open_gateway(database, tmp_path, GONE, notifier_url=f"{GONE},http://127.0.0.1:10") as gateway:
        answer = await gateway.ask("GET /ws", *UPGRADE)
        assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")


async def of_ten(gateway: Gateway, holds: Callable[[int], bool], *, line: str, fields: tuple[str, ...] = ()) -> int:
    return sum([holds((await gateway.ask(line, *fields)).status) for _ in range(10)])


async def test_a_place_that_stops_is_left_alone_for_a_while(database: Database, tmp_path: Path) -> None:
    """It has ever fewer sockets, and would be sent every client, again and again."""
    async with two_replicas(database, tmp_path) as (gateway, one, _):
        one.mood = "stopping"
        assert await of_ten(gateway, lambda status: status == 101, line="GET /ws", fields=UPGRADE) == 10
        assert one.requests <= 1


@pytest.mark.parametrize("mood", ["ill", "stopping", "silent"])
@pytest.mark.parametrize("opens", ["a socket", "a stream", "a socket with its credential inside"])
async def test_who_opens_something_is_not_told_that_one_place_stops(
    database: Database, tmp_path: Path, mood: str, opens: str
) -> None:
    """In a rolling restart, a notifier said 503 to handshakes that it had accepted, broke them off, or never answered
    them, and so did the gateway: after ten seconds, with a 504, though another notifier was there."""
    async with two_replicas(database, tmp_path, handshake_timeout=2.0 if mood == "silent" else 20.0) as (
        gateway,
        one,
        other,
    ):
        one.mood = mood
        while not one.requests:  # whom it asks at first is drawn
            async with gateway.wire() as wire:
                if opens == "a stream":
                    wire.request("GET /connection/sse?channel=job:*")
                    assert (await wire.answer()).body == b"[]"
                    continue
                inside = opens != "a socket"
                wire.request("GET /connection/websocket", *UPGRADE, key=None if inside else KEY)
                assert (await wire.head()).status == 101
                if inside:
                    wire.send(frame(json.dumps({"id": 1, "connect": {"token": KEY}}).encode()))
                await until(lambda: other.sockets == 1)
                wire.writer.write_eof()
            await until(lambda: other.sockets == 0)


async def test_when_no_place_answers_that_is_said(database: Database, tmp_path: Path) -> None:
    async with two_replicas(database, tmp_path, handshake_timeout=1.0) as (gateway, one, other):
        one.mood = other.mood = "silent"
        answer = await gateway.ask("GET /ws", *UPGRADE)
        assert (answer.status, json.loads(answer.body)["code"]) == (504, "upstream_timeout")
        assert (one.requests, other.requests) == (1, 1)


async def test_of_a_place_that_stops_no_idle_connection_is_used_again(database: Database, tmp_path: Path) -> None:
    """It closes them a moment later, and took a POST with it that was on its way: a 502, since nobody knew whether
    it was read."""
    answers = [b"", b"", b"Connection: close\r\n"]
    asked, left = asyncio.Semaphore(0), asyncio.Semaphore(0)
    go_on = asyncio.Event()

    async def service(reader: Reader, writer: Writer) -> None:
        while not reader.at_eof():
            try:
                await read_head(reader)
            except asyncio.IncompleteReadError:
                break
            asked.release()
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: 2\r\n\r\n[]" % answers.pop(0))
        left.release()

    async with Upstream.open(service) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(gateway.ask("GET /api/v1/jobs"))
            for _ in range(2):
                await asked.acquire()
            go_on.set()
        await gateway.ask("GET /api/v1/jobs")
        async with asyncio.timeout(PATIENCE):
            for _ in range(2):
                await left.acquire()


async def test_a_place_that_breaks_off_does_not_shut_the_others(database: Database, tmp_path: Path) -> None:
    """Five failures in a row would open the circuit, of which one place is not reason enough."""
    async with two_replicas(database, tmp_path) as (gateway, one, _):
        one.mood = "ill"
        for _ in range(3):
            assert await of_ten(gateway, lambda status: status == 200, line="GET /api/v1/jobs") >= 9
        metrics = (await gateway.ask("GET /metrics")).body.decode()
        assert 'millrace_gateway_circuit_openings_total{service="processor"} 0.0' in metrics


async def test_a_place_that_says_that_it_cannot_now_has_answered(database: Database, tmp_path: Path) -> None:
    """With the other place away, five refusals of one that was full shut the service, though it took others again."""
    one = Replica(mood="stopping")
    async with Upstream.open(one.serve) as upstream:
        one.url = upstream.url
        both = f"{one.url},{GONE}"
        async with open_gateway(database, tmp_path, one.url, notifier_url=both, limits_connects=OFTEN) as gateway:
            assert await of_ten(gateway, lambda status: status == 503, line="GET /ws", fields=UPGRADE) == 10
            one.mood = "well"
            assert await of_ten(gateway, lambda status: status == 101, line="GET /ws", fields=UPGRADE) == 10
