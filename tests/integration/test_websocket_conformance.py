"""RFC 6455 frame by frame, at a notifier and through the gateway: the code of each close, and that what came before it
was obeyed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio
from websockets.frames import Opcode

from deploy.provision import Database
from events.identity import PRINCIPAL_HEADER
from fixtures.gateway import KEY
from fixtures.notifier import READER
from fixtures.parts import OpenParts
from fixtures.raw_websockets import RawClient, frame, raw_client
from fixtures.sockets import Site, open_site
from fixtures.websocket_cases import CASES, PING, PONG, Case
from gateway.limits.policy import Connects

Open = Callable[[], AbstractAsyncContextManager[RawClient]]

_OFTEN: dict[str, Any] = {
    "limits_connects": {"ws": Connects(seconds=1, free=10_000, most=10_000)},
    "max_sockets_per_subject": 1000,
}


@pytest_asyncio.fixture
async def site(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(database, open_parts_for, tmp_path, **_OFTEN) as site:
        yield site


def at_the_notifier(site: Site) -> Open:
    notifier = site.notifier
    signed = f"{PRINCIPAL_HEADER}: {notifier.headers(READER)[PRINCIPAL_HEADER]}"
    return lambda: greeted(notifier.address.host, notifier.address.port, signed)


def through_the_gateway(site: Site) -> Open:
    return lambda: greeted(site.gateway.host, site.gateway.port, f"X-API-Key: {KEY}")


@asynccontextmanager
async def greeted(host: str, port: int, credential: str) -> AsyncIterator[RawClient]:
    async with raw_client(host, port, "/ws", credential) as client:
        assert (await client.frame())[1].startswith(b'{"type":"connected"')
        yield client


async def behaves(client: RawClient, case: Case) -> None:
    behind = b"" if case.code is None else frame(Opcode.PING, b"behind it")
    client.send(frame(Opcode.PING, b"before it") + case.sent + behind)
    assert await client.frame() == (Opcode.PONG, b"before it")
    for opcode, expected in case.heard:
        heard, payload = await client.frame()
        assert heard is opcode
        assert payload.startswith(expected) if opcode is Opcode.TEXT else payload == expected
    if case.code is None:
        client.send(frame(Opcode.CLOSE, b"\x03\xe8"))
    assert (await client.close_code() or 1005) == (case.code or 1000)


async def all_behave(open_client: Open) -> None:
    for name, case in CASES.items():
        async with open_client() as client:
            try:
                await behaves(client, case)
            except (AssertionError, EOFError, TimeoutError) as wrong:
                raise AssertionError(f"{name}: {wrong!r}") from wrong


async def test_a_notifier_reads_frames_as_the_rfc_says(site: Site) -> None:
    await all_behave(at_the_notifier(site))


async def test_through_the_gateway_frames_are_read_as_the_rfc_says(site: Site) -> None:
    await all_behave(through_the_gateway(site))


async def test_a_client_that_half_closes_hears_why_the_socket_ends(site: Site) -> None:
    """Wherever it stops: after a message, within a frame, within a head, between fragments."""
    whole = frame(Opcode.TEXT, PING)
    for open_client in (at_the_notifier(site), through_the_gateway(site)):
        for sent in (b"", whole[:1], whole[:4], whole[:-1], frame(Opcode.TEXT, PING, fin=False)):
            async with open_client() as client:
                client.send(sent)
                client.writer.write_eof()
                assert await client.close_code() == 1012, sent
        async with open_client() as client:
            client.send(frame(Opcode.PING, b"last words") + frame(Opcode.CLOSE, b"\x03\xe8"))
            client.writer.write_eof()
            assert await client.frame() == (Opcode.PONG, b"last words")
            assert await client.close_code() == 1000


async def test_frames_are_read_the_same_a_byte_at_a_time(site: Site) -> None:
    for open_client in (at_the_notifier(site), through_the_gateway(site)):
        async with open_client() as client:
            for byte in frame(Opcode.TEXT, PING) + frame(Opcode.PING, b"bytes"):
                client.send(bytes((byte,)))
                await client.writer.drain()
            assert sorted([await client.frame(), await client.frame()]) == [
                (Opcode.TEXT, PONG),
                (Opcode.PONG, b"bytes"),
            ]


async def test_a_socket_that_was_closed_for_a_violation_ends_whatever_still_comes(site: Site) -> None:
    for open_client in (at_the_notifier(site), through_the_gateway(site)):
        async with open_client() as client:
            client.send(frame(0x3))
            assert await client.close_code() == 1002
            client.send(frame(Opcode.TEXT, PING) * 50 + frame(Opcode.CLOSE, b"\x03\xe8"))
            client.writer.write_eof()
    await site.notifier.until("millrace_notifier_connections", lambda count: count == 0)
