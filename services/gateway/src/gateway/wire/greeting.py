"""A WebSocket between our own 101 and the service's: its first message says whose it is."""

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

from gateway.wire.boundaries import close_frame
from gateway.wire.first_message import Closed, FirstMessage, Violation
from gateway.wire.frames import pong_frame, text_frame
from gateway.wire.upstream_connection import HIGH_WATER

_NORMAL, _CONNECTION_CLOSED = 1000, 3000
_LEAVING_SECONDS = 5.0  # that the client may take to leave, once it knows that it must
_STOPPING_SECONDS = 1.0  # the same when the replica stops


class Outcome(StrEnum):
    OPENED = "opened"
    LEFT = "left"  # the client has, before it said anything
    IMPATIENT = "impatient"  # the client has, while what it said was looked at
    STALE = "stale"  # it said nothing in time
    MALFORMED = "malformed"  # what it said is no first message
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - no secret
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    REFUSED = "refused"  # for another reason, or for now
    STOPPED = "stopped"  # the replica stops


class Greeting(asyncio.Protocol):
    def __init__(
        self,
        transport: asyncio.Transport,
        connections: set[Any],
        *,
        introduced: Callable[["Greeting", bytes], Coroutine[None, None, None]],
        late: Callable[["Greeting"], None],
        stops: Callable[["Greeting"], None],
        over: Callable[["Greeting", Outcome], None],
        patience: float,
        longest: int,
    ) -> None:
        self.connections = connections
        self._transport = transport
        self._introduced = introduced
        self._stops = stops
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._first = FirstMessage(longest)
        self._outcome: Outcome | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(patience, late, self)
        connections.add(self)

    # What whoever looks at its first message does with it

    def reply(self, payload: bytes, outcome: Outcome) -> None:
        """Tell the client something that it leaves upon by itself, or soon has to."""
        if self._leaves(outcome):
            self._transport.write(text_frame(payload))
            self._timer = self._loop.call_later(_LEAVING_SECONDS, self._hang_up, _CONNECTION_CLOSED, "")

    def close(self, code: int, reason: str, outcome: Outcome) -> None:
        if self._leaves(outcome):
            self._hang_up(code, reason)

    @property
    def is_silent(self) -> bool:
        return self._task is None and self._outcome is None

    def give_way(self) -> None:
        self._outcome = Outcome.STALE
        self._transport.abort()

    def hand_over(self) -> tuple[asyncio.Transport, bytes]:
        """The raw transport, for good, and what was read behind the first message."""
        self._outcome = Outcome.OPENED
        self._end()
        return self._transport, self._first.rest

    # What the transport tells it

    def data_received(self, data: bytes) -> None:
        if self._outcome is not None:
            return
        try:
            for ping in self._first.feed(data):
                self._transport.write(pong_frame(ping))
        except Violation as wrong:
            self.close(wrong.code, wrong.reason, Outcome.MALFORMED)
        except Closed:
            self.close(_NORMAL, "", Outcome.LEFT)
        else:
            if self._first.text is not None and self._task is None:
                self._timer.cancel()
                self._task = self._loop.create_task(self._introduced(self, self._first.text))
            if self._task is not None and self._first.unread > HIGH_WATER:
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._end()

    def shutdown(self) -> None:
        """uvicorn stops."""
        if self._task is not None:
            self._task.cancel()
        self._stops(self)
        self._timer.cancel()
        self._timer = self._loop.call_later(_STOPPING_SECONDS, self._transport.abort)

    def _leaves(self, outcome: Outcome) -> bool:
        """Whether it is for the first time that it is sent away."""
        if self._outcome is not None or self._transport.is_closing():
            return False
        self._outcome = outcome
        self._timer.cancel()
        self._transport.resume_reading()
        return True

    def _hang_up(self, code: int, reason: str) -> None:
        self._transport.write(close_frame(code, reason))
        self._transport.write_eof()
        self._timer = self._loop.call_later(_LEAVING_SECONDS, self._transport.abort)

    def _end(self) -> None:
        self._timer.cancel()
        self.connections.discard(self)
        self._over(self, self._outcome or (Outcome.LEFT if self._task is None else Outcome.IMPATIENT))
