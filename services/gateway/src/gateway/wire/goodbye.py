"""A WebSocket that is accepted only to be closed: browsers tell a page its close code, but nothing of a refusal."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Callable

from gateway.wire import headers
from gateway.wire.answers import status_line
from gateway.wire.boundaries import close_frame
from gateway.wire.client_connection import ClientConnection
from gateway.wire.heads import Headers, RequestHead
from gateway.wire.nothing import nothing
from gateway.wire.requests import Request

TRY_AGAIN_LATER = 1013

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_PROTOCOL = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_GOODBYE_SECONDS = 5.0  # that the client may take to answer and leave


def can_be_accepted(head: RequestHead) -> bool:
    """Whether the handshake is complete, so that its client understands a frame."""
    return (
        head.opens_websocket
        and head.method == b"GET"
        and not head.http_1_0
        and not head.has_body
        and head.header(b"sec-websocket-version") == b"13"
        and _KEY.fullmatch(head.header(b"sec-websocket-key") or b"") is not None
    )


def accept_and_close(client: ClientConnection, request: Request, code: int, reason: str) -> None:
    connections, transport = client.connections, client.transport
    client.hand_over()
    leaving = _Leaving(transport, lost=lambda: connections.discard(leaving))
    connections.add(leaving)
    transport.set_protocol(leaving)
    protocol = (request.head.header(b"sec-websocket-protocol") or b"").split(b",")[0].strip()
    # A browser that gets none of those it asked for fails without the code.
    chosen = [(b"sec-websocket-protocol", protocol)] if _PROTOCOL.fullmatch(protocol) else []
    transport.write(switched(request, chosen) + close_frame(code, reason))
    transport.write_eof()


def switched(request: Request, more: Headers) -> bytes:
    """The head of a 101 of our own."""
    key = request.head.header(b"sec-websocket-key") or b""
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    answer = [
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-accept", accept),
        (b"x-request-id", request.id.encode()),
        *more,
    ]
    return b"%b%b%b\r\n" % (status_line(101), headers.encode(answer), request.said)


class _Leaving(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport, *, lost: Callable[[], None]) -> None:
        self._transport = transport
        self._lost = lost
        self._patience = asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Its close frame, and what it had sent before it knew: nobody reads it."""

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        lost, self._lost = self._lost, nothing  # it refers to us
        lost()

    def shutdown(self) -> None:
        """uvicorn stops: all was said."""
        self._transport.close()
