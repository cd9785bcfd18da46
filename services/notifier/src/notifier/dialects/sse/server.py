"""uvicorn's HTTP, with one thing more: an answer that lasts may reach its connection."""

import asyncio
from typing import cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_EXTENSION = "millrace.transport"


class HttpProtocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {_EXTENSION: {"transport": self.transport}}


def transport_of(scope: Scope) -> asyncio.Transport:
    """Of a request that came by `HttpProtocol`."""
    return cast(asyncio.Transport, scope["extensions"][_EXTENSION]["transport"])
