"""Answers that are the bytes of a blob, or the part of them that a `Range` header asks for."""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from events.blobs.blobs import Blobs
from events.errors import Gone, MillraceError, NotFound
from events.web.answers import unchanged

# Nineteen digits name every byte that a file can have.
_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{1,19})?|-(\d{1,19}))")


class RangeNotSatisfiable(MillraceError):
    code, status, title = "range_not_satisfiable", 416, "Range not satisfiable"


async def blob_answer(
    request: Request,
    blobs: Blobs,
    key: str,
    size: int,
    range_header: str | None,
    *,
    etag: str,
    headers: Mapping[str, str],
    media_type: str,
    gone: str,  # the sentence that says so
) -> Response:
    """To a GET, or to a HEAD, for which no range means anything."""
    known = unchanged(request, etag)
    if known is not None:
        return known
    is_head = request.method == "HEAD"
    same = request.headers.get("If-Range", etag) == etag  # else the client has a part of something else
    wanted = _wanted(range_header, size) if same and not is_head else None
    start, end = wanted or (0, size)
    said = {
        **headers,
        "Content-Type": media_type,  # by itself: which characters a text is of, nobody knows
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
    if wanted is not None:
        said["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    try:
        if is_head:
            await blobs.stat(key)
            return Response(None, 200, said)
        chunks = blobs.read(key, start, end)
        first = await anext(chunks, b"")
    except NotFound:
        raise Gone(gone) from None  # since we have read its row
    return StreamingResponse(_all(first, chunks), 206 if wanted else 200, said)


def disposition(kind: str, filename: str) -> Mapping[str, str]:
    """`attachment` is saved; what is `inline` may be shown."""
    return {"Content-Disposition": f"{kind}; filename*=UTF-8''{quote(filename, safe='')}"}


def binary_answers(media_type: str = "application/octet-stream") -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of them."""
    content = {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    return {200: {"description": "All of it"} | content, 206: {"description": "The part asked for"} | content}


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open range that is asked for. What is not one range of bytes is no range, as RFC 9110 has it."""
    match = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, suffix = (None if number is None else int(number) for number in match.groups())
    if first is not None and last is not None and last < first:
        return None
    start = max(0, size - (suffix or 0)) if first is None else first
    end = size if last is None else min(size, last + 1)
    if start >= end:
        raise RangeNotSatisfiable(
            f"There are {size} bytes: the range lies behind them.", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end
