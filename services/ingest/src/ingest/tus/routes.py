"""The tus protocol 1.0.0: https://tus.io/protocols/resumable-upload"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response

from events.body.arriving import arriving, content_length
from events.body.fields import wrong_header
from events.body.wrapping import refuse_codings
from events.errors import Gone, NotFound
from events.identity import Principal
from events.web.answers import read_answer
from events.web.openapi import DescribedRoutes, answers, problems
from events.web.shapes import IDEMPOTENCY_KEY
from events.web.web import require
from ingest.files.files import Arrival, Files
from ingest.settings import IngestSettings
from ingest.tus.document import APPENDS, CREATES, DELETES, LOOKS, TELLS
from ingest.tus.headers import (
    check_bytes,
    check_version,
    checksum_of,
    length_of,
    offset_of,
    said_of_file,
    said_of_server,
    wish_of,
)
from ingest.tus.middleware import PREFIX, has_body_in
from ingest.uploads import Incomplete, Uploads
from ingest.views import UPLOAD, UploadView, view_of

Uploader = Annotated[Principal, require("uploads:write")]
Reader = Annotated[Principal, require("uploads:write", "jobs:read")]


def tus_router(files: Files, uploads: Uploads, settings: IngestSettings) -> DescribedRoutes:
    routes = DescribedRoutes(prefix=PREFIX, tags=["files"])
    versioned = [Depends(check_version)]

    # Most clients are told of an endpoint that ends with a slash, and do not follow a redirect from there.
    @routes.options("", status_code=204, **TELLS)
    @routes.options("/", include_in_schema=False)
    async def tell() -> Response:
        """Which version and which extensions of tus this is. Needs no credential."""
        return Response(status_code=204, headers=said_of_server(settings.max_upload_bytes))

    @routes.options("/{file_id}", status_code=204, **TELLS)
    async def tell_of_file(file_id: str) -> Response:
        """The same: browsers ask before they send."""
        return await tell()

    @routes.post("", status_code=201, dependencies=versioned, **CREATES)
    @routes.post("/", status_code=201, dependencies=versioned, include_in_schema=False)
    async def create(
        request: Request,
        principal: Uploader,
        idempotency_key: Annotated[Annotated[str, IDEMPOTENCY_KEY] | None, Header()] = None,
    ) -> Response:
        """Make a file that arrives in pieces, by the tus protocol 1.0. The first bytes may come along."""
        wish, has_body = wish_of(request, idempotency_key), has_body_in(request.headers)
        arrival = _arrival(request, offset=0, length=None) if has_body else None
        if wish.parts and arrival is not None:
            raise wrong_header("upload-concat", "body", "A file that is made of parts has no bytes of its own.")
        if wish.parts:
            file = await files.create_of_parts(principal.tenant, wish)
        else:
            file = await files.create(principal.tenant, wish)
        said = {"Location": f"{PREFIX}/{file.id}"}
        if arrival is not None and file.stored == 0:
            file = await files.begin(file, arrival, is_known=idempotency_key is not None)
        elif arrival is not None:  # it has come before: how far, Upload-Offset says
            said["Connection"] = "close"  # the body would be read as the next request
        return Response(status_code=201, headers=said | said_of_file(file))

    @routes.get("/{file_id}", responses=answers(UploadView, UPLOAD) | problems(NotFound, Gone, Incomplete))
    async def one(request: Request, file_id: UUID, principal: Reader) -> Response:
        """The upload that the file has become. Needs no header of tus."""
        return read_answer(request, view_of(await uploads.one(principal.tenant, file_id)))

    @routes.head("/{file_id}", dependencies=versioned, **LOOKS)
    async def look(file_id: UUID, principal: Uploader) -> Response:
        """How much of it is stored. Whoever sends bytes of it is stopped, so that this stays true."""
        return Response(status_code=200, headers=said_of_file(await files.settled(principal.tenant, file_id)))

    @routes.patch("/{file_id}", status_code=204, dependencies=versioned, **APPENDS)
    async def append(request: Request, file_id: UUID, principal: Uploader) -> Response:
        """Send the bytes that come next. What is stored of them stays, however this ends."""
        arrival = _arrival(request, offset=offset_of(request), length=length_of(request))
        file = await files.append(principal.tenant, file_id, arrival)
        return Response(status_code=204, headers=said_of_file(file))

    @routes.delete("/{file_id}", status_code=204, dependencies=versioned, **DELETES)
    async def delete(file_id: UUID, principal: Uploader) -> Response:
        """Delete the file, or the upload that it has become."""
        await files.delete(principal.tenant, file_id)
        return Response(status_code=204)

    def _arrival(request: Request, *, offset: int, length: int | None) -> Arrival:
        check_bytes(request)
        refuse_codings(request)
        has_body = has_body_in(request.headers)
        body: partial[AsyncIterator[bytes]] = partial(arriving, request, settings)
        return Arrival(offset, length, checksum_of(request), content_length(request) if has_body else 0, body)

    return routes
