"""What clients can ask of jobs, and of the workflows that they run."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AfterValidator

from events.answers import no_unknown_parameters, read_answer, unchanged
from events.envelope import encode_json
from events.errors import NotFound
from events.identity import Principal
from events.jobs import JobStatus, SubStatus
from events.openapi import Page, answers, problems
from events.web import require
from processor.workflows.jobs import Filter, Job, Jobs
from processor.workflows.views import JOB, JOBS, PIPELINES, Pipeline

JobReader = Annotated[Principal, require("jobs:read")]


def _in_utc(time: datetime) -> datetime:
    """A time without a zone is one of UTC already. At the edges of time, a zone does not matter."""
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        return time.replace(tzinfo=UTC)


Time = Annotated[datetime, AfterValidator(_in_utc)]


def router(jobs: Jobs) -> APIRouter:
    routes = APIRouter(prefix="/api/v1", tags=["jobs"], dependencies=[Depends(no_unknown_parameters)])

    @routes.get("/jobs", responses=answers(Page[Job], JOBS))
    async def page(
        request: Request,
        principal: JobReader,
        status: JobStatus | None = None,
        sub_status: SubStatus | None = None,
        workflow: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,63}$")] = None,
        created_after: Time | None = None,
        created_before: Time | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: UUID | None = None,
    ) -> Response:
        """The tenant's jobs, newest first. A result that is kept as a blob is only referred to."""
        wanted = Filter(status, sub_status, workflow, created_after, created_before)
        found = await jobs.page(principal.tenant, wanted, before=cursor, limit=limit + 1)
        items = found[:limit]
        return read_answer(request, Page(items, str(items[-1].id) if len(found) > limit else None))

    @routes.get("/jobs/{job_id}", responses=answers(Job, JOB) | problems(NotFound))
    async def one(request: Request, job_id: UUID, principal: JobReader) -> Response:
        """The job with its whole result. A job that was acknowledged is PENDING until its work begins."""
        job = await jobs.one(principal.tenant, job_id)
        etag = f'W/"{job.version}"'  # every change of a job is an event
        if (same := unchanged(request, etag)) is not None:
            return same
        body = encode_json(await jobs.with_whole_result(job))
        return Response(body, media_type="application/json", headers={"ETag": etag})

    @routes.get("/pipelines", tags=["workflows"], responses=answers(Page[Pipeline], PIPELINES))
    async def pipelines(request: Request) -> Response:
        """The built-in workflows, their steps and their options."""
        return read_answer(request, PIPELINES)

    return routes
