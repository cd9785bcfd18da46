"""One connection of a client: requests are read one after the other, and each is answered before the next is begun."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from uvicorn.server import ServerState

from events.errors import BadRequest, MillraceError, RequestTimeout
from events.web.event_stream import HEADERS, farewell
from events.web.web import accepted_request_id
from gateway.limits.address import is_trusted
from gateway.limits.headers import UNLIMITED
from gateway.settings import GatewaySettings
from gateway.wire.answering import Answering
from gateway.wire.answers import Answer, problem
from gateway.wire.deadline import Deadline
from gateway.wire.exchange import ClientSide
from gateway.wire.framing import BodyReader
from gateway.wire.heads import MOST_HEAD_BYTES, Headers, end_of_head, parse_request
from gateway.wire.intake import Intake
from gateway.wire.nothing import nothing
from gateway.wire.pace import Pace
from gateway.wire.proxy_protocol import read_preamble
from gateway.wire.requests import CLIENT_CLOSED, Record, Request, arrived
from gateway.wire.upstream_connection import HIGH_WATER

# How long we go on reading, and dropping, what a client sends behind our last answer: a reset would take that
# answer away from it.
_LINGER_SECONDS = 20.0

STREAM: Headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

Admit = Callable[["ClientConnection", Request], Coroutine[None, None, None]]


class ClientConnection(asyncio.Protocol):
    def __init__(
        self,
        admit: Admit,
        record: Record,
        settings: GatewaySettings,
        server: ServerState,
        stopping: Callable[[], bool],
        pace: Pace,
    ) -> None:
        self.transport: asyncio.Transport
        self.peer = ""  # the address at the other end, or what a trusted proxy says that it is
        self._admit = admit
        self._record = record
        self._settings = settings
        self.connections: set[Any] = server.connections  # whom uvicorn tells to shut down, and waits for
        self._tasks = server.tasks
        self._loop = asyncio.get_running_loop()
        self._reading = Deadline(self._loop)
        self._receive: Callable[[bytes], None] = self._receive_head
        self._unparsed = b""
        self._stopping = stopping  # so that clients go elsewhere with their next request
        self._draining = False
        self._pace = pace
        self._intake: Intake
        self._answering: Answering
        # of the current request
        self._request: Request | None = None  # None between two, and for one whose head is malformed
        self._request_id = ""
        self._body: BodyReader | None = None
        self._admission: asyncio.Task[None] | None = None
        self._side: ClientSide | None = None
        self._held: list[bytes] = []  # body that came before there was anybody to take it

    # What an exchange does with it

    def attach(self, side: ClientSide) -> None:
        """From now on `side` gets the request's body, and answers it."""
        body = self._body
        assert body is not None
        self._admission, self._side = None, side
        held, self._held = self._held, []
        if not body.done:
            self.resume_reading()
        if held:
            side.request_body(held)
        if body.done and self._side is side:
            side.request_ended()

    def begin_again(self) -> None:
        """Admit the request anew, as if it had just come. Only for one without a body, not yet answered."""
        assert self._request is not None
        assert self._answering.current is None
        self._side = None
        self._start(self._request)

    def pause_reading(self) -> None:
        self._reading.stop()
        self._intake.pause()

    def resume_reading(self) -> None:
        if self._body is not None and self._body.unread and not self._intake.waits:
            self._wait(0)
        self._intake.resume()
        if self._body is not None and not self._body.done:
            self._reading.start(self._settings.body_timeout, self._body_stalled)

    def continue_body(self) -> None:
        self._answering.go_on()

    def start_answer(self, status: int, headers: Headers, content_length: int | None) -> None:
        request = self._request
        head = request.head if request is not None else None
        whole = self._body is not None and self._body.done
        keep_alive = whole and head is not None and head.keep_alive and not (self._draining or self._stopping())
        answer = Answer(
            head,
            self._request_id,
            status,
            headers,
            content_length,
            said=request.said if request is not None else UNLIMITED,
            keep_alive=keep_alive,
            compress=self._settings.compress,
            private=request is not None and request.tenant is not None,
        )
        self._answering.begin(answer)

    def send(self, payload: Sequence[bytes]) -> None:
        self._answering.send(payload)

    def end_answer(self) -> None:
        """The answer is complete. What may still come of the request is dropped."""
        answer = self._answering.end()
        self._record(self._request, answer.status)
        keep_alive = answer.keep_alive and not self._draining
        self._request = self._side = None
        self._held = []  # of a request that was refused before anybody took its body
        if keep_alive and self._answering.full:
            self._receive = self._receive_early  # the next answer would pile up on this one: see resume_writing
        elif keep_alive:
            self._next_request()
        else:
            self._linger()

    def refuse(self, error: MillraceError) -> None:
        """Answer with a problem; or, in the middle of an answer, cut it off."""
        self._side = None
        if self._answering.current is not None:
            self._answering.cut_off()
            return
        path = self._request.head.path if self._request is not None else ""
        if self._request is not None and self._request.wants_events and error.retryable:
            self.answer(200, STREAM, farewell(error, instance=path, request_id=self._request_id))
            return
        headers, body = problem(error, path=path, request_id=self._request_id)
        self.answer(error.status, headers, body)

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.start_answer(status, headers, len(body))
        self.send((body,))
        self.end_answer()

    def allow_unread(self, seconds: float) -> None:
        """The client may leave the rest of this answer unread for so long."""
        self._answering.allow_unread(seconds)

    def hand_over(self) -> bytes:
        """Give the raw transport away, for good. Returns what was read of it already."""
        self.resume_reading()
        self._record(self._request, 101)
        self._request = self._side = None
        self._reading.close()
        self._answering.close()
        self._intake.close()
        self.connections.discard(self)
        self._receive = nothing  # it refers to us: nothing of us stays for as long as the transport does
        return self._unparsed

    # What the transport tells it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has nothing less
        self.transport = transport
        self._intake = Intake(transport, self._go_on)
        self._answering = Answering(transport, self._settings.send_timeout)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) else ""
        if is_trusted(self.peer, self._settings.trusted_proxies):
            self._receive = self._receive_preamble
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.connections.add(self)
        self._reading.start(self._settings.keep_alive_timeout, transport.close)

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._reading.close()
        self._answering.close()
        self._intake.close()
        self._leave()
        self._receive = nothing

    def pause_writing(self) -> None:
        self._answering.pause()
        if self._side is not None:
            self._side.client_full()

    def resume_writing(self) -> None:
        self._answering.resume()
        if self._side is not None:
            self._side.client_ready()
        elif self._receive == self._receive_early and self._request is None:
            self._next_request()

    def shutdown(self) -> None:
        """uvicorn stops: an open request is finished, the next is not begun."""
        self._draining = True
        if self._request is None:
            self.transport.close()

    # Reading

    def _receive_preamble(self, data: bytes) -> None:
        if not self._unparsed:
            self._reading.start(self._settings.header_timeout, self._head_stalled)
        self._unparsed += data
        try:
            found = read_preamble(self._unparsed)
        except BadRequest as error:
            self._refuse_malformed(error)
            return
        if found is None:
            return
        length, named = found
        self.peer = named or self.peer
        rest, self._unparsed, self._receive = self._unparsed[length:], b"", self._receive_head
        self._reading.start(self._settings.keep_alive_timeout, self.transport.close)
        if rest:
            self._receive_head(rest)

    def _receive_head(self, data: bytes) -> None:
        begins = not self._unparsed
        self._unparsed = (self._unparsed + data).lstrip(b"\r\n") if begins else self._unparsed + data
        try:
            end = end_of_head(self._unparsed)
            if end is None:
                if begins and self._unparsed:
                    self._reading.start(self._settings.header_timeout, self._head_stalled)
                return
            self._reading.stop()
            request = arrived(parse_request(self._unparsed[:end]))
        except MillraceError as error:
            self._refuse_malformed(error)
            return
        rest, self._unparsed = self._unparsed[end:], b""
        self._request, self._request_id = request, request.id
        self._answering.expect(self._settings.send_timeout)
        self._body = request.head.body()
        self._start(request)
        if self._body.done:
            self._unparsed, self._receive = rest, self._receive_early
        else:
            self._receive = self._receive_body
            if rest:
                self._receive_body(rest)
            elif not request.head.expects_continue:
                self._reading.start(self._settings.body_timeout, self._body_stalled)

    def _start(self, request: Request) -> None:
        self._admission = task = self._loop.create_task(self._admit(self, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _receive_body(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        try:
            payload = body.feed(data)
        except BadRequest as error:
            self._break_off(error)
            return
        if body.done:
            self._reading.stop()
            self._unparsed, self._receive = body.rest, self._receive_early
        else:
            if not self._intake.paused:
                self._reading.start(self._settings.body_timeout, self._body_stalled)
            seconds = self._pace.seconds_to_wait(body.chunks, len(data) - len(body.unread))
            if seconds or body.unread:
                self._wait(seconds)
        side = self._side
        if side is None:
            self._held.extend(payload)
            self.pause_reading()
            return
        if payload:
            side.request_body(payload)
        if body.done and self._side is side:
            side.request_ended()

    def _wait(self, seconds: float) -> None:
        """Read on, and first what is unread, after so long."""
        self._reading.stop()
        self._intake.wait(seconds)

    def _go_on(self) -> None:
        body = self._body
        if body is not None and body.unread and not self._intake.paused:
            self._receive(body.unread)
        elif body is not None and not body.done and not self._intake.paused:
            self._reading.start(self._settings.body_timeout, self._body_stalled)

    def _receive_early(self, data: bytes) -> None:
        """What comes before its turn: the next request, or the first bytes of a tunnel."""
        self._unparsed += data
        if len(self._unparsed) >= MOST_HEAD_BYTES:
            self.pause_reading()

    def _drop(self, data: bytes) -> None:
        pass

    def _next_request(self) -> None:
        self._receive = self._receive_head
        self.resume_reading()
        self._reading.start(self._settings.keep_alive_timeout, self.transport.close)
        if self._unparsed:
            early, self._unparsed = self._unparsed, b""
            self._loop.call_soon(self._receive, early)

    # Endings

    def _head_stalled(self) -> None:
        self._refuse_malformed(RequestTimeout("The request's head took too long."))

    def _body_stalled(self) -> None:
        self._break_off(RequestTimeout("The request's body paused for too long."))

    def _refuse_malformed(self, error: MillraceError) -> None:
        self._request_id = accepted_request_id(None)
        self.refuse(error)

    def _break_off(self, error: MillraceError) -> None:
        """The request can't be read to its end."""
        self._abandon()
        self.refuse(error)

    def _abandon(self) -> None:
        admission, self._admission = self._admission, None
        side, self._side = self._side, None
        if admission is not None:
            admission.cancel()
        if side is not None:
            side.client_lost()

    def _leave(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            self._record(request, CLIENT_CLOSED)
        self._abandon()

    def _linger(self) -> None:
        if self.transport.is_closing():
            return
        self._receive, self._body = self._drop, None
        self._intake.wait_no_more()
        self.resume_reading()
        self._reading.start(_LINGER_SECONDS, self.transport.abort)
        self.transport.write_eof()
