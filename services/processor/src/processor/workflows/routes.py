"""What clients can read of jobs."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query, Request, Response
from pydantic import AfterValidator

from events.envelope import utc_now
from events.errors import NotFound
from events.identity import Principal
from events.jobs import JobStatus, SubStatus
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, problems
from events.web.web import require
from processor.shapes import STEP_NAME, WORKFLOW_NAME
from processor.workflows.jobs import Filter, ItemView, Job, Jobs, Statistics, WholeJob
from processor.workflows.views import ITEMS, JOB, JOBS, PIPELINES, STATISTICS, Pipeline

WorkflowName = Annotated[str, Query(), WORKFLOW_NAME]
StepName = Annotated[str, Path(), STEP_NAME]
JobReader = Annotated[Principal, require("jobs:read")]


def _in_utc(time: datetime) -> datetime:
    """A time without a zone is one of UTC already. At the edges of time, a zone does not matter."""
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        return time.replace(tzinfo=UTC)


Time = Annotated[datetime, AfterValidator(_in_utc)]


def router(jobs: Jobs) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1", tags=["jobs"], dependencies=[Depends(no_unknown_parameters)])

    @routes.get("/jobs", summary="List jobs", responses=answers(Page[Job], JOBS))
    async def page(
        request: Request,
        principal: JobReader,
        status: JobStatus | None = None,
        sub_status: SubStatus | None = None,
        workflow: WorkflowName | None = None,
        created_after: Time | None = None,
        created_before: Time | None = None,
        schedule: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: UUID | None = None,
    ) -> Response:
        """The tenant's jobs, newest first. A result that is kept as a blob is only referred to."""
        wanted = Filter(status, sub_status, workflow, created_after, created_before, schedule)
        found = await jobs.page(principal.tenant, wanted, before=cursor, limit=limit + 1)
        items = found[:limit]
        return read_answer(request, Page(items, str(items[-1].id) if len(found) > limit else None))

    @routes.get(
        "/jobs/statistics",
        summary="Count jobs and their times, by workflow",
        responses=answers(Page[Statistics], STATISTICS),
    )
    async def statistics(
        request: Request,
        principal: JobReader,
        workflow: WorkflowName | None = None,
        since: Time | None = None,
    ) -> Response:
        """By workflow, of the jobs created since a time (a day ago): how many are in which state, and how long they
        waited and ran."""
        found = await jobs.statistics(principal.tenant, since or utc_now() - timedelta(days=1), workflow)
        return read_answer(request, Page(found, None))

    @routes.get(
        "/jobs/{job_id}",
        summary="Read a job, its steps and what it waits for",
        responses=answers(WholeJob, JOB) | problems(NotFound),
    )
    async def one(request: Request, job_id: UUID, principal: JobReader) -> Response:
        """The job with its whole result, its steps, and what it waits for. A job that was acknowledged is PENDING until
        its work begins."""
        job = await jobs.one(principal.tenant, job_id)
        return read_answer(request, await jobs.whole(principal.tenant, job))

    @routes.get(
        "/jobs/{job_id}/steps/{step}/items",
        summary="List the items of a job's map",
        responses=answers(Page[ItemView], ITEMS) | problems(NotFound),
    )
    async def items(
        request: Request,
        job_id: UUID,
        step: StepName,
        principal: JobReader,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[int, Query(ge=-1, le=2_147_483_647)] = -1,
    ) -> Response:
        """The items of a map that have ended, wait, or are tried again, in the order of its list."""
        found = await jobs.items(principal.tenant, job_id, step, after=cursor, limit=limit + 1)
        shown = found[:limit]
        return read_answer(request, Page(shown, str(shown[-1].id) if len(found) > limit else None))

    @routes.get(
        "/pipelines",
        summary="List the built-in workflows",
        tags=["workflows"],
        responses=answers(Page[Pipeline], PIPELINES),
    )
    async def pipelines(request: Request) -> Response:
        """The built-in workflows, their steps and their options."""
        return read_answer(request, PIPELINES)

    return routes
