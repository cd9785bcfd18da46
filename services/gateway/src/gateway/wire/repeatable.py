"""What is safe to ask again: it is asked at another place of the service, where one breaks off, says that it can't now,
or does not say anything. So whoever opens a socket or a stream does not notice that a place stops, or just begins."""

import asyncio

from events.errors import MillraceError, Unavailable
from gateway.wire.client_connection import ClientConnection
from gateway.wire.forward import Forward, Warn
from gateway.wire.heads import ResponseHead
from gateway.wire.pool import Pool
from gateway.wire.requests import Request
from gateway.wire.upstream_connection import UpstreamConnection


class Repeatable(Forward):
    def __init__(
        self, client: ClientConnection, request: Request, pool: Pool, upstream: UpstreamConnection, warn: Warn
    ) -> None:
        super().__init__(client, request, pool, upstream, warn)
        self._turns = Turns(pool, upstream)
        self._moving: asyncio.Task[None] | None = None
        self._said: tuple[bytes, str | None] = b"", None

    def start(self, target: bytes, principal: str | None, *, timeout: float) -> None:
        """`timeout`: seconds for all places together."""
        self._said = target, principal
        super().start(target, principal, timeout=self._turns.begin(timeout))

    def response_head(self, head: ResponseHead) -> None:
        if head.status != Unavailable.status or not self._ask_elsewhere("it says that it can't now"):
            super().response_head(head)

    def upstream_lost(self, reason: str) -> None:
        if self._may_move:
            self._pool.failed(self._upstream)
        if not self._ask_elsewhere(reason):
            super().upstream_lost(reason)

    def upstream_silent(self) -> None:
        if self._may_move:
            self._pool.failed(self._upstream)
        if not self._ask_elsewhere("it is silent"):
            super().upstream_silent()

    @property
    def _may_move(self) -> bool:
        return not self._answered and not self._over and not self._request.head.has_body and self._turns.left > 0

    def _ask_elsewhere(self, reason: str) -> bool:
        """Whether another place is asked instead."""
        if not self._may_move:
            return False
        self._warn_of("another place is asked instead", reason=reason)
        self._pool.release(self._upstream)
        self._moving = asyncio.get_running_loop().create_task(self._move())
        return True

    async def _move(self) -> None:
        try:
            self._upstream, seconds = await self._turns.next()
        except MillraceError as error:
            self._finish()
            self._client.refuse(error)
            return
        target, principal = self._said
        self._say(target, principal, timeout=seconds)
        self._upstream.expect_answer()
        self._upstream.flush()

    def _finish(self) -> None:
        if self._moving is not None:
            self._moving.cancel()
        super()._finish()


class Turns:
    """The places of a service, one after the other, and how long each may take: those after it need time, too."""

    def __init__(self, pool: Pool, first: UpstreamConnection) -> None:
        self._pool = pool
        self._asked = {first.place}
        self._until = 0.0  # in the loop's time

    def begin(self, seconds: float) -> float:
        """How many of these the first one has."""
        self._until = asyncio.get_running_loop().time() + seconds
        return self._share()

    @property
    def left(self) -> int:
        """How many were not asked yet."""
        return self._pool.others(self._asked)

    async def next(self) -> tuple[UpstreamConnection, float]:
        """A connection to one that was not asked yet, and how many seconds it has."""
        upstream = await self._pool.acquire_new(but=self._asked)
        self._asked.add(upstream.place)
        return upstream, self._share()

    def _share(self) -> float:
        return max(0.0, self._until - asyncio.get_running_loop().time()) / (1 + self.left)
