"""What clients can do with uploads."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from events.blobs.blobs import Blobs
from events.body.body import Body
from events.body.fields import checked_filename, checked_options
from events.body.wrapping import refuse_codings
from events.envelope import encode_json
from events.errors import (
    BadRequest,
    Gone,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    RequestTimeout,
    TooLarge,
    UnsupportedMedia,
)
from events.identity import Principal
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, links, problems
from events.web.ranges import RangeNotSatisfiable, binary_answers, blob_answer, disposition
from events.web.shapes import IDEMPOTENCY_KEY, Shape
from events.web.web import require
from ingest.settings import IngestSettings
from ingest.uploads import EmptyUpload, Incomplete, Uploads, Wish
from ingest.views import PROMISE, UPLOAD, UPLOADS, Promise, UploadView, promise_of, view_of

Uploader = Annotated[Principal, require("uploads:write")]
Reader = Annotated[Principal, require("uploads:write", "jobs:read")]
_WORKFLOW = Shape(
    r"^[a-z][a-z0-9-]{0,63}$", "a workflow's name: a small letter, then up to 63 small letters, digits or -"
)

_BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": "options",
            "in": "query",
            "description": "What the workflow shall do, as a JSON object.",
            "content": {"application/json": {"schema": {"type": "object"}, "example": {}}},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "The file, of any content type; or a form with one part `file`.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "minLength": 1}},
                    "additionalProperties": False,
                }
            },
        },
    },
}

_LINKS = links("uploads", "one", "content", "delete", upload_id="$response.body#/upload_id") | links(
    "jobs", "one", job_id="$response.body#/job_id"
)


def router(uploads: Uploads, blobs: Blobs, settings: IngestSettings) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/uploads", tags=["uploads"])

    @routes.post(
        "",
        status_code=202,
        dependencies=[Depends(no_unknown_parameters)],
        responses=answers(
            Promise, PROMISE, status=202, description="Accepted: it will become exactly one job", links=_LINKS
        )
        | problems(
            BadRequest,
            EmptyUpload,
            IdempotencyKeyReused,
            InvalidInput,
            QuotaExceeded,
            RequestTimeout,
            TooLarge,
            UnsupportedMedia,
        ),
        openapi_extra=_BODY,
    )
    async def upload(
        request: Request,
        principal: Uploader,
        workflow: Annotated[str, Query(), _WORKFLOW] = "csv-profile",
        options: Annotated[str, Query(max_length=16_384, include_in_schema=False)] = "{}",
        filename: str | None = None,
        idempotency_key: Annotated[Annotated[str, IDEMPOTENCY_KEY] | None, Header()] = None,
    ) -> Response:
        """Upload a file as the raw body, or as the multipart part `file`. Starts a job for it."""
        refuse_codings(request)
        wish = Wish(
            workflow=workflow,
            options=checked_options(options, "query.options"),
            filename=checked_filename(filename, "query.filename"),
            idempotency_key=idempotency_key,
        )
        most = settings.max_upload_bytes
        body = Body(request, settings, most, f"An upload may have at most {most} bytes.")
        accepted = await uploads.accept(principal.tenant, wish, body)
        headers = {"Location": f"/api/v1/jobs/{accepted.job_id}"}
        return Response(encode_json(promise_of(accepted)), 202, headers, media_type="application/json")

    @routes.get("", dependencies=[Depends(no_unknown_parameters)], responses=answers(Page[UploadView], UPLOADS))
    async def page(
        request: Request, principal: Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: UUID | None = None
    ) -> Response:
        """The tenant's uploads, newest first."""
        found = await uploads.page(principal.tenant, cursor, limit + 1)
        items = [view_of(upload) for upload in found[:limit]]
        return read_answer(request, Page(items, str(items[-1].id) if len(found) > limit else None))

    @routes.get("/{upload_id}", responses=answers(UploadView, UPLOAD) | problems(NotFound, Gone, Incomplete))
    async def one(request: Request, upload_id: UUID, principal: Reader) -> Response:
        return read_answer(request, view_of(await uploads.one(principal.tenant, upload_id)))

    @routes.get(
        "/{upload_id}/content",
        response_class=StreamingResponse,
        responses=binary_answers() | problems(NotFound, Gone, Incomplete, RangeNotSatisfiable),
    )
    async def content(
        request: Request,
        upload_id: UUID,
        principal: Reader,
        range_header: Annotated[str | None, Header(alias="range")] = None,
    ) -> Response:
        """The bytes as they were sent; a part of them by `Range: bytes=first-last`."""
        upload = await uploads.one(principal.tenant, upload_id)
        return await blob_answer(
            request,
            blobs,
            upload.blob,
            upload.bytes,
            range_header,
            etag=f'"{upload.sha256}"',
            headers=disposition("attachment", upload.filename or str(upload.id)),
            media_type="application/octet-stream",
            gone="This upload has been deleted.",
        )

    @routes.delete("/{upload_id}", status_code=204, responses=problems(NotFound, Gone, Incomplete))
    async def delete(upload_id: UUID, principal: Uploader) -> None:
        """Delete its bytes. Its job, and what the job has found, stay."""
        await uploads.delete(principal.tenant, upload_id)

    return routes
