"""What clients can do with uploads."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from events.answers import no_unknown_parameters, read_answer
from events.blobs import Blobs
from events.envelope import encode_json
from events.errors import Forbidden
from events.identity import Principal
from events.web import PrincipalOf, require
from ingest.body import Body
from ingest.content import content_response
from ingest.fields import checked_filename, checked_options
from ingest.settings import IngestSettings
from ingest.uploads import Upload, Uploads, Wish

Uploader = Annotated[Principal, Depends(require("uploads:write"))]


def reader(principal: PrincipalOf) -> Principal:
    if not principal.scopes & {"uploads:write", "jobs:read"}:
        raise Forbidden("This needs the scope uploads:write or jobs:read, which your credential does not have.")
    return principal


Reader = Annotated[Principal, Depends(reader)]


def router(uploads: Uploads, blobs: Blobs, settings: IngestSettings) -> APIRouter:
    routes = APIRouter(prefix="/api/v1/uploads", tags=["uploads"])

    @routes.post("", status_code=202, dependencies=[Depends(no_unknown_parameters)])
    async def upload(
        request: Request,
        principal: Uploader,
        workflow: Annotated[str, Query(pattern=r"^[a-z][a-z0-9-]{0,63}$")] = "csv-profile",
        options: Annotated[str, Query(max_length=16_384)] = "{}",
        filename: str | None = None,
        idempotency_key: Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,255}$")] = None,
    ) -> Response:
        """Upload a file as the raw body, or as the multipart part `file`. Starts a job for it."""
        wish = Wish(
            workflow=workflow,
            options=checked_options(options, "query.options"),
            filename=checked_filename(filename, "query.filename"),
            idempotency_key=idempotency_key,
        )
        accepted = await uploads.accept(principal.tenant, wish, Body(request, settings))
        promise = {
            "upload_id": accepted.id,
            "job_id": accepted.job_id,
            "channel": f"job:{accepted.job_id}",
            "sha256": accepted.sha256,
            "bytes": accepted.bytes,
        }
        headers = {"Location": f"/api/v1/jobs/{accepted.job_id}"}
        return Response(encode_json(promise), 202, headers, media_type="application/json")

    @routes.get("", dependencies=[Depends(no_unknown_parameters)])
    async def page(
        request: Request, principal: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: UUID | None = None
    ) -> Response:
        """The tenant's uploads, newest first."""
        found = await uploads.page(principal.tenant, cursor, limit + 1)
        items = [_public(upload) for upload in found[:limit]]
        next_cursor = items[-1]["id"] if len(found) > limit else None
        return read_answer(request, {"items": items, "next_cursor": next_cursor})

    @routes.get("/{upload_id}")
    async def one(request: Request, upload_id: UUID, principal: Reader) -> Response:
        return read_answer(request, _public(await uploads.one(principal.tenant, upload_id)))

    @routes.get("/{upload_id}/content")
    async def content(
        request: Request,
        upload_id: UUID,
        principal: Reader,
        range_header: Annotated[str | None, Header(alias="range")] = None,
    ) -> Response:
        """The bytes as they were sent; a part of them by `Range: bytes=first-last`."""
        return content_response(request, blobs, await uploads.one(principal.tenant, upload_id), range_header)

    @routes.delete("/{upload_id}", status_code=204)
    async def delete(upload_id: UUID, principal: Uploader) -> None:
        """Delete its bytes. Its job, and what the job has found, stay."""
        await uploads.delete(principal.tenant, upload_id)

    return routes


def _public(upload: Upload) -> dict[str, Any]:
    return {
        "id": upload.id,
        "job_id": upload.job_id,
        "workflow": upload.workflow,
        "options": upload.options,
        "filename": upload.filename,
        "content_type": upload.content_type,
        "bytes": upload.bytes,
        "sha256": upload.sha256,
        "created_at": upload.created_at,
    }
