"""A service that stops says so in each answer, for a while: whoever keeps a connection to it goes elsewhere with the
next request. A connection that is just closed while it is idle takes a request with it that is on its way."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_CLOSE = (b"connection", b"close")


class LastCall:
    """An app whose answers end their connections once it is `over`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if self.over and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        await self._app(scope, receive, send_on)
