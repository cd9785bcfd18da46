"""What clients can do with uploads."""

import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from events.blobs import Blobs
from events.errors import FieldError, Forbidden, InvalidInput, MillraceError
from events.identity import Principal
from events.web import PrincipalOf, require
from ingest.body import Body
from ingest.settings import IngestSettings
from ingest.uploads import Upload, Uploads, Wish

Uploader = Annotated[Principal, Depends(require("uploads:write"))]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class RangeNotSatisfiable(MillraceError):
    code, status, title = "range_not_satisfiable", 416, "Range not satisfiable"


def reader(principal: PrincipalOf) -> Principal:
    if not principal.scopes & {"uploads:write", "jobs:read"}:
        raise Forbidden("This needs the scope uploads:write or jobs:read, which your credential does not have.")
    return principal


Reader = Annotated[Principal, Depends(reader)]


def router(uploads: Uploads, blobs: Blobs, settings: IngestSettings) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])

    @routes.post("", status_code=202)
    async def upload(
        request: Request,
        principal: Uploader,
        workflow: Annotated[str, Query(pattern=r"^[a-z][a-z0-9-]{0,63}$")] = "csv-profile",
        options: Annotated[str, Query(max_length=16_384)] = "{}",
        filename: Annotated[str | None, Query(max_length=255)] = None,
        idempotency_key: Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,255}$")] = None,
    ) -> Response:
        """Upload a file as the raw body, or as the multipart part `file`. Starts a job for it."""
        _refuse_unknown(request, {"workflow", "options", "filename"})
        body = Body(request, settings)
        wish = Wish(workflow, _json_object(options), _clean_filename(filename), idempotency_key)
        accepted = await uploads.accept(principal.tenant, wish, body)
        return JSONResponse(
            {
                "upload_id": str(accepted.id),
                "job_id": str(accepted.job_id),
                "channel": f"job:{accepted.job_id}",
                "sha256": accepted.sha256,
                "bytes": accepted.bytes,
            },
            status_code=202,
            headers={"Location": f"/api/v1/jobs/{accepted.job_id}"},
        )

    @routes.get("")
    async def page(
        principal: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: UUID | None = None
    ) -> dict[str, Any]:
        """The tenant's uploads, newest first."""
        found = await uploads.page(principal.tenant, cursor, limit + 1)
        more = len(found) > limit
        items = [_public(upload) for upload in found[:limit]]
        return {"items": items, "next_cursor": items[-1]["id"] if more else None}

    @routes.get("/{upload_id}")
    async def one(upload_id: UUID, principal: Reader) -> dict[str, Any]:
        return _public(await uploads.one(principal.tenant, upload_id))

    @routes.get("/{upload_id}/content")
    async def content(
        upload_id: UUID,
        principal: Reader,
        range_: Annotated[str | None, Header(alias="range")] = None,
    ) -> StreamingResponse:
        """The bytes as they were sent; a part of them by `Range: bytes=first-last`."""
        found = await uploads.one(principal.tenant, upload_id)
        start, end = _wanted(range_, found.bytes)
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start), "ETag": f'"{found.sha256}"'}
        if range_ is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.bytes}"
        chunks: AsyncIterator[bytes] = blobs.read(found.blob, start, end)
        return StreamingResponse(
            chunks, 206 if range_ is not None else 200, headers, media_type="application/octet-stream"
        )

    @routes.delete("/{upload_id}", status_code=204)
    async def delete(upload_id: UUID, principal: Uploader) -> None:
        await uploads.delete(principal.tenant, upload_id)

    return routes


def _public(upload: Upload) -> dict[str, Any]:
    assert upload.created_at is not None
    return {
        "id": str(upload.id),
        "job_id": str(upload.job_id),
        "workflow": upload.workflow,
        "options": upload.options,
        "filename": upload.filename,
        "content_type": upload.content_type,
        "bytes": upload.bytes,
        "sha256": upload.sha256,
        "created_at": upload.created_at.isoformat().replace("+00:00", "Z"),
    }


def _refuse_unknown(request: Request, known: set[str]) -> None:
    """A misspelt parameter must not silently mean its default."""
    if unknown := sorted(set(request.query_params) - known):
        errors = [FieldError(f"query.{name}"[:100], "unknown", "There is no such parameter.") for name in unknown]
        raise InvalidInput(f"Unknown parameters: {', '.join(unknown)[:200]}.", errors=errors)


def _json_object(options: str) -> dict[str, Any]:
    try:
        value = json.loads(options)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or "\\u0000" in options:
        detail = "The options must be a JSON object."
        raise InvalidInput(detail, errors=[FieldError("query.options", "json_object", detail)])
    return value


def _clean_filename(filename: str | None) -> str | None:
    if filename is not None and _UNPRINTABLE.search(filename):
        detail = "A filename has no control characters."
        raise InvalidInput(detail, errors=[FieldError("query.filename", "control_characters", detail)])
    return filename


def _wanted(header: str | None, size: int) -> tuple[int, int]:
    """The half-open range of bytes that is asked for."""
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header.strip())
    if match is not None and any(match.groups()):
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start < end:
            return start, end
    raise RangeNotSatisfiable(
        f"The range {header!r:.80} is not within the {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
    )
