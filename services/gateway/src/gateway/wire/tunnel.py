"""WebSockets: the handshake is forwarded like any request; what follows a 101 is bytes in two directions.

Each end of the tunnel passes on its reader's pace and its end-of-stream, so close codes and half-closes travel
untouched. An answer other than 101 reaches the client like any answer: a problem with its status. The gateway itself
says one thing only: why it hangs up.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.sockets.socket import Socket
from gateway.wire import headers
from gateway.wire.answers import status_line
from gateway.wire.boundaries import Boundaries, close_frame
from gateway.wire.client_connection import ClientConnection
from gateway.wire.forward import Warn
from gateway.wire.heads import Headers, ResponseHead
from gateway.wire.nothing import nothing
from gateway.wire.pool import Pool
from gateway.wire.repeatable import Repeatable
from gateway.wire.requests import Request
from gateway.wire.upstream_connection import UpstreamConnection

_UPGRADE: Headers = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]

# How long an end may take to say its last words after the other has gone: the closing handshake's time.
_CLOSING_SECONDS = 10.0

# How long the service may take to finish the frame that it is in when we hang up, and the client to read it.
_LAST_FRAME_SECONDS = 0.5
_HANGING_UP_SECONDS = 3.0


class Handshake(Repeatable):
    def __init__(
        self,
        client: ClientConnection,
        request: Request,
        pool: Pool,
        upstream: UpstreamConnection,
        socket: Socket,
        warn: Warn,
    ) -> None:
        super().__init__(client, request, pool, upstream, warn)
        self._socket = socket

    def _headers(self, principal: str | None) -> Headers:
        return super()._headers(principal) + upgrading(self._socket, self._request)

    def upgraded(self, head: ResponseHead, early: bytes) -> None:
        self._stay()
        self._pool.breaker.succeeded()
        answer = headers.outwards(head.headers, head.connection) + _UPGRADE
        answer.append((b"x-request-id", self._request.id.encode()))
        answer.append((b"x-socket-id", str(self._socket.id).encode()))
        switched = b"%b%b%b\r\n" % (status_line(101), headers.encode(answer), self._request.said)
        sent_early = self._client.hand_over()
        client, service = join(
            self._client.connections, self._client.transport, self._pool, self._upstream, self._socket
        )
        client.write(switched)
        service.data_received(early)
        service.write(sent_early)
        self._socket.opened(service)

    def _finish(self) -> None:
        super()._finish()
        self._socket.leave()


def upgrading(socket: Socket, request: Request) -> Headers:
    """What a service is told of a socket: by this name it can have it refreshed, when its client asks it in its own
    protocol; for whom it asks then; and until when it has to be, in unix seconds."""
    told = [(b"x-socket-id", str(socket.id).encode()), (b"x-socket-client", request.sealed_address)]
    if socket.expires_at is not None:
        told.append((b"x-socket-expires", b"%d" % socket.expires_at))
    return told + _UPGRADE


def join(
    connections: set[Any], transport: asyncio.Transport, pool: Pool, upstream: UpstreamConnection, socket: Socket
) -> tuple["ClientEnd", "ServiceEnd"]:
    """Make a tunnel of a client's transport and a connection on which the service has switched."""
    to_service = pool.hand_over(upstream)

    def client_lost() -> None:
        connections.discard(client)
        socket.leave()

    client = ClientEnd(transport, lost=client_lost, stops=socket.restart)
    service = ServiceEnd(to_service, lost=lambda: pool.tunnel_closed(to_service))
    connections.add(client)
    client.begin(service)
    service.begin(client)
    return client, service


class TunnelEnd(asyncio.Protocol):
    def __init__(self, transport: asyncio.Transport, *, lost: Callable[[], None]) -> None:
        self._transport = transport
        self._lost = lost
        self._peer: TunnelEnd | None = None
        self._heard_all = False  # this end sends no more
        self._deaf = False  # what this end still sends is dropped
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
            self._abort_within(_CLOSING_SECONDS)

    def close(self) -> None:
        """What was written is still sent: it may be a close code."""
        if not self._transport.is_closing():
            self._transport.close()
            self._abort_within(_CLOSING_SECONDS)

    def peer_lost(self) -> None:
        self.close()

    def be_deaf(self) -> None:
        """The tunnel is hung up: whatever this end does is not worth waiting for."""
        self._deaf = True
        self.resume()
        self.end()
        self._abort_within(_HANGING_UP_SECONDS)

    def abort(self) -> None:
        self._transport.abort()

    def _abort_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._closing is None or self._closing.when() > loop.time() + seconds:
            if self._closing is not None:
                self._closing.cancel()
            self._closing = loop.call_later(seconds, self._transport.abort)

    # What the transport tells it

    def data_received(self, data: bytes) -> None:
        if not self._deaf:
            self.peer.write(data)

    def eof_received(self) -> bool:
        if self._deaf:
            return False
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
            self._closing = None
        # Each end refers to the other: what they have used is let go now, not when Python looks for garbage next.
        lost, self._lost = self._lost, nothing
        lost()
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.peer_lost()

    @property
    def peer(self) -> "TunnelEnd":
        assert self._peer is not None
        return self._peer


class ClientEnd(TunnelEnd):
    def __init__(self, transport: asyncio.Transport, *, lost: Callable[[], None], stops: Callable[[], None]) -> None:
        super().__init__(transport, lost=lost)
        self._stops = stops

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stops = nothing

    def shutdown(self) -> None:
        """uvicorn stops, and the draining has not reached this one."""
        self._stops()

    def peer_lost(self) -> None:
        if not self._deaf:  # else it has been told why, and hangs up itself
            self.close()


class ServiceEnd(TunnelEnd):
    def __init__(self, transport: asyncio.Transport, *, lost: Callable[[], None]) -> None:
        super().__init__(transport, lost=lost)
        self._boundaries = Boundaries()
        self._last_frame: bytes | None = None  # what the client hears instead of the next frame

    def hang_up(self, code: int, reason: str) -> None:
        """Close both ends: the client hears why, the service that the client has gone."""
        if self._last_frame is not None or self._peer is None or self._heard_all:
            return  # it is ending already
        self._last_frame = close_frame(code, reason)
        if self._boundaries.between:
            self._say_last()
        else:
            asyncio.get_running_loop().call_later(_LAST_FRAME_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._last_frame is None:
            self._boundaries.follow(data)
            self.peer.write(data)
            return
        self.peer.write(data[: self._boundaries.rest_of_frame(data)])
        if self._boundaries.between:
            self._say_last()

    def _say_last(self) -> None:
        assert self._last_frame is not None
        client = self.peer
        client.write(self._last_frame)
        client.be_deaf()
        self.be_deaf()

    def _give_up(self) -> None:
        if not self._deaf and self._peer is not None:
            self._peer.abort()
            self.abort()
