"""A service that stops loses no request that is on its way to it."""

import asyncio
import select
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from events.lifecycle import Address, Service, serve
from events.running.closed_door import emptied


async def _hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@asynccontextmanager
async def _connected(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _is_open(address: Address) -> bool:
    try:
        async with _connected(address):
            return True
    except ConnectionError:
        return False


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The head of the answer."""
    writer.write(b"POST / HTTP/1.1\r\nHost: it\r\nContent-Length: 0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(b"hello"))
    return head


async def test_who_kept_a_connection_is_answered_once_more_and_sent_away() -> None:
    """An idle connection was closed at once, and took a POST with it that its gateway had just written: a 502 in each
    rolling restart, because nobody can tell whether it was read."""
    service = Service("it", Starlette(routes=[Route("/", _hello, methods=["POST"])]))
    stop = asyncio.Event()
    listening: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

    async def live() -> None:
        async with serve(service, "127.0.0.1", 0, last_call=30) as address:
            listening.set_result(address)
            await stop.wait()

    living = asyncio.create_task(live())
    address = await listening
    async with asyncio.timeout(20), _connected(address) as kept:
        assert b"connection: close" not in await _ask(*kept)
        stop.set()
        while await _is_open(address):  # it has not heard yet that it stops
            await asyncio.sleep(0)
        assert b"connection: close" in await _ask(*kept)
        assert await kept[0].read() == b""
        await living  # long before the last call is over: nobody is left


def _connect_and_ask(address: Address) -> socket.socket:
    """All of it before the service's loop, which is ours, can look."""
    connected = socket.create_connection((address.host, address.port))
    connected.sendall(b"POST / HTTP/1.1\r\nHost: it\r\nContent-Length: 0\r\n\r\n")
    return connected


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_has_connected_and_was_not_accepted_yet_is_answered(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """The system had their connections and their requests in hand when the listener was closed, and reset them all: in
    rolling restarts of busy services, requests and WebSockets failed that nobody had read."""

    async def restart() -> None:
        service = Service("it", Starlette(routes=[Route("/", _hello, methods=["POST"])]))
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as clients, asyncio.timeout(20):
            async with serve(service, "127.0.0.1", 0) as address:
                asking = [clients.enter_context(_connect_and_ask(address)) for _ in range(5)]
            for client in asking:
                client.setblocking(False)
                assert (await loop.sock_recv(client, 1000)).endswith(b"hello")

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(restart())


async def test_nobody_connects_between_the_last_who_is_accepted_and_the_close() -> None:
    """He would be reset: the system took him in when the service had stopped to look."""
    with socket.socket() as listener, socket.socket() as late:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as early:
            accepting = asyncio.create_task(asyncio.to_thread(listener.accept))
            await emptied(listener)
            accepted, _ = await accepting
            late.setblocking(False)
            late.connect_ex(listener.getsockname())
            connected = select.poll()
            connected.register(late, select.POLLOUT)
            assert connected.poll(0) == [], "it is connected, and nobody will accept it"
            with accepted:
                early.sendall(b"still there")
                assert accepted.recv(20) == b"still there"
