"""One connection to a service: requests go out, answers are parsed and handed on as they come."""

import asyncio
import socket
from collections.abc import Callable, Sequence

import httptools

from events.errors import BadRequest
from gateway.wire.deadline import Deadline
from gateway.wire.exchange import UpstreamSide
from gateway.wire.framing import BodyReader, EndlessBody
from gateway.wire.heads import ResponseHead, parse_response
from gateway.wire.places import Place

# Written bytes that wait in memory for a slow reader, before its source is stopped.
HIGH_WATER = 64 * 1024
_MOST_HEAD_BYTES = 64 * 1024


class UpstreamConnection(asyncio.Protocol):
    def __init__(
        self, loop: asyncio.AbstractEventLoop, place: Place, lost: Callable[["UpstreamConnection"], None]
    ) -> None:
        self.place = place
        self.idle_since = 0.0
        self.used = False  # has carried an answer before: the service may close it at any moment
        self.transport: asyncio.Transport
        self._loop = loop
        self._lost = lost
        self._waiting = Deadline(loop)
        self._exchange: UpstreamSide | None = None
        self._method = b""
        self._timeout = 0.0
        self._unsent = b""
        self._head = b""
        self._response: ResponseHead | None = None
        self._body: BodyReader | None = None
        self._request_complete = False
        self._paused = False
        self._is_lost = False
        self._spare: socket.socket | None = None

    # What an exchange does with it

    def send_request(self, exchange: UpstreamSide, method: bytes, head: bytes, *, timeout: float) -> None:
        """`timeout`: seconds that the service may stay silent while we wait for it. The head goes out with the first of
        the body, or by `flush`: each write is a system call."""
        self._exchange, self._method, self._timeout, self._request_complete = exchange, method, timeout, False
        self._unsent = head

    def send(self, payload: Sequence[bytes]) -> None:
        unsent, self._unsent = self._unsent, b""
        if not self.transport.is_closing():
            self.transport.writelines((unsent, *payload) if unsent else payload)

    def flush(self) -> None:
        if self._unsent:
            self.send(())

    def expect_answer(self) -> None:
        """The request is complete: from now on the service must not stay silent."""
        self._request_complete = True
        if self._is_lost:
            self._loop.call_soon(self._fail, "it had closed the connection before it was asked")
        elif self._response is None:
            self._waiting.start(self._timeout, self._silent)

    def wait_longer(self, seconds: float) -> None:
        """For the answer of a service that was silent."""
        self._waiting.start(seconds, self._silent)

    def allow_silence(self, seconds: float) -> None:
        """From now on, instead of what was said with the request: the answer is one that lasts."""
        self._timeout = seconds

    def pause_reading(self) -> None:
        self._waiting.stop()
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        self._expect_body()
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def hand_over(self) -> asyncio.Transport:
        """Give the raw transport away, for good."""
        assert self._spare is not None
        self._spare.close()
        self._waiting.close()
        self._exchange = None
        return self.transport

    @property
    def was_last(self) -> bool:
        """Whether the service has said that it takes no other request here."""
        return self._response is not None and not self._response.keep_alive

    def leave(self) -> bool:
        """End the exchange. True if the connection may carry another one; else it is closed."""
        reusable = self._finished() and not self.transport.is_closing()
        self._exchange, self._response, self._body = None, None, None
        if reusable:
            self.resume_reading()
            self.used, self.idle_since = True, self._loop.time()
        else:
            self.transport.abort()
        self._waiting.stop()
        return reusable

    def _finished(self) -> bool:
        """Both sides have said all they had to say, and the service will listen on."""
        return (
            self._request_complete
            and self.transport.get_write_buffer_size() == 0
            and self._response is not None
            and self._response.keep_alive
            and self._body is not None
            and self._body.done
            and not self._body.rest
        )

    # What the transport tells it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has nothing less
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._spare = socket.socket(fileno=_duplicate(transport))

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.transport.abort()  # a service that speaks unasked
        elif self._body is not None:
            self._read_body(data)
        else:
            self._read_head(data)

    def eof_received(self) -> bool:
        if isinstance(self._body, EndlessBody):
            self._ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._spare is not None
        self._is_lost = True
        with self._spare as spare:
            if exc is not None and self._exchange is not None:
                self._read_what_is_left(spare)
        self._waiting.close()
        self._lost(self)
        self._fail(f"it closed the connection ({exc or 'EOF'})")

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._waiting.start(self._timeout, self._silent)
            self._exchange.upstream_full()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._waiting.stop()
            if self._request_complete:
                self.expect_answer()
            self._exchange.upstream_ready()

    # Parsing

    def _read_head(self, data: bytes) -> None:
        assert self._exchange is not None
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > _MOST_HEAD_BYTES:
                self._fail("the head of its answer is too large")
            return
        head, rest = self._head[: end + 4], self._head[end + 4 :]
        self._head = b""
        try:
            response = parse_response(head)
        except httptools.HttpParserError as error:
            self._fail(f"the head of its answer is malformed: {error}")
            return
        if response.status == 101:
            self._waiting.stop()
            self._exchange.upgraded(response, rest)
            return
        if response.status < 200:
            if response.status == 100:
                self._exchange.response_continues()
            if rest:
                self._read_head(rest)
            return
        if response.status == 503:
            self.place.rest()  # it stops, or is full
        self._response = response
        self._body = response.body(self._method)
        self._waiting.stop()
        self._exchange.response_head(response)
        if self._exchange is not None:  # else nobody wants the rest of it
            self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        assert self._body is not None
        try:
            payload = self._body.feed(data) if data else ()
        except BadRequest as error:
            self._fail(f"the body of its answer is malformed: {error.detail}")
            return
        body = self._body
        if self._exchange is not None:
            self._expect_body()
            self._exchange.response_body(payload)
        if body.done:
            self._ended()

    def _ended(self) -> None:
        if self._exchange is not None:
            self._waiting.stop()
            self._exchange.response_ended()

    def _expect_body(self) -> None:
        if self._response is not None:
            self._waiting.start(self._timeout, self._silent)

    def _silent(self) -> None:
        if self._exchange is not None:
            self._exchange.upstream_silent()

    def _fail(self, reason: str) -> None:
        exchange, self._exchange = self._exchange, None
        if not self.transport.is_closing():
            self.transport.abort()
        if exchange is not None:
            exchange.upstream_lost(reason)

    def _read_what_is_left(self, spare: socket.socket) -> None:
        """A service that refuses a body may answer and close while we still write. The write that fails closes the
        transport before the answer is read; the kernel still has it."""
        spare.setblocking(False)
        try:
            while self._exchange is not None and (data := spare.recv(64 * 1024)):
                self.data_received(data)
        except OSError:
            pass


def _duplicate(transport: asyncio.Transport) -> int:
    connected: socket.socket = transport.get_extra_info("socket")
    return connected.dup().detach()
