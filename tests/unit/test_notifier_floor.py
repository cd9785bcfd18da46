"""The floor looks after all of its guests, whatever becomes of one of them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import uvloop
from pydantic import SecretStr

from events.lifecycle import Parts
from events.telemetry import Telemetry
from fixtures.cohorts import PATIENCE, World
from notifier import floor as floors
from notifier.dialects.sse.stream import EventStream
from notifier.floor import Floor
from notifier.frames import CloseCode
from notifier.settings import NotifierSettings


class Guest:
    def __init__(self, when_told: Callable[[], None] = lambda: None) -> None:
        self.told: list[str] = []
        self._when_told = when_told

    def check(self, now: float, wall: float) -> None:
        self._tell("check")

    def close(self, code: CloseCode, reason: str) -> None:
        self._tell(f"close {int(code)}")

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self._when_told()


class OnlyParts:
    signer = None

    def __init__(self) -> None:
        self.telemetry = Telemetry("test")


def new_floor(**settings: Any) -> Floor:
    common = {"database_url": SecretStr("x"), "broker_url": SecretStr("memory://"), "principal_secret": SecretStr("x")}
    made = NotifierSettings.model_construct(**common | settings)
    return Floor(cast(Parts, OnlyParts()), made, World().following, ())


def broken() -> None:
    raise RuntimeError("unable to perform operation; the handler is closed")


async def test_one_that_breaks_keeps_no_other_from_being_looked_after_and_sent_away() -> None:
    floor = new_floor()
    guests = [Guest(broken) for _ in range(3)]
    for guest in guests:
        floor.opened(guest, "progress")
    assert await floor.beat() is False
    await floor.clear("The log is another one.")
    assert [guest.told for guest in guests] == 3 * [["check", "close 1011"]]


async def test_who_has_left_while_others_were_told_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "_SLICE", 1)
    floor = new_floor()
    guests: list[Guest] = []

    def all_others_leave() -> None:
        for guest in guests:
            if not guest.told:
                floor.ended(guest, "lost")

    guests += [Guest(all_others_leave) for _ in range(3)]
    for guest in guests:
        floor.opened(guest, "progress")
    await floor.beat()
    assert sorted(guest.told for guest in guests) == [[], [], ["check"]]


@asynccontextmanager
async def stream_on(floor: Floor, connections: set[Any]) -> AsyncIterator[tuple[EventStream, socket.socket]]:
    """A stream, and its client's end."""
    streams: list[EventStream] = []

    class Opening(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            stream = EventStream(floor, lambda _: b"retry: 1\n\n", None, expires_at=None, path="/", request_id="r")
            stream.begin(cast(asyncio.Transport, transport), connections)
            streams.append(stream)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Opening, "127.0.0.1", 0)
    try:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, server.sockets[0].getsockname())
            await loop.sock_recv(client, 1)  # its head
            yield streams[0], client
    finally:
        server.close()


async def look_at_a_stream_that_was_lost() -> None:
    floor = new_floor(ping_seconds=0.0)
    connections: set[Any] = set()
    async with stream_on(floor, connections) as (stream, client):
        client.close()
        async with asyncio.timeout(PATIENCE):
            while connections:
                await asyncio.sleep(0)
        stream.check(asyncio.get_running_loop().time(), 0.0)
        stream.send(b"what nobody hears")
        stream.close(CloseCode.SERVICE_RESTART, "Connect again.")


def test_a_stream_that_was_lost_is_written_to_no_more() -> None:
    """The production loop's transport raises then, and asyncio's own is silent. One client that hung up while the beat
    was on its way to it, with a heartbeat due, ended the beat: there were no pings any more, and nobody expired."""
    uvloop.run(look_at_a_stream_that_was_lost())
