"""How clients get what a job has made."""

import hashlib
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from events.blobs.blobs import Blobs
from events.errors import Gone, NotFound
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, Responses, answers, problems
from events.web.ranges import RangeNotSatisfiable, binary_answers, blob_answer, disposition
from events.web.shapes import Shape
from processor.artifact_views import ARTIFACTS, Artifacts, ArtifactView, place_of
from processor.artifacts import NAME_PATTERN
from processor.shapes import ARTIFACT_NAME, STEP_NAME, STEP_PATTERN
from processor.workflows.jobs import Jobs
from processor.workflows.routes import JobReader

_CURSOR = Shape(
    STEP_PATTERN.removesuffix("$") + "/(-1|[0-9]{1,9})/" + NAME_PATTERN.removeprefix("^"),
    "the next_cursor of a list of artifacts",
)

# Steps make them of what anybody may have sent: in a browser, a page among them is shown, runs nothing, asks nobody for
# anything, and is of no origin.
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
_SHOWN = "text/html"  # all others are saved


def router(artifacts: Artifacts, jobs: Jobs, blobs: Blobs) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1/jobs", tags=["jobs"], dependencies=[Depends(no_unknown_parameters)])

    @routes.get(
        "/{job_id}/artifacts",
        summary="List the files that a job has made",
        responses=answers(Page[ArtifactView], ARTIFACTS) | problems(NotFound),
    )
    async def artifacts_page(
        request: Request,
        job_id: UUID,
        principal: JobReader,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[Annotated[str, _CURSOR] | None, Query()] = None,
    ) -> Response:
        """The job's artifacts: of each step and item that has ended well, also while others still run."""
        await jobs.one(principal.tenant, job_id)
        after = None if cursor is None else place_of(cursor)
        found = await artifacts.page(principal.tenant, job_id, after=after, limit=limit + 1)
        shown = found[:limit]
        return read_answer(request, Page(shown, shown[-1].id if len(found) > limit else None))

    async def artifact(
        request: Request,
        job_id: UUID,
        name: Annotated[str, Path(alias="artifact"), ARTIFACT_NAME],
        principal: JobReader,
        step: Annotated[Annotated[str, STEP_NAME] | None, Query()] = None,
        item: Annotated[int | None, Query(ge=0, le=2_147_483_647)] = None,
        range_header: Annotated[str | None, Header(alias="range")] = None,
    ) -> Response:
        """Its bytes; a part of them by `Range: bytes=first-last`. Of several with one name, the newest, or that of the
        step and item."""
        await jobs.one(principal.tenant, job_id)
        found = await artifacts.one(principal.tenant, job_id, name, step=step, item=item)
        content_type = found["content_type"]
        return await blob_answer(
            request,
            blobs,
            found["blob"],
            found["bytes"],
            range_header,
            # No blob of a step is ever written again, so its key says what is in it.
            etag=f'"{hashlib.blake2b(found["blob"].encode(), digest_size=16).hexdigest()}"',
            headers={**disposition("inline" if content_type == _SHOWN else "attachment", found["name"]), **_SAFE},
            media_type=content_type,
            gone="The bytes of this artifact have been deleted.",
        )

    path = "/{job_id}/artifacts/{artifact}"
    missing = problems(NotFound, Gone)
    there: Responses = {200: {"description": "It is there"}}
    routes.get(
        path,
        summary="Get a file that a job has made",
        response_class=StreamingResponse,
        responses=binary_answers("*/*") | missing | problems(RangeNotSatisfiable),
    )(artifact)
    routes.head(
        path,
        name="artifact_head",
        summary="See how large a file is that a job has made, and of what type",
        response_class=Response,
        responses=there | missing,
    )(artifact)
    return routes
