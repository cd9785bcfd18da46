"""The tus protocol 1.0.0: https://tus.io/protocols/resumable-upload"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from events.identity import Principal
from events.web import require
from ingest.arriving import arriving, content_length
from ingest.fields import wrong_header
from ingest.files.files import Arrival, Files
from ingest.settings import IngestSettings
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
from ingest.wrapping import refuse_codings

Uploader = Annotated[Principal, require("uploads:write")]


def tus_router(files: Files, settings: IngestSettings) -> APIRouter:
    routes = APIRouter(prefix=PREFIX, include_in_schema=False)
    versioned = [Depends(check_version)]

    # Most clients are told of an endpoint that ends with a slash, and do not follow a redirect from there.
    @routes.options("")
    @routes.options("/")
    @routes.options("/{file_id}")
    async def tell() -> Response:
        return Response(status_code=204, headers=said_of_server(settings.max_upload_bytes))

    @routes.post("", dependencies=versioned)
    @routes.post("/", dependencies=versioned)
    async def create(request: Request, principal: Uploader) -> Response:
        wish, has_body = wish_of(request), has_body_in(request.headers)
        arrival = _arrival(request, offset=0, length=None) if has_body else None
        if wish.parts and arrival is not None:
            raise wrong_header("upload-concat", "body", "A file that is made of parts has no bytes of its own.")
        if wish.parts:
            file = await files.create_of_parts(principal.tenant, wish)
        else:
            file = await files.create(principal.tenant, wish)
        if arrival is not None:
            file = await files.begin(file, arrival)
        return Response(status_code=201, headers={"Location": f"{PREFIX}/{file.id}", **said_of_file(file)})

    @routes.head("/{file_id}", dependencies=versioned)
    async def look(file_id: UUID, principal: Uploader) -> Response:
        return Response(status_code=200, headers=said_of_file(await files.settled(principal.tenant, file_id)))

    @routes.patch("/{file_id}", dependencies=versioned)
    async def append(request: Request, file_id: UUID, principal: Uploader) -> Response:
        arrival = _arrival(request, offset=offset_of(request), length=length_of(request))
        file = await files.append(principal.tenant, file_id, arrival)
        return Response(status_code=204, headers=said_of_file(file))

    @routes.delete("/{file_id}", dependencies=versioned)
    async def delete(file_id: UUID, principal: Uploader) -> Response:
        await files.delete(principal.tenant, file_id)
        return Response(status_code=204)

    def _arrival(request: Request, *, offset: int, length: int | None) -> Arrival:
        check_bytes(request)
        refuse_codings(request)
        has_body = has_body_in(request.headers)
        body: partial[AsyncIterator[bytes]] = partial(arriving, request, settings)
        return Arrival(offset, length, checksum_of(request), content_length(request) if has_body else 0, body)

    return routes
