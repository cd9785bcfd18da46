"""uvicorn's HTTP, with one thing more: an answer that lasts takes the raw transport over, as a WebSocket does. What
answered the request is gone then, and an idle stream costs little."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "millrace.takeover"


class Lasting(Protocol):
    def begin(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        """It is the transport's protocol now. `connections`: uvicorn's, which waits for them at shutdown."""


class HttpProtocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"take_over": self._hand_over}}

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._let_go()

    def _let_go(self) -> None:
        """Of what refers to us: nothing of us is to stay for as long as a WebSocket does, or until Python looks for
        garbage."""
        self.parser = cast(Any, None)
        self.scope = cast(Any, {})
        self.cycle = cast(Any, None)

    def _hand_over(self, lasting: Lasting) -> None:
        transport = self.transport
        if transport.is_closing():
            return  # the client did not wait
        self.connection_lost(_HandedOverError())  # so it expects no answer any more, and lets go of everything
        lasting.begin(transport, cast(set[Any], self.connections))


class _HandedOverError(Exception):
    """Why a connection is lost to `HttpProtocol`."""


def take_over(scope: Scope, lasting: Lasting) -> None:
    """The connection of a request that came by `HttpProtocol`."""
    hand_over: Callable[[Lasting], None] = scope["extensions"][_EXTENSION]["take_over"]
    hand_over(lasting)
