"""A service that stops loses no request that is on its way to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from events.lifecycle import Address, Service, serve


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
