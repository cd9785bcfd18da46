"""A connection to a service, before a server of the test's own."""

import asyncio
from typing import cast

from gateway.wire.exchange import UpstreamSide
from gateway.wire.places import Place
from gateway.wire.upstream_connection import UpstreamConnection

PATIENCE = 10.0


class Asker:
    """Whoever waits for an answer, and what he hears instead."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def upstream_lost(self, reason: str) -> None:
        self.heard.set_result(f"lost: {reason}")

    def upstream_silent(self) -> None:
        self.heard.set_result("silent")


async def test_a_service_that_has_closed_a_connection_before_it_is_asked_is_not_waited_for() -> None:
    """As one that stops does while a connect is counted."""
    loop = asyncio.get_running_loop()
    lost: asyncio.Future[object] = loop.create_future()
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        place = Place(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        _, connection = await loop.create_connection(
            lambda: UpstreamConnection(loop, place, lost.set_result), place.host, place.port
        )
        async with asyncio.timeout(PATIENCE):
            await lost
            asker = Asker()
            connection.send_request(cast(UpstreamSide, asker), b"GET", b"GET / HTTP/1.1\r\n\r\n", timeout=2.0)
            connection.flush()
            connection.expect_answer()
            assert await asker.heard == "lost: it had closed the connection before it was asked"
