"""WebSockets: the handshake is forwarded like any request; what follows a 101 is bytes in two directions.

Each end of the tunnel passes on its reader's pace and its end-of-stream, so close codes and half-closes travel
untouched. An answer other than 101 reaches the client like any answer: a problem with its status.
"""

import asyncio
from collections.abc import Callable

from gateway.limits.headers import UNLIMITED
from gateway.wire import headers
from gateway.wire.answers import status_line
from gateway.wire.forward import Forward
from gateway.wire.heads import Headers, ResponseHead

_UPGRADE: Headers = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]

# How long an end may take to say its last words after the other has gone: the closing handshake's time.
_CLOSING_SECONDS = 10.0


class Handshake(Forward):
    def _headers(self, principal: str | None) -> Headers:
        return super()._headers(principal) + _UPGRADE

    def upgraded(self, head: ResponseHead, early: bytes) -> None:
        answer = (
            headers.outwards(head.headers, head.connection) + _UPGRADE + [(b"x-request-id", self._request.id.encode())]
        )
        connections, transport = self._client.connections, self._client.transport
        to_service = self._pool.hand_over(self._upstream)
        client = ClientEnd(transport, lost=lambda: connections.discard(client))
        service = TunnelEnd(to_service, lost=lambda: self._pool.tunnel_closed(to_service))
        sent_early = self._client.hand_over()
        connections.add(client)
        client.begin(service)
        service.begin(client)
        limits = self._request.limits or UNLIMITED
        client.write(b"%b%b%b\r\n%b" % (status_line(101), headers.encode(answer), limits, early))
        service.write(sent_early)


class TunnelEnd(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport, *, lost: Callable[[], None]) -> None:
        self._transport = transport
        self._lost = lost
        self._peer: TunnelEnd | None = None
        self._heard_all = False  # this end sends no more
        self._closing: asyncio.TimerHandle | None = None

    def begin(self, peer: "TunnelEnd") -> None:
        self._peer = peer
        self._transport.set_protocol(self)

    # What the other end does with it

    def write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def pause(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def end(self) -> None:
        """Nothing more comes from the other end; this one may still send, for a while."""
        if self._heard_all:
            self.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            self._close_soon()

    def close(self) -> None:
        """What was written is still sent: it may be a close code."""
        if not self._transport.is_closing():
            self._transport.close()
            self._close_soon()

    def _close_soon(self) -> None:
        if self._closing is None:
            self._closing = asyncio.get_running_loop().call_later(_CLOSING_SECONDS, self._transport.abort)

    # What the transport tells it

    def data_received(self, data: bytes) -> None:
        self.peer.write(data)

    def eof_received(self) -> bool:
        self._heard_all = True
        self.peer.end()
        return True

    def pause_writing(self) -> None:
        self.peer.pause()

    def resume_writing(self) -> None:
        self.peer.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._lost()
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()

    @property
    def peer(self) -> "TunnelEnd":
        assert self._peer is not None
        return self._peer


class ClientEnd(TunnelEnd):
    def shutdown(self) -> None:
        """uvicorn stops: the service hears that the client is going, and says goodbye with its own close code."""
        self.peer.end()
