"""One client's stream of events, from the answer's head to its end.

What is due is joined and given to the server one piece at a time, at the pace of the client. Unsent bytes are bounded:
beyond, the session reads from the log when there is room.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from events.errors import InternalError, MillraceError, Unauthenticated, Unavailable
from events.event_stream import HEADERS, HEARTBEAT, farewell
from notifier.dialects.sse.server import transport_of
from notifier.floor import Floor
from notifier.frames import CloseCode
from notifier.session import Session

# How long the client has to take our last bytes.
CLOSING_SECONDS = 5.0

_PIECE_BYTES = 64 * 1024
_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()],
}

# Turns the forms' messages into what the client gets.
Stamp = Callable[[bytes], bytes]


class EventStream(Response):
    """An ASGI answer, a session's outlet, and a guest of the floor."""

    def __init__(
        self,
        floor: Floor,
        begin: Callable[[Session], bytes],
        stamp: Stamp | None,
        *,
        expires_at: int | None,
        path: str,
        request_id: str,
    ) -> None:
        super().__init__(headers=HEADERS)
        self._begin = begin  # subscribes the session; what it returns is said first
        self._floor = floor
        self._stamp = stamp
        self._expires_at = expires_at
        self._path, self._request_id = path, request_id
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._due: deque[bytes] = deque()
        self._due_bytes = 0  # of these, and of what the server has not taken yet
        self._wake = asyncio.Event()
        self._sent_at = self._loop.time()
        self._sending_since: float | None = None  # since when the client has too much unread
        self._ending = self._gone = False
        self._why = "lost"
        self._transport: asyncio.Transport | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._transport = transport_of(scope)
        if self._transport.is_closing():
            return  # the client did not wait
        limit = min(_PIECE_BYTES, self._floor.settings.queue_bytes)
        self._transport.set_write_buffer_limits(high=limit, low=limit // 4)
        # Else the kernel takes megabytes for a client that reads nothing, before we get to know that it does not.
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _PIECE_BYTES)
        self._session = Session(self._floor.following, self)
        self._floor.opened(self)
        leaving = asyncio.create_task(self._until_gone(receive))
        try:
            await send(_HEAD)
            try:
                self.send(self._begin(self._session))
            except Exception as error:
                self.fail(error)
            await self._tell(send)
        finally:
            leaving.cancel()
            self._session.close()
            self._session = None
            self._floor.ended(self, self._why)

    async def _until_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._wake.set()

    async def _tell(self, send: Send) -> None:
        while not self._gone and (self._due or not self._ending):
            if not self._due:
                self._wake.clear()
                await self._wake.wait()
                continue
            piece = self._next_piece()
            self._sending_since = self._loop.time()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._sending_since, self._sent_at = None, self._loop.time()
            was_full = not self.writable
            self._due_bytes -= len(piece)
            if was_full and self._session is not None:
                self._session.resume()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _next_piece(self) -> bytes:
        taken, size = list[bytes](), 0
        while self._due and (not taken or size + len(self._due[0]) <= _PIECE_BYTES):
            taken.append(self._due.popleft())
            size += len(taken[-1])
        return taken[0] if len(taken) == 1 else b"".join(taken)

    # What the session and the floor say

    @property
    def writable(self) -> bool:
        """Whether there is room for more events."""
        return not (self._ending or self._gone) and self._due_bytes < self._floor.settings.queue_bytes

    def write(self, messages: bytes) -> bool:
        """Events, if there is room."""
        if not self.writable:
            return False
        self.send(messages if self._stamp is None else self._stamp(messages))
        return True

    def send(self, text: bytes) -> None:
        """What needs no room."""
        if not self._ending:
            self._due.append(text)
            self._due_bytes += len(text)
            self._wake.set()

    def fail(self, error: Exception) -> None:
        """Something of ours broke: the client comes again."""
        self._floor.log.error("stream failed", exc_info=error)
        self._end("failed", InternalError("Something went wrong on our side. Connect again."))

    def close(self, code: CloseCode, reason: str) -> None:
        self._end(str(int(code)), Unavailable(reason))

    def check(self, now: float, wall: float) -> None:
        """Called about once a second."""
        settings = self._floor.settings
        if self._expires_at is not None and self._expires_at <= wall:
            self._end(str(int(CloseCode.CREDENTIAL_ENDED)), Unauthenticated("Credential expired."))
        elif self._sending_since is not None:
            if now - self._sending_since > settings.stall_seconds:
                self._why = "stalled"
                self._abort()
        elif now - self._sent_at >= settings.ping_seconds:
            self.send(HEARTBEAT)

    def _end(self, why: str, error: MillraceError) -> None:
        if self._ending:
            return
        self.send(farewell(error, instance=self._path, request_id=self._request_id))
        self._why, self._ending = why, True
        self._loop.call_later(CLOSING_SECONDS, self._abort)

    def _abort(self) -> None:
        if self._transport is not None and self._session is not None:
            self._transport.abort()
