"""The bytes of an upload, or the part of them that a `Range` header asks for."""

import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from events.answers import unchanged
from events.blobs import Blobs
from events.errors import Gone, MillraceError, NotFound
from ingest.uploads import Upload

# Nineteen digits name every byte that a file can have.
_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,19})-(\d{1,19})?|-(\d{1,19}))")


class RangeNotSatisfiable(MillraceError):
    code, status, title = "range_not_satisfiable", 416, "Range not satisfiable"


async def content_response(request: Request, blobs: Blobs, upload: Upload, range_header: str | None) -> Response:
    etag = f'"{upload.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(upload.filename or str(upload.id), safe='')}",
    }
    known = unchanged(request, etag)
    if known is not None:
        return known
    same = request.headers.get("If-Range", etag) == etag  # else the client has a part of something else
    wanted = _wanted(range_header, upload.bytes) if same else None
    start, end = wanted or (0, upload.bytes)
    headers["Content-Length"] = str(end - start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{upload.bytes}"
    chunks = blobs.read(upload.blob, start, end)
    try:
        first = await anext(chunks)
    except NotFound:
        raise Gone("This upload has been deleted.") from None  # since we have read its row
    return StreamingResponse(
        _all(first, chunks), 206 if wanted else 200, headers, media_type="application/octet-stream"
    )


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
            f"The upload has {size} bytes: the range lies behind them.", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end
