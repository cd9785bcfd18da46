"""What clients can do with jobs."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, Depends, Header, Path, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from events.envelope import encode_json
from events.errors import Conflict, Gone, IdempotencyKeyReused, NotFound, QuotaExceeded
from events.identity import Principal
from events.jobs import JobStatus
from events.web.answers import no_unknown_parameters
from events.web.openapi import DescribedRoutes, Page, answers, problems
from events.web.shapes import IDEMPOTENCY_KEY
from events.web.web import require
from processor.shapes import SIGNAL_NAME, WORKFLOW_NAME
from processor.workflows.control import Control, Said, Wish
from processor.workflows.jobs import Filter, Job
from processor.workflows.routes import Time
from processor.workflows.views import JOBS, PROMISED

JobWriter = Annotated[Principal, require("jobs:write")]
IdempotencyKey = Annotated[Annotated[str, IDEMPOTENCY_KEY] | None, Header()]
# Of a signal, or of an approval: its step's name, and its item's place.
SignalName = Annotated[str, Path(), SIGNAL_NAME]

_THERE = answers(Job, PROMISED, description="An unfinished job with this unique name is there already") | problems(Gone)
_STARTED = answers(Job, PROMISED, status=202, description="Accepted") | problems(
    NotFound, Conflict, IdempotencyKeyReused, QuotaExceeded
)
_TOLD = answers(Job, PROMISED, status=202, description="Accepted: the job's events say what became of it") | problems(
    NotFound, Conflict
)


def _on_the_calendar(moment: datetime) -> datetime:
    if not 1970 <= moment.year <= 9000:
        raise ValueError("no calendar that we can read goes so far")
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_on_the_calendar)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InlineWish(_Strict):
    version: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None  # none: the newest
    input: dict[str, Any] = Field(default_factory=dict)
    upload_id: UUID | None = None  # the workflow's inputs that an upload has are taken from it
    priority: int = Field(default=0, ge=-100, le=100)  # more is earlier, among the tenant's
    start_at: Moment | None = None
    unique: Annotated[str, Field(min_length=1, max_length=200)] | None = None  # no second unfinished job has it


class JobWish(InlineWish):
    workflow: Annotated[str, WORKFLOW_NAME]


class Reason(_Strict):
    reason: Annotated[str, Field(max_length=1000)] | None = None


class Nothing(_Strict):
    """No field is known."""


class RetryWish(_Strict):
    """Which jobs to retry: those that have failed or were cancelled, and were not retried yet."""

    status: JobStatus | None = None
    workflow: Annotated[str, WORKFLOW_NAME] | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    limit: int = Field(default=100, ge=1, le=1000)


def router(control: Control) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1", tags=["jobs"], dependencies=[Depends(no_unknown_parameters)])

    async def started(
        principal: Principal, workflow: str, wish: InlineWish, key: str | None, *, named_in: str
    ) -> Response:
        given = (wish.version, wish.input, wish.upload_id, wish.priority, wish.start_at, wish.unique)
        wanted = Wish(workflow, *given, named_in=named_in)
        job, new = await control.start(principal.tenant, wanted, Said(principal.subject, key))
        return _answer(job, 202 if new else 200)

    @routes.post("/jobs", summary="Start a job of any workflow", status_code=202, responses=_STARTED | _THERE)
    async def start(principal: JobWriter, wish: JobWish, idempotency_key: IdempotencyKey = None) -> Response:
        """Start a workflow on an upload, a blob or inline input."""
        return await started(principal, wish.workflow, wish, idempotency_key, named_in="body.workflow")

    @routes.post(
        "/workflows/{name}/jobs",
        summary="Start a job of this workflow",
        status_code=202,
        tags=["workflows"],
        responses=_STARTED | _THERE,
    )
    async def start_one(
        principal: JobWriter,
        name: Annotated[str, Path(), WORKFLOW_NAME],
        wish: InlineWish,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """Start this workflow."""
        return await started(principal, name, wish, idempotency_key, named_in="path.name")

    @routes.post(
        "/jobs/retry",
        summary="Retry all jobs that match",
        status_code=202,
        responses=answers(Page[Job], JOBS, status=202, description="Accepted") | problems(QuotaExceeded),
    )
    async def retry_all(principal: JobWriter, wish: RetryWish) -> Response:
        """Retry every job that matches, as new jobs linked to them. At least one of `status`, `workflow`,
        `created_after` and `created_before` says which; those that are steps of other jobs are left to these."""
        wanted = Filter(
            status=wish.status,
            workflow=wish.workflow,
            created_after=wish.created_after,
            created_before=wish.created_before,
        )
        retried = await control.retry_all(principal.tenant, wanted, wish.limit)
        return Response(encode_json(Page(retried, None)), 202, media_type="application/json")

    @routes.post("/jobs/{job_id}/retry", summary="Retry a job as a new one", status_code=202, responses=_STARTED)
    async def retry(
        principal: JobWriter, job_id: UUID, wish: Nothing | None = None, idempotency_key: IdempotencyKey = None
    ) -> Response:
        """A new job, linked to this one, that reuses the steps and map items that it has finished. While that is not
        finished, another one is a 409 that names it."""
        return _answer(await control.retry(principal.tenant, job_id, Said(principal.subject, idempotency_key)), 202)

    @routes.post("/jobs/{job_id}/cancel", summary="Cancel a job", status_code=202, responses=_TOLD)
    async def cancel(principal: JobWriter, job_id: UUID, wish: Reason | None = None) -> Response:
        """Its running steps are told within a second, and ended if they do not end by themselves; then what was done is
        undone, where the workflow says how."""
        said = {"reason": None if wish is None else wish.reason}
        return _answer(await control.say(principal.tenant, job_id, "cancel", said, Said(principal.subject)), 202)

    @routes.post("/jobs/{job_id}/pause", summary="Pause a job", status_code=202, responses=_TOLD)
    async def pause(principal: JobWriter, job_id: UUID, wish: Nothing | None = None) -> Response:
        """What runs ends; nothing new begins."""
        return _answer(await control.say(principal.tenant, job_id, "pause", {}, Said(principal.subject)), 202)

    @routes.post("/jobs/{job_id}/resume", summary="Resume a paused job", status_code=202, responses=_TOLD)
    async def resume(principal: JobWriter, job_id: UUID, wish: Nothing | None = None) -> Response:
        """Go on after a pause."""
        return _answer(await control.say(principal.tenant, job_id, "resume", {}, Said(principal.subject)), 202)

    @routes.post(
        "/jobs/{job_id}/signals/{name}",
        summary="Send a signal to a job, or answer an approval",
        status_code=202,
        responses=_TOLD | problems(IdempotencyKeyReused),
    )
    async def signal(
        principal: JobWriter,
        job_id: UUID,
        name: SignalName,
        data: Annotated[Any, Body()] = None,
        idempotency_key: IdempotencyKey = None,
    ) -> Response:
        """What a step waits for, or will wait for: any JSON. An approval takes `{"approved": true, "comment": "…"}`, or
        `false`, and nothing that says neither. A name that no step of the job ever waits for is a 422."""
        said = Said(principal.subject, idempotency_key)
        return _answer(await control.signal(principal.tenant, job_id, name, data, said), 202)

    return routes


def _answer(job: Job, status: int) -> Response:
    headers = {"Location": f"/api/v1/jobs/{job.id}"}
    return Response(encode_json(job), status, headers, media_type="application/json")
