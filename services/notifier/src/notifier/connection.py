"""One WebSocket, from the handshake to the close: a protocol on the raw transport.

What comes in is parsed by `websockets`' sans-IO protocol, with its checks of RFC 6455. What goes out is framed once per
event and written as it is, the same bytes to everybody.
"""

import asyncio
import http
import time
from collections.abc import Callable
from typing import Any, cast

from prometheus_client import Counter, Gauge
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from events.errors import Forbidden, MillraceError
from events.identity import PRINCIPAL_HEADER, Principal
from events.lifecycle import Parts
from events.log import EventLog
from events.web import PROBLEM_JSON, accepted_request_id, as_millrace_error, problem_body
from notifier.dialects.progress import ProgressDialect, ProgressSession, Wanted, wanted_by
from notifier.hub import Hub
from notifier.session import Session
from notifier.settings import NotifierSettings

_WRITE_HIGH_WATER = 64 * 1024
_EARLY_BYTES = 64 * 1024  # what a client may send before it has our answer
_CLOSING_SECONDS = 5.0
_RATE_SECONDS = 10


class Floor:
    """What all connections of one notifier share."""

    def __init__(self, parts: Parts, hub: Hub, dialect: ProgressDialect, settings: NotifierSettings) -> None:
        self.parts = parts
        self.hub = hub
        self.dialect = dialect
        self.settings = settings
        self.log = EventLog(parts.pool)
        registry = parts.telemetry.registry
        self.open = Gauge("millrace_notifier_connections", "Open WebSockets.", registry=registry)
        self.closed = Counter(
            "millrace_notifier_closed_total", "Closed WebSockets by code.", ["code"], registry=registry
        )

    def connection(self, *, server_state: Any, **_: Any) -> "Connection":
        """What uvicorn calls for each upgrade."""
        return Connection(self, server_state.connections)


class Connection(asyncio.Protocol):
    def __init__(self, floor: Floor, connections: set[Any]) -> None:
        self._floor = floor
        self._connections = connections
        self._protocol = ServerProtocol(max_size=floor.settings.max_message_bytes)
        self._early: bytearray | None = bytearray()  # None once the handshake is done
        self._writable = asyncio.Event()
        self._writable.set()
        self._timers: list[asyncio.TimerHandle] = []
        self._handshake: asyncio.Task[None] | None = None
        self._session: Session | None = None
        self._dialect: ProgressSession | None = None
        self._commands: asyncio.Queue[bytes] = asyncio.Queue(floor.settings.max_messages_per_second * _RATE_SECONDS)
        self._commanding: asyncio.Task[None] | None = None
        self._allowance = float(self._commands.maxsize)
        self._allowed_at = time.monotonic()
        self._fragments: list[bytes] = []
        self._is_text = False
        self._awaiting_pong = False

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._handshake is not None and self._early is not None:
            self._early += data
            if len(self._early) > _EARLY_BYTES:
                self._transport.abort()
            return
        self._protocol.receive_data(data)
        self._react()

    def eof_received(self) -> None:
        """The gateway's client has gone. Answer with our own close code, as the design has it."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
        self._protocol.receive_eof()
        self._flush()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        for timer in self._timers:
            timer.cancel()
        for task in (self._handshake, self._commanding):
            if task is not None:
                task.cancel()
        if self._session is not None:
            self._session.close()
            self._floor.open.dec()
            self._floor.closed.labels(self._protocol.close_code or CloseCode.ABNORMAL_CLOSURE).inc()
        self._writable.set()

    def shutdown(self) -> None:
        """uvicorn stops."""
        self.close(CloseCode.SERVICE_RESTART, "The service restarts. Connect again.")

    # What subscriptions use

    def write(self, frame: bytes) -> None:
        if self._protocol.state is State.OPEN:
            self._transport.write(frame)

    def is_overfull(self) -> bool:
        return self._transport.get_write_buffer_size() > self._floor.settings.queue_bytes

    async def drained(self) -> None:
        await self._writable.wait()

    def close(self, code: int, reason: str) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
            self._after(_CLOSING_SECONDS, self._transport.abort)
        elif self._protocol.state is State.CONNECTING:
            self._transport.abort()

    # What the client sends

    def _react(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._handshake = asyncio.create_task(self._shake_hands(event))
            elif isinstance(event, Frame):
                self._received(event)
        self._flush()

    def _received(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.TEXT | Opcode.BINARY | Opcode.CONT:
                self._fragments.append(bytes(frame.data))
                self._is_text = frame.opcode is Opcode.TEXT or (frame.opcode is Opcode.CONT and self._is_text)
                if frame.fin:
                    message, self._fragments = b"".join(self._fragments), []
                    self._take(message)
            case Opcode.PONG:
                self._awaiting_pong = False
            case _:
                pass  # pings and closes are answered by the protocol

    def _take(self, message: bytes) -> None:
        if self._is_text and not _is_utf8(message):
            self.close(CloseCode.INVALID_DATA, "A text message must be UTF-8.")
            return
        now = time.monotonic()
        rate = self._floor.settings.max_messages_per_second
        self._allowance = min(self._commands.maxsize, self._allowance + (now - self._allowed_at) * rate) - 1
        self._allowed_at = now
        if self._allowance < 0 or self._commands.full():
            self.close(CloseCode.POLICY_VIOLATION, "Too many messages.")
        else:
            self._commands.put_nowait(message)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        if self._protocol.close_expected():
            self._after(_CLOSING_SECONDS, self._transport.abort)
        if self._protocol.state is State.CLOSED:
            self._transport.close()

    # The handshake

    async def _shake_hands(self, request: Request) -> None:
        try:
            principal = self._floor.parts.signer.verify(request.headers.get(PRINCIPAL_HEADER, ""))
            if "jobs:read" not in principal.scopes:
                raise Forbidden("This needs the scope jobs:read, which your credential does not have.")
            wanted = await wanted_by(request.path, principal, self._floor.log)
        except Exception as refused:
            self._refuse(request, refused)
            return
        response = self._protocol.accept(request)
        self._protocol.send_response(response)
        self._flush()
        if self._protocol.state is State.OPEN:
            self._begin(principal, wanted)
        early, self._early = self._early, None
        if early:
            self.data_received(bytes(early))

    def _refuse(self, request: Request, refused: Exception) -> None:
        error: MillraceError = as_millrace_error(refused)
        if error.status >= 500:
            self._floor.parts.telemetry.log.error("handshake failed", exc_info=refused)
        request_id = accepted_request_id(request.headers.get("X-Request-ID"))
        body = problem_body(error, instance=request.path.partition("?")[0], request_id=request_id)
        headers = {"Content-Type": PROBLEM_JSON, "Content-Length": str(len(body)), "X-Request-ID": request_id}
        answer = Headers({**headers, **error.headers, "Connection": "close"})
        self._protocol.send_response(Response(error.status, http.HTTPStatus(error.status).phrase, answer, body))
        self._flush()
        self._transport.close()

    def _begin(self, principal: Principal, wanted: Wanted) -> None:
        floor = self._floor
        floor.open.inc()
        self._session = Session(floor.log, floor.hub, floor.dialect, self, self._failed)
        self._dialect = ProgressSession(self._session, wanted, floor.log)
        self._session.subscribe(wanted.channel, self._session.position() if wanted.after is None else wanted.after)
        self._commanding = asyncio.create_task(self._obey(self._dialect))
        self._after(floor.settings.ping_seconds, self._ping)
        if principal.expires_at is not None:
            expired = "Your credential has expired."
            self._after(principal.expires_at - time.time(), lambda: self.close(CloseCode.POLICY_VIOLATION, expired))

    async def _obey(self, dialect: ProgressSession) -> None:
        while True:
            message = await self._commands.get()
            await self._writable.wait()
            try:
                await dialect.received(message)
            except Exception as error:
                self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """Something of ours broke: the client learns that it should come again."""
        self._floor.parts.telemetry.log.error("connection failed", error=repr(error), exc_info=error)
        self.close(CloseCode.INTERNAL_ERROR, "Something went wrong on our side. Connect again.")

    def _ping(self) -> None:
        if self._awaiting_pong:
            self._transport.abort()
        elif self._protocol.state is State.OPEN:
            self._awaiting_pong = True
            self._protocol.send_ping(b"")
            self._flush()
            self._after(self._floor.settings.ping_seconds, self._ping)

    def _after(self, seconds: float, call: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        self._timers = [timer for timer in self._timers if timer.when() > loop.time()]
        self._timers.append(loop.call_later(max(0.0, seconds), call))


def _is_utf8(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True
