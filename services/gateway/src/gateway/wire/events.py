"""Streams of events: an answer that lasts. Its bytes pass through like any answer's, but the gateway may end it, and
says why: between two messages, since a client would take what is cut off for a whole one.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

from events.errors import MillraceError, Unauthenticated, Unavailable, UpstreamTimeout, UpstreamUnavailable
from events.web.event_stream import HEARTBEAT_HEADER, MEDIA_TYPE, farewell
from gateway.sockets.socket import CODES, Socket
from gateway.wire import headers
from gateway.wire.client_connection import ClientConnection
from gateway.wire.forward import Warn
from gateway.wire.heads import Headers, ResponseHead
from gateway.wire.pool import Pool
from gateway.wire.repeatable import Repeatable
from gateway.wire.requests import Request
from gateway.wire.upstream_connection import UpstreamConnection

_BETWEEN = b"\n\n"
_HEARTBEAT = HEARTBEAT_HEADER.lower().encode()
_MISSED_HEARTBEATS = 2  # after which a service is taken for gone

# How long the service may take to finish the message that it is in when we end the stream, and the client to read all.
_LAST_MESSAGE_SECONDS = 0.5
_HANGING_UP_SECONDS = 3.0


class EventForward(Repeatable):
    def __init__(
        self,
        client: ClientConnection,
        request: Request,
        pool: Pool,
        upstream: UpstreamConnection,
        warn: Warn,
        *,
        socket: Socket,
        unread_timeout: float,
        silence_timeout: float,
        revoked: Callable[[], None],
    ) -> None:
        super().__init__(client, request, pool, upstream, warn)
        self._socket = socket
        self._unread_timeout = unread_timeout
        self._silence_timeout = silence_timeout  # of a service that does not say how often it is heard of
        self._revoked = revoked  # what to do if its credential is
        self._tail = b""  # the last two bytes; empty until the stream has begun
        self._last: bytes | None = None  # what the client hears instead of the next message

    def _headers(self, principal: str | None) -> Headers:
        """A cookie that opens a stream is a credential, and ends here."""
        return [(name, value) for name, value in super()._headers(principal) if name != b"cookie"]

    def hang_up(self, code: int, reason: str) -> None:
        detail = f"{reason[0].upper()}{reason[1:].removesuffix('.')}."
        if code == CODES.restarts:
            self._end(Unavailable(detail))
        else:
            self._revoked()
            self._end(Unauthenticated(detail))

    # What the service does

    def response_head(self, head: ResponseHead) -> None:
        if head.status != 200 or (b"content-type", MEDIA_TYPE.encode()) not in head.headers:
            super().response_head(head)
            return
        self._stay()
        self._answered = self._request.served = True
        self._pool.breaker.succeeded()
        self._client.allow_unread(self._unread_timeout)
        self._upstream.allow_silence(_longest_silence(head) or self._silence_timeout)
        named = [(b"x-socket-id", str(self._socket.id).encode())]
        self._client.start_answer(200, headers.outwards(head.headers, head.connection) + named, head.content_length)
        self._tail = _BETWEEN

    def response_body(self, payload: Sequence[bytes]) -> None:
        if self._last is not None:
            self._finish_message(b"".join(payload))
            return
        self._client.send(payload)
        if self._tail:
            self._tail = (self._tail + b"".join(payload))[-2:]
            if self._socket.tunnel is None:
                self._socket.opened(self)

    def upstream_lost(self, reason: str) -> None:
        if not self._tail or self._over:
            super().upstream_lost(reason)
            return
        self._warn_of("service lost", reason=reason)
        self._break_off(UpstreamUnavailable(f"The {self._pool.service} broke off. Connect again."))

    def upstream_silent(self) -> None:
        """Else the client of a service that hangs, or that the network has lost, would wait for ever."""
        if not self._tail or self._over:
            super().upstream_silent()
            return
        self._pool.failed(self._upstream)  # so that who comes again goes to another place
        self._warn_of("service silent")
        self._break_off(UpstreamTimeout(f"The {self._pool.service} was silent for too long. Connect again."))

    def _break_off(self, error: MillraceError) -> None:
        """Nothing more comes of the service."""
        if self._last is None and self._tail == _BETWEEN:
            self._end(error)
        else:
            self._give_up()

    def _end(self, error: MillraceError) -> None:
        if self._over or self._last is not None:
            return
        self._last = farewell(error, instance=self._request.head.path, request_id=self._request.id)
        if self._tail == _BETWEEN:
            self._say_last()
        else:
            self._upstream.resume_reading()
            asyncio.get_running_loop().call_later(_LAST_MESSAGE_SECONDS, self._give_up)

    def _finish_message(self, data: bytes) -> None:
        known = len(self._tail)
        end = (self._tail + data).find(_BETWEEN)
        self._client.send((data[: end + 2 - known] if end >= 0 else data,))
        self._tail = _BETWEEN if end >= 0 else (self._tail + data)[-2:]
        if end >= 0:
            self._say_last()

    def _say_last(self) -> None:
        assert self._last is not None
        self._finish()
        self._client.allow_unread(_HANGING_UP_SECONDS)
        self._client.send((self._last,))
        self._client.end_answer()

    def _give_up(self) -> None:
        if not self._over:
            self._finish()
            self._client.refuse(UpstreamUnavailable("The stream broke off. Connect again."))

    def _finish(self) -> None:
        super()._finish()
        self._socket.leave()


def _longest_silence(head: ResponseHead) -> float | None:
    """In seconds, by what the service says of its heartbeats."""
    told = next((value for name, value in head.headers if name == _HEARTBEAT), b"")
    try:
        seconds = float(told)
    except ValueError:
        return None
    return _MISSED_HEARTBEATS * seconds if 0 < seconds < math.inf else None
