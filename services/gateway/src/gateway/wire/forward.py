"""One request on its way to a service, and the answer on its way back. Bytes pass through, none are kept.

Whoever can't take more stops the source: the slower side sets the pace. Whoever leaves ends the other side too.
"""

from collections.abc import Callable, Sequence

from events.errors import UpstreamTimeout, UpstreamUnavailable
from events.identity import PRINCIPAL_HEADER
from gateway.wire import headers
from gateway.wire.client_connection import ClientConnection
from gateway.wire.framing import END_OF_CHUNKS, as_chunk
from gateway.wire.heads import Headers, ResponseHead
from gateway.wire.pool import Pool
from gateway.wire.requests import Request
from gateway.wire.upstream_connection import UpstreamConnection

# Safe to send again when a connection that was used before turns out to be closed.
_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

Warn = Callable[..., None]


def passed_on(request: Request, pool: Pool, principal: str | None) -> Headers:
    """What a service sees of a request's headers."""
    passed = headers.inwards(request.head)
    passed.append((b"host", pool.authority))
    passed.append((b"x-request-id", request.id.encode()))
    passed.append((b"traceparent", request.traceparent))
    if principal is not None:
        passed.append((PRINCIPAL_HEADER.encode(), principal.encode()))
    return passed


class Forward:
    def __init__(
        self, client: ClientConnection, request: Request, pool: Pool, upstream: UpstreamConnection, warn: Warn
    ) -> None:
        self._client = client
        self._request = request
        self._pool = pool
        self._upstream = upstream
        self._warn = warn
        self._answered = False  # the answer's head has gone out
        self._over = False

    def start(self, target: bytes, principal: str | None, *, timeout: float) -> None:
        self._say(target, principal, timeout=timeout)
        self._client.attach(self)
        self._upstream.flush()

    def _say(self, target: bytes, principal: str | None, *, timeout: float) -> None:
        head = self._request.head
        first = b"%b %b HTTP/1.1\r\n" % (head.method, target)
        passed = headers.encode(self._headers(principal))
        self._upstream.send_request(self, head.method, b"%b%b\r\n" % (first, passed), timeout=timeout)

    def _headers(self, principal: str | None) -> Headers:
        head = self._request.head
        passed = passed_on(self._request, self._pool, principal)
        if head.chunked:
            passed.append((b"transfer-encoding", b"chunked"))
        elif head.content_length is not None:
            passed.append((b"content-length", b"%d" % head.content_length))
        return passed

    # What the client does

    def request_body(self, payload: Sequence[bytes]) -> None:
        self._upstream.send(as_chunk(payload) if self._request.head.chunked else payload)

    def request_ended(self) -> None:
        if self._request.head.chunked:
            self._upstream.send((END_OF_CHUNKS,))
        self._upstream.expect_answer()

    def client_full(self) -> None:
        self._upstream.pause_reading()

    def client_ready(self) -> None:
        self._upstream.resume_reading()

    def client_lost(self) -> None:
        self._finish()

    # What the service does

    def response_continues(self) -> None:
        self._client.continue_body()

    def response_head(self, head: ResponseHead) -> None:
        self._answered = self._request.served = True
        self._pool.breaker.succeeded()
        self._client.start_answer(head.status, headers.outwards(head.headers, head.connection), head.content_length)

    def response_body(self, payload: Sequence[bytes]) -> None:
        self._client.send(payload)

    def response_ended(self) -> None:
        self._finish()
        self._client.end_answer()

    def upgraded(self, head: ResponseHead, early: bytes) -> None:
        self.upstream_lost("it answered with an upgrade that nobody asked for")

    def upstream_full(self) -> None:
        self._client.pause_reading()

    def upstream_ready(self) -> None:
        self._client.resume_reading()

    def upstream_lost(self, reason: str) -> None:
        stale = self._upstream.used and not self._answered and not self._over
        self._finish()
        if stale and self._request.head.method in _REPEATABLE and not self._request.head.has_body:
            self._client.begin_again()
            return
        if not self._answered:
            self._pool.failed(self._upstream)
        self._warn_of("service lost", reason=reason)
        self._client.refuse(UpstreamUnavailable(f"The {self._pool.service} broke off. Try again."))

    def upstream_silent(self) -> None:
        self._finish()
        if not self._answered:
            self._pool.failed(self._upstream)
        self._warn_of("service silent")
        self._client.refuse(UpstreamTimeout(f"The {self._pool.service} did not answer in time."))

    def _warn_of(self, event: str, **more: str) -> None:
        place = self._upstream.place.authority.decode()
        self._warn(event, service=self._pool.service, place=place, request_id=self._request.id, **more)

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self._let_go()

    def _let_go(self) -> None:
        self._pool.release(self._upstream)
