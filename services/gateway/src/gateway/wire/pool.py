"""The connections to one service: few are opened, most are used again."""

import asyncio
from collections.abc import Sequence, Set

from events.errors import Unavailable
from events.metrics.metrics import Metrics
from gateway.wire.breaker import Breaker
from gateway.wire.places import Place, Places
from gateway.wire.pool_metrics import PoolMetrics
from gateway.wire.upstream_connection import UpstreamConnection

# uvicorn closes an idle connection after 75 s; we let go of ours long before, so that we don't write into a close.
_LONGEST_IDLE_SECONDS = 20.0
_MOST_IDLE = 64


class Pool:
    def __init__(
        self,
        service: str,
        urls: Sequence[str],
        breaker: Breaker,
        metrics: Metrics,
        *,
        connect_timeout: float,
        most_connections: int,
    ) -> None:
        self.service = service
        self.breaker = breaker
        self._places = Places(urls)
        self.authority = self._places.first.authority
        self._connect_timeout = connect_timeout
        self._most_connections = most_connections
        self._opening = 0
        self._open: set[UpstreamConnection] = set()
        self._tunnels: dict[asyncio.Transport, Place] = {}
        self._idle: list[UpstreamConnection] = []
        self._metrics = PoolMetrics(
            metrics,
            service,
            most_connections,
            idle=lambda: len(self._idle),
            busy=lambda: len(self._open) - len(self._idle),
            tunnel=lambda: len(self._tunnels),
            opening=lambda: self._opening,
        )

    async def acquire(self) -> UpstreamConnection:
        """A connection that is yours until you `release` it."""
        self.breaker.check()
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.transport.is_closing():
                continue
            avoided = connection.place.rests and self._places.any_but(connection.place)
            if loop.time() - connection.idle_since < _LONGEST_IDLE_SECONDS and not avoided:
                return connection
            connection.transport.abort()
        return await self._connect()

    async def acquire_new(self, *, but: Set[Place] = frozenset()) -> UpstreamConnection:
        """The same, but one that nobody has used, to none of these places."""
        self.breaker.check()
        return await self._connect(but)

    def others(self, asked: Set[Place]) -> int:
        """How many places there are besides those that were asked."""
        return len(self._places.in_turn(asked))

    async def _connect(self, but: Set[Place] = frozenset()) -> UpstreamConnection:
        if len(self._open) + len(self._tunnels) + self._opening >= self._most_connections:
            self._metrics.full()
            raise Unavailable(
                f"Too many requests are open to the {self.service}. Try again.", headers={"Retry-After": "1"}
            )
        self._opening += 1
        try:
            for place in self._places.in_turn(but):
                try:
                    with self._metrics.connecting():
                        return await self._connect_to(place)
                except (OSError, TimeoutError):
                    place.rest()
        finally:
            self._opening -= 1
        if not but:  # else one of those has answered, or is judged by itself
            self.breaker.failed()
        raise Unavailable(f"The {self.service} does not answer now. Try again.", headers={"Retry-After": "1"})

    async def _connect_to(self, place: Place) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        place.open += 1  # or all who come at once would go to the same one
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop, place, self._forget), place.host, place.port
                )
        except BaseException:
            place.open -= 1
            raise
        self._open.add(connection)
        return connection

    def failed(self, connection: UpstreamConnection) -> None:
        """It broke off, or was silent. What one place does is no reason to leave the others alone."""
        connection.place.rest()
        if not self._places.any_but(connection.place):
            self.breaker.failed()

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back, whatever state its exchange was left in."""
        if connection.was_last:
            self._leave_alone(connection.place)
        if connection.leave():
            if len(self._idle) < _MOST_IDLE:
                self._idle.append(connection)
            else:
                connection.transport.abort()

    def _leave_alone(self, place: Place) -> None:
        """It ends a connection with its answer: so it does when it stops. A request on one of the others could meet
        its end, and nobody would know whether it was read."""
        for connection in [idle for idle in self._idle if idle.place is place]:
            self._idle.remove(connection)
            connection.transport.abort()

    def hand_over(self, connection: UpstreamConnection) -> asyncio.Transport:
        """The raw transport of a connection that became a tunnel. It counts until `tunnel_closed`."""
        self._open.discard(connection)
        transport = connection.hand_over()
        self._tunnels[transport] = connection.place
        return transport

    def tunnel_closed(self, transport: asyncio.Transport) -> None:
        place = self._tunnels.pop(transport, None)
        if place is not None:
            place.open -= 1

    def close(self) -> None:
        self._most_connections = 0  # whoever loses one now may want another
        for connection in list(self._open):
            connection.transport.abort()
        for transport in list(self._tunnels):
            transport.abort()

    def _forget(self, connection: UpstreamConnection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            connection.place.open -= 1
        if connection in self._idle:
            self._idle.remove(connection)
