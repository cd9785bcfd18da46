"""Where the document is, and the pages that show it."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from events.web.answers import bytes_answer
from events.web.openapi import DescribedRoutes
from gateway.document.asyncapi import asyncapi_document
from gateway.document.document import ApiDocument

# What the page needs comes with us: it also works where there is no internet.
_SWAGGER = Path(str(files("fastapi_offline"))) / "static"
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Millrace API</title>
<link rel="icon" href="/docs/favicon.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
_START = """\
SwaggerUIBundle({url: "/api/v1/openapi.json", dom_id: "#api", deepLinking: true, tryItOutEnabled: true})
"""
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
_KEPT = {"Cache-Control": "public, max-age=86400, no-transform", "Vary": "Accept-Encoding"}


def document_routes(document: ApiDocument) -> DescribedRoutes:
    routes = DescribedRoutes(include_in_schema=False)

    @routes.get("/openapi.json")
    @routes.get("/api/v1/openapi.json")
    async def openapi(request: Request) -> Response:
        return bytes_answer(request, await document.current())

    @routes.get("/asyncapi.json")
    @routes.get("/api/v1/asyncapi.json")
    async def asyncapi(request: Request) -> Response:
        return bytes_answer(request, await asyncio.to_thread(asyncapi_document))

    @routes.get("/docs")
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers=_POLICY)

    @routes.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript", headers=_KEPT)

    for name, media_type in _FILES.items():
        routes.add_api_route(f"/docs/{name}", _served(_SWAGGER / name, media_type))
    return routes


def _served(path: Path, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    """A file that does not change is compressed once, not for everybody who asks."""
    compressed = cache(lambda: gzip.compress(path.read_bytes()))

    async def serve(request: Request) -> Response:
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body = await asyncio.to_thread(compressed)
            return Response(body, media_type=media_type, headers=_KEPT | {"Content-Encoding": "gzip"})
        return FileResponse(path, media_type=media_type, headers=_KEPT)

    return serve
