"""The connections to one service: few are opened, most are used again."""

import asyncio
from urllib.parse import urlsplit

from events.errors import Unavailable
from gateway.wire.breaker import Breaker
from gateway.wire.upstream_connection import UpstreamConnection

# uvicorn closes an idle connection after 75 s; we let go of ours long before, so that we don't write into a close.
_LONGEST_IDLE_SECONDS = 20.0
_MOST_IDLE = 64


class Pool:
    def __init__(
        self, service: str, url: str, breaker: Breaker, *, connect_timeout: float, most_connections: int
    ) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        self.service = service
        self.breaker = breaker
        self.authority = place.netloc.encode()
        self._host, self._port = place.hostname, place.port
        self._connect_timeout = connect_timeout
        self._most_connections = most_connections
        self._opening = 0
        self._open: set[UpstreamConnection] = set()
        self._tunnels: set[asyncio.Transport] = set()
        self._idle: list[UpstreamConnection] = []

    async def acquire(self) -> UpstreamConnection:
        """A connection that is yours until you `release` it."""
        self.breaker.check()
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.transport.is_closing():
                continue
            if loop.time() - connection.idle_since < _LONGEST_IDLE_SECONDS:
                return connection
            connection.transport.abort()
        return await self._connect()

    async def acquire_new(self) -> UpstreamConnection:
        """The same, but one that nobody has used."""
        self.breaker.check()
        return await self._connect()

    async def _connect(self) -> UpstreamConnection:
        if len(self._open) + len(self._tunnels) + self._opening >= self._most_connections:
            raise Unavailable(
                f"Too many requests are open to the {self.service}. Try again.", headers={"Retry-After": "1"}
            )
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop, self._forget), self._host, self._port
                )
        except (OSError, TimeoutError):
            self.breaker.failed()
            raise Unavailable(
                f"The {self.service} does not answer now. Try again.", headers={"Retry-After": "1"}
            ) from None
        finally:
            self._opening -= 1
        self._open.add(connection)
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back, whatever state its exchange was left in."""
        if connection.leave():
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.transport.abort()

    def hand_over(self, connection: UpstreamConnection) -> asyncio.Transport:
        """The raw transport of a connection that became a tunnel. It counts until `tunnel_closed`."""
        self._open.discard(connection)
        transport = connection.hand_over()
        self._tunnels.add(transport)
        return transport

    def tunnel_closed(self, transport: asyncio.Transport) -> None:
        self._tunnels.discard(transport)

    def close(self) -> None:
        for connection in list(self._open):
            connection.transport.abort()
        for transport in list(self._tunnels):
            transport.abort()

    def _forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
