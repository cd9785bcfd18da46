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
        self._waits = False  # while it moves: for a place that is silent, and may answer all the same
        self._let_gone = False  # while it moves: somebody else may have the connection by now
        self._said: tuple[bytes, str | None] = b"", None

    def start(self, target: bytes, principal: str | None, *, timeout: float) -> None:
        """`timeout`: seconds for all places together."""
        self._said = target, principal
        super().start(target, principal, timeout=self._turns.begin(timeout))

    # What the service does

    def response_head(self, head: ResponseHead) -> None:
        self._pool.breaker.succeeded()
        if head.status != Unavailable.status or not self._ask_elsewhere("it says that it can't now"):
            self._stay()
            super().response_head(head)

    def upstream_lost(self, reason: str) -> None:
        if not self._ask_elsewhere(reason):
            super().upstream_lost(reason)

    def upstream_silent(self) -> None:
        """It may be slow, not gone: it is waited for until there is a connection to another place."""
        if self._ask_elsewhere("it is silent", waits=True):
            self._upstream.wait_longer(self._turns.share)
        else:
            super().upstream_silent()

    # Moving

    def _ask_elsewhere(self, reason: str, *, waits: bool = False) -> bool:
        """Whether another place is asked."""
        if self._answered or self._over or self._request.head.has_body:
            return False
        if self._moving is None or self._moving.done():
            if not self._turns.left:
                return False
            self._warn_of("another place is asked", reason=reason)
            self._upstream.place.rest()
            self._moving = asyncio.get_running_loop().create_task(self._move())
        self._waits = waits
        if not waits:
            self._let_go()
        return True

    async def _move(self) -> None:
        try:
            upstream = await self._turns.next()
        except MillraceError as error:
            if not self._waits:
                self._finish()
                self._client.refuse(error)
            return
        self._let_go()
        self._upstream, self._let_gone = upstream, False
        target, principal = self._said
        self._say(target, principal, timeout=self._turns.share)
        upstream.expect_answer()
        upstream.flush()

    def _stay(self) -> None:
        """The place that was asked has answered."""
        if self._moving is not None:
            self._moving.cancel()

    def _finish(self) -> None:
        self._stay()
        super()._finish()

    def _let_go(self) -> None:
        if not self._let_gone:
            self._let_gone = True
            super()._let_go()


class Turns:
    """The places of a service, one after the other. Each has its share of the time: those after it need some, too."""

    def __init__(self, pool: Pool, first: UpstreamConnection) -> None:
        self._pool = pool
        self._asked = {first.place}
        self._none_left = False  # that can be reached
        self.share = 0.0  # seconds

    def begin(self, seconds: float) -> float:
        """`seconds`: for all of them. Returns the share of the first."""
        self.share = seconds / (1 + self.left)
        return self.share

    @property
    def left(self) -> int:
        """How many were not asked yet."""
        return 0 if self._none_left else self._pool.others(self._asked)

    async def next(self) -> UpstreamConnection:
        """A connection to one that was not asked yet. Raises if there is none."""
        try:
            upstream = await self._pool.acquire_new(but=self._asked)
        except MillraceError:
            self._none_left = True
            raise
        self._asked.add(upstream.place)
        return upstream
