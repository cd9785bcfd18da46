"""One WebSocket on the raw transport, from the upgrade to the close.

Frames come as bytes that many connections share, and the transport neither copies them nor waits to write them. Unsent
bytes are bounded: beyond, the session reads from the log when there is room.
"""

import asyncio
from enum import Enum, auto
from typing import Any, cast

import structlog
from opentelemetry.trace import SpanKind

from events.errors import MillraceError, NotFound
from events.identity import PRINCIPAL_HEADER, Principal
from events.web.http_spans import answered, asked
from events.web.web import as_millrace_error
from notifier.dialects import Begin
from notifier.floor import Floor
from notifier.frames import (
    CloseCode,
    FrameReader,
    Opcode,
    Violation,
    close_code,
    close_frame,
    pong_frame,
)
from notifier.handshake import Handshake
from notifier.rate import Allowance
from notifier.session import Session
from notifier.unsent import bound_unsent

# How long the other side has to take our last bytes and to hang up.
CLOSING_SECONDS = 5.0


class _State(Enum):
    HANDSHAKE = auto()
    OPEN = auto()
    CLOSING = auto()  # our close frame is written; nothing else will be


class Connection(asyncio.Protocol):
    __slots__ = (
        "_allowance",
        "_closing",
        "_connections",
        "_expires_at",
        "_floor",
        "_full",
        "_handshaking",
        "_heard_at",
        "_loop",
        "_paused_at",
        "_pinged_at",
        "_reader",
        "_session",
        "_state",
        "_transport",
        "_why",
        "writable",
    )

    def __init__(self, floor: Floor, connections: set[Any]) -> None:
        self._floor = floor
        self._connections = connections  # uvicorn's: it waits for them at shutdown
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._pinged_at = self._loop.time()
        self._reader = FrameReader(floor.settings.max_message_bytes)
        self._allowance = Allowance(floor.settings.message_rate, floor.settings.message_burst, self._heard_at)
        self._state = _State.HANDSHAKE
        self.writable = False  # whether there is room for more events
        self._why = "lost"
        self._handshaking: asyncio.Task[None] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._session: Session | None = None
        self._expires_at: int | None = None
        self._full = False  # whether too many commands wait for more to be read
        self._paused_at: float | None = None  # since when the client has too much unread

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        bound_unsent(self._transport, self._floor.settings.queue_bytes)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        match self._state:
            case _State.HANDSHAKE:
                # Nobody may send a frame before our answer: until then it stays in the kernel.
                self._transport.pause_reading()
                self._handshaking = self._loop.create_task(self._shake_hands(Handshake.parse(data)))
            case _State.OPEN:
                self._read(data)
            case _State.CLOSING:
                pass  # nothing matters but that the other side hangs up

    def eof_received(self) -> bool:
        """The client has gone, or the gateway stops: it passes our close code on."""
        self.close(CloseCode.SERVICE_RESTART, "Connect again.")
        self._transport.close()
        return True

    def pause_writing(self) -> None:
        self._paused_at = self._loop.time()
        self.writable = False

    def resume_writing(self) -> None:
        self._paused_at = None
        self.writable = self._state is _State.OPEN
        if self._session is not None:
            self._session.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._state = _State.CLOSING
        self.writable = False
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if self._handshaking is not None:
            self._handshaking.cancel()
        if self._session is not None:
            self._session.close()
            self._floor.ended(self, self._why)
        self._session = None

    def shutdown(self) -> None:
        """uvicorn stops."""
        if self._state is _State.HANDSHAKE:
            self._transport.abort()
        else:
            self.close(CloseCode.SERVICE_RESTART, "The service restarts. Connect again.")

    # What the session and the floor say

    def write(self, frame: bytes) -> bool:
        """Frames of events, if there is room."""
        if not self.writable:
            return False
        self._transport.write(frame)
        return True

    def send(self, frame: bytes) -> None:
        """An answer or a control frame: it needs no room."""
        if self._state is _State.OPEN:
            self._transport.write(frame)

    def fail(self, error: Exception) -> None:
        """What cannot go on: the client was told not to do that, or something of ours broke and it comes again."""
        if isinstance(error, Violation):
            self.close(error.code, error.reason)
            return
        self._floor.log.error("connection failed", exc_info=error)
        self.close(CloseCode.INTERNAL_ERROR, "Something went wrong on our side. Connect again.")

    def close(self, code: CloseCode, reason: str) -> None:
        """Say why, and wait a while for the other side to hang up."""
        if self._state is not _State.OPEN:
            return
        assert self._session is not None
        code = self._session.codes.get(code, code)
        self.send(close_frame(code, reason))
        self._say_goodbye(str(int(code)))
        self._transport.write_eof()

    def abort(self) -> None:
        self._transport.abort()

    def check(self, now: float, wall: float) -> None:
        """Called about once a second."""
        settings = self._floor.settings
        if self._state is not _State.OPEN:
            return
        if self._expires_at is not None and self._expires_at <= wall:
            self.close(CloseCode.CREDENTIAL_ENDED, "credential expired")
        elif self._paused_at is not None:
            # Its pong may wait behind what it has not read: only reading tells that it is alive.
            if now - self._paused_at > settings.stall_seconds:
                self._why = "stalled"
                self.abort()
        elif self._full:
            pass  # its pong may wait behind what we have not read
        elif self._pinged_at > self._heard_at and now - self._pinged_at > settings.pong_seconds:
            self.close(CloseCode.INTERNAL_ERROR, "No answer to a ping.")
        elif now - self._pinged_at >= settings.ping_seconds:
            self._pinged_at = now
            assert self._session is not None
            self.send(self._session.ping)

    # What the client says

    def _read(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        try:
            for opcode, payload in self._reader.feed(data):
                if not self._allowance.take(self._heard_at):
                    raise Violation(CloseCode.POLICY_VIOLATION, "Too many frames.")
                self._take(opcode, payload)
                if self._full or self._state is not _State.OPEN:
                    return
        except Violation as violation:
            self.close(violation.code, violation.reason)

    def _read_on(self) -> None:
        if self._full and self._state is _State.OPEN:
            self._full = False
            self._transport.resume_reading()
            self._read(b"")  # what has come already

    def _take(self, opcode: Opcode, payload: bytes) -> None:
        match opcode:
            case Opcode.TEXT:
                assert self._session is not None
                commands = self._session.commands_of(payload.decode())
                if not self._allowance.take(self._heard_at, len(commands) - 1):  # their frame was one already
                    raise Violation(CloseCode.POLICY_VIOLATION, "Too many commands.")
                if not self._session.received(commands):
                    self._full = True
                    self._transport.pause_reading()
            case Opcode.BINARY:
                raise Violation(CloseCode.UNSUPPORTED_DATA, "Commands are text.")
            case Opcode.PING:
                self.send(pong_frame(payload))
            case Opcode.CLOSE:
                self.send(close_frame(close_code(payload)))
                self._say_goodbye("client")
                self._transport.close()
            case _:
                pass  # a pong, or a fragment that waits for the others

    def _say_goodbye(self, why: str) -> None:
        self._why = why
        self._state = _State.CLOSING
        self.writable = False
        if self._full:
            self._transport.resume_reading()  # the other side hangs up
        self._closing = self._loop.call_later(CLOSING_SECONDS, self._transport.abort)

    # The handshake

    async def _shake_hands(self, handshake: Handshake) -> None:
        request_id = handshake.request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        traceparent = handshake.headers.get("traceparent")
        with self._floor.telemetry.span(
            "GET", traceparent=traceparent, kind=SpanKind.SERVER, attributes=asked("GET", handshake.path, "ws")
        ) as span:
            try:
                async with asyncio.timeout(self._floor.settings.handshake_seconds):
                    principal, begin, dialect = await self._admit(handshake)
            except Exception as raised:
                status = as_millrace_error(raised).status
                answered(span, "GET", None if status == NotFound.status else handshake.route, status)
                self._refuse(handshake, request_id, raised)
                return
            answered(span, "GET", handshake.route, 101)
            self._floor.log.debug("socket opened", path=handshake.path)
        self._open(handshake, request_id, principal, begin, dialect)

    async def _admit(self, handshake: Handshake) -> tuple[Principal, Begin, str]:
        principal = self._floor.signer.verify(handshake.headers.get(PRINCIPAL_HEADER.lower(), ""))
        structlog.contextvars.bind_contextvars(tenant=principal.tenant)
        for dialect in self._floor.dialects:
            if dialect.speaks(handshake.path):
                handshake.check()
                self._floor.check_room()
                hub = self._floor.following.hub
                epoch = hub.epoch
                begin = await dialect.admit(handshake, principal)
                hub.check(epoch)  # at last: the feed may have ended meanwhile
                return principal, begin, dialect.name
        raise NotFound("There is no WebSocket at this path.")

    def _open(self, handshake: Handshake, request_id: str, principal: Principal, begin: Begin, dialect: str) -> None:
        self._handshaking = None
        self._state = _State.OPEN
        self.writable = self._paused_at is None
        self._heard_at = self._pinged_at = self._loop.time()
        self._expires_at = principal.expires_at
        self._session = Session(self._floor.following, self)
        self._session.roomy = self._read_on
        self._floor.opened(self, dialect)
        self._transport.write(handshake.accept(request_id))
        try:
            self._session.obey = begin(self._session)
        except Exception as error:
            self._session.fail(error)
        self._transport.resume_reading()

    def _refuse(self, handshake: Handshake, request_id: str, raised: Exception) -> None:
        error: MillraceError = as_millrace_error(raised)
        if error.status >= 500 and not error.retryable:
            self._floor.log.error("handshake failed", path=handshake.path, exc_info=raised)
        self._floor.refused.labels(error.status).inc()
        self._handshaking = None
        self._transport.write(handshake.refuse(error, request_id))
        self._transport.close()
