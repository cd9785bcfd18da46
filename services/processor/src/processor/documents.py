"""Documents that clients send in the body of a request: workflows and recipes."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request

from events.errors import BadRequest, TooLarge, UnsupportedMedia
from events.web.openapi import problems
from processor.language.document import LARGEST, Unreadable

REFUSED = problems(BadRequest, TooLarge, UnsupportedMedia)


def described(what: str, schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """For OpenAPI: `what` is a sentence."""
    return {
        "requestBody": {
            "required": True,
            "description": what,
            "content": {
                "application/json": {"schema": schema, "example": example},
                "application/yaml": {"schema": {"type": "string"}},
            },
        }
    }


async def document_in(request: Request, read: Callable[[bytes, str], Awaitable[Any]]) -> Any:
    """`read` is `language.document.read`, wherever that is done."""
    body, content_type = await _body(request), request.headers.get("Content-Type", "application/json")
    try:
        return await read(body, content_type)
    except Unreadable as wrong:
        if wrong.problem.code == "content_type":
            raise UnsupportedMedia(str(wrong)) from None
        raise BadRequest(str(wrong)) from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise TooLarge(f"A document may have {LARGEST} bytes.")
    return bytes(body)
