"""A service's WebSocket, opened for a client that has its 101 already."""

import asyncio
from collections.abc import Callable, Sequence

from events.errors import MillraceError, Unavailable, UpstreamTimeout, UpstreamUnavailable
from gateway.sockets.socket import Socket
from gateway.wire import headers
from gateway.wire.forward import passed_on
from gateway.wire.heads import ResponseHead
from gateway.wire.pool import Pool
from gateway.wire.requests import Request
from gateway.wire.tunnel import upgrading
from gateway.wire.upstream_connection import UpstreamConnection

# What the service would agree on with the client, when the client has its answer already.
_AGREED = frozenset({b"sec-websocket-extensions", b"sec-websocket-protocol"})


class Refused(MillraceError):
    """By the service, with a status of its own."""

    def __init__(self, status: int) -> None:
        super().__init__("The service has refused the WebSocket.")
        self.status = 502 if status == 401 else status  # it is our signature that it did not take
        self.retryable = status == Unavailable.status


class Opening:
    def __init__(self, pool: Pool, upstream: UpstreamConnection, switched: Callable[[bytes], None]) -> None:
        """`switched`: called as soon as the service has, with what came behind its 101."""
        self._pool = pool
        self._upstream = upstream
        self._switched = switched
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, request: Request, target: bytes, principal: str, socket: Socket, *, timeout: float) -> None:
        """Returns when `switched` has been called, else it raises."""
        passed = [field for field in passed_on(request, self._pool, principal) if field[0] not in _AGREED]
        fields = headers.encode(passed + upgrading(socket, request))
        self._upstream.send_request(self, b"GET", b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields), timeout=timeout)
        self._upstream.flush()
        self._upstream.expect_answer()
        await self._done

    # What the service does

    def response_continues(self) -> None:
        pass

    def response_head(self, head: ResponseHead) -> None:
        self._pool.breaker.succeeded()
        self._fail(Refused(head.status))

    def response_body(self, payload: Sequence[bytes]) -> None:
        """Of a refusal: nobody reads it."""

    def response_ended(self) -> None:
        pass

    def upgraded(self, head: ResponseHead, early: bytes) -> None:
        if not self._done.done():
            self._pool.breaker.succeeded()
            self._done.set_result(None)
            self._switched(early)

    def upstream_full(self) -> None:
        pass

    def upstream_ready(self) -> None:
        pass

    def upstream_lost(self, reason: str) -> None:
        self._pool.failed(self._upstream)
        self._fail(UpstreamUnavailable(f"The {self._pool.service} broke off. Try again."))

    def upstream_silent(self) -> None:
        self._pool.failed(self._upstream)
        self._fail(UpstreamTimeout(f"The {self._pool.service} did not answer in time."))

    def _fail(self, error: MillraceError) -> None:
        if not self._done.done():
            self._done.set_exception(error)
