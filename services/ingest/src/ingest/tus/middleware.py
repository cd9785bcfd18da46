"""What the tus protocol wants of every request and answer, before and after routing."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.tus.headers import VERSION

PREFIX = "/api/v1/files"
_METHODS = frozenset({"HEAD", "PATCH", "DELETE"})  # that environments may not be able to send


class TusMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method = headers.get("x-http-method-override", "").upper()
        if scope["method"] == "POST" and method in _METHODS:
            scope = {**scope, "method": method}  # the server keeps its own: it frames the answer to what was sent
        has_body = has_body_in(headers)

        async def send_as_tus(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = MutableHeaders(scope=message)
                said["Tus-Resumable"] = VERSION
                if has_body and message["status"] >= 400:
                    said["Connection"] = "close"  # the rest of the body would be read as the next request
            await send(message)

        await self._app(scope, receive, send_as_tus)


def has_body_in(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
