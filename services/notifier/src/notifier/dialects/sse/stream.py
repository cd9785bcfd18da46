"""One client's stream of events on the raw transport, from the answer's head to its end.

Messages come as bytes that many streams share. Unsent bytes are bounded: beyond, the session reads from the log when
there is room.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from events.errors import InternalError, MillraceError, Unauthenticated, Unavailable
from events.web.event_stream import HEADERS, HEARTBEAT, HEARTBEAT_HEADER, farewell
from notifier.dialects.sse.form import as_chunk
from notifier.dialects.sse.server import take_over
from notifier.floor import Floor
from notifier.frames import CloseCode
from notifier.session import Session
from notifier.unsent import bound_unsent

# How long the client has to take our last bytes.
CLOSING_SECONDS = 5.0

_HEAD = "HTTP/1.1 200 OK\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
_FRAMED = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
_NO_MORE = b"0\r\n\r\n"

# Subscribes a session; what it returns is said first. Raises `Unavailable` if that cannot be had any more.
Begin = Callable[[Session], bytes]
# Turns what forms have written for several channels into what the client gets.
Stamp = Callable[[bytes], bytes]


class EventStream(asyncio.Protocol):
    """A session's outlet, and a guest of the floor."""

    __slots__ = (
        "_begin",
        "_closing",
        "_connections",
        "_ending",
        "_expires_at",
        "_floor",
        "_loop",
        "_path",
        "_paused_at",
        "_pinged_at",
        "_request_id",
        "_session",
        "_stamp",
        "_transport",
        "_why",
    )

    def __init__(
        self, floor: Floor, begin: Begin, stamp: Stamp | None, *, expires_at: int | None, path: str, request_id: str
    ) -> None:
        self._floor = floor
        self._begin: Begin | None = begin
        self._stamp = stamp
        self._expires_at = expires_at
        self._path, self._request_id = path, request_id
        self._loop = asyncio.get_running_loop()
        self._pinged_at = self._loop.time()
        self._paused_at: float | None = None  # since when the client has too much unread
        self._ending = False
        self._why = "lost"
        self._closing: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        self._transport, self._connections = transport, connections
        transport.set_protocol(self)
        connections.add(self)
        bound_unsent(transport, self._floor.settings.queue_bytes)
        self._session = Session(self._floor.following, self)
        self._floor.opened(self, "sse")
        named = f"X-Request-ID: {self._request_id}\r\n{HEARTBEAT_HEADER}: {self._floor.settings.ping_seconds:g}\r\n"
        transport.write(f"{_HEAD}{named}{_FRAMED}".encode())
        begin, self._begin = self._begin, None
        try:
            assert begin is not None
            self.send(begin(self._session))
        except Unavailable as error:
            self.close(CloseCode.INTERNAL_ERROR, error.detail)
        except Exception as error:
            self._session.fail(error)

    # What the transport says

    def data_received(self, data: bytes) -> None:
        pass  # whatever it is, it is no request any more

    def pause_writing(self) -> None:
        self._paused_at = self._loop.time()

    def resume_writing(self) -> None:
        self._paused_at = None
        self._session.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True  # uvloop's transport raises when it is written to from now on
        self._connections.discard(self)
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._session.close()
        del self._session  # it refers to us
        self._floor.ended(self, self._why)

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.close(CloseCode.SERVICE_RESTART, "The service restarts. Connect again.")

    # What the session and the floor say

    @property
    def writable(self) -> bool:
        """Whether there is room for more events."""
        return not self._ending and self._paused_at is None

    def write(self, messages: bytes) -> bool:
        """Events, if there is room."""
        if self._ending or self._paused_at is not None:
            return False
        self._transport.write(messages if self._stamp is None else as_chunk(self._stamp(messages)))
        return True

    def send(self, text: bytes) -> None:
        """What needs no room."""
        if not self._ending:
            self._transport.write(as_chunk(text))

    def fail(self, error: Exception) -> None:
        """Something of ours broke: the client comes again."""
        self._floor.log.error("stream failed", exc_info=error)
        self._end("failed", InternalError("Something went wrong on our side. Connect again."))

    def close(self, code: CloseCode, reason: str) -> None:
        self._end(str(int(code)), Unavailable(reason))

    def abort(self) -> None:
        self._transport.abort()

    def check(self, now: float, wall: float) -> None:
        """Called about once a second."""
        settings = self._floor.settings
        if self._ending:
            return
        if self._expires_at is not None and self._expires_at <= wall:
            self._end(str(int(CloseCode.CREDENTIAL_ENDED)), Unauthenticated("Credential expired."))
        elif self._paused_at is not None:
            if now - self._paused_at > settings.stall_seconds:
                self._why = "stalled"
                self.abort()
        elif now - self._pinged_at >= settings.ping_seconds:
            self._pinged_at = now
            self.send(HEARTBEAT)

    def _end(self, why: str, error: MillraceError) -> None:
        if self._ending:
            return
        self.send(farewell(error, instance=self._path, request_id=self._request_id))
        self._transport.write(_NO_MORE)
        self._why, self._ending = why, True
        self._transport.close()
        self._closing = self._loop.call_later(CLOSING_SECONDS, self._transport.abort)


class EventAnswer(Response):
    """What a route answers, to have the stream on its request's connection."""

    def __init__(self, stream: EventStream) -> None:
        super().__init__(headers=HEADERS)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        take_over(scope, self._stream)
        # The head is written already: this tells it to who keeps count.
        await send({"type": "http.response.start", "status": 200, "headers": []})
