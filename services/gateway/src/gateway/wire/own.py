"""The gateway's own endpoints: an ASGI app behind the same door as every service."""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Scope

from events.errors import InternalError, RequestTimeout, TooLarge
from events.identity import PRINCIPAL_HEADER
from gateway.auth.credentials import Identity
from gateway.wire.client_connection import ClientConnection
from gateway.wire.headers import inwards, outwards
from gateway.wire.requests import Request


class OwnExchange:
    """One request to our own app. Its body is small, and is read before the app runs."""

    def __init__(
        self,
        client: ClientConnection,
        request: Request,
        app: ASGIApp,
        principal: str | None,
        identity: Identity | None,
        *,
        body_limit: int,
        body_timeout: float,
        warn: Callable[..., None],
    ) -> None:
        self._client = client
        self._request = request
        self._app = app
        self._principal = principal
        self._identity = identity
        self._body_limit = body_limit
        self._body_timeout = body_timeout  # seconds for all of it: a small body that never pauses long must end too
        self._late: asyncio.TimerHandle | None = None
        self._warn = warn
        self._body = bytearray()
        self._ready = asyncio.Event()  # the client takes more
        self._ready.set()
        self._path = self._query = b""
        self._received = False  # the app has the body
        self._gone = asyncio.Event()  # the client has left, or has its answer
        self._running: asyncio.Task[None] | None = None
        self._start: Message | None = None
        self._answered = self._ended = False

    def start(self, target: bytes) -> None:
        self._path, _, self._query = target.partition(b"?")
        if self._request.head.expects_continue and (self._request.head.content_length or 0) <= self._body_limit:
            self._client.continue_body()
        if self._request.head.has_body:
            self._late = asyncio.get_running_loop().call_later(self._body_timeout, self._too_late)
        self._client.attach(self)

    # What the client does

    def request_body(self, payload: Sequence[bytes]) -> None:
        for piece in payload:
            self._body += piece
        if len(self._body) > self._body_limit:
            self._in_time()
            self._client.refuse(TooLarge(f"A body may have at most {self._body_limit} bytes here."))

    def request_ended(self) -> None:
        self._in_time()
        self._running = asyncio.create_task(self._run())

    def client_full(self) -> None:
        self._ready.clear()

    def client_ready(self) -> None:
        self._ready.set()

    def client_lost(self) -> None:
        self._in_time()
        self._gone.set()
        if self._running is not None:
            self._running.cancel()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        self._client.refuse(RequestTimeout("The request's body took too long."))

    # What the app does

    async def _run(self) -> None:
        try:
            await self._app(self._scope(), self._receive, self._send)
        except Exception:
            self._warn("request failed", path=self._request.head.path, request_id=self._request.id, exc_info=True)
            if not self._ended:
                self._client.refuse(
                    InternalError("Something went wrong on our side. The request id finds it in the logs.")
                )

    def _scope(self) -> Scope:
        head = self._request.head
        headers = inwards(head)
        headers += [(b"x-request-id", self._request.id.encode()), (b"traceparent", self._request.traceparent)]
        if head.content_length is not None:
            headers.append((b"content-length", b"%d" % head.content_length))
        if self._principal is not None:
            headers.append((PRINCIPAL_HEADER.lower().encode(), self._principal.encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.0" if head.http_1_0 else "1.1",
            "method": head.method.decode(),
            "scheme": "http",
            "path": unquote_to_bytes(self._path).decode("utf-8", "replace"),
            "raw_path": self._path,
            "query_string": self._query,
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "state": {"identity": self._identity},
        }

    async def _receive(self) -> Message:
        if self._received:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._received = True
        return {"type": "http.request", "body": bytes(self._body), "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self._answered:
            assert self._start is not None
            self._answered = self._request.served = True
            headers = [(name.lower(), value) for name, value in self._start.get("headers", ())]
            length = None if more or self._start["status"] == 304 else len(body)
            self._client.start_answer(self._start["status"], outwards(headers), length)
        if body:
            await self._ready.wait()
            self._client.send((body,))
        if not more:
            self._ended = True
            self._gone.set()
            self._client.end_answer()
