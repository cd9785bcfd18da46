"""What clients can do with schedules."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, Depends, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from events.envelope import encode_json
from events.errors import Conflict, IdempotencyKeyReused, NotFound
from events.identity import Principal
from events.schedules import CatchUp, Overlap
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, problems
from events.web.shapes import IDEMPOTENCY_KEY
from events.web.web import require
from processor.schedules.cron import LONGEST
from processor.schedules.schedule import Schedule
from processor.schedules.schedules import Schedules
from processor.schedules.terms import Wanted
from processor.schedules.views import SCHEDULE, SCHEDULES
from processor.shapes import WORKFLOW_NAME
from processor.workflows.control import Said

Reader = Annotated[Principal, require("workflows:read")]
Writer = Annotated[Principal, require("workflows:write")]
# It starts jobs, in the name of whoever lets it.
_STARTS_JOBS = [require("jobs:write")]
IdempotencyKey = Annotated[Annotated[str, IDEMPOTENCY_KEY] | None, Header()]
Name = Annotated[str, WORKFLOW_NAME]
_YEAR = 366 * 86_400
Seconds = Annotated[int, Field(ge=1, le=_YEAR)]

_ONE = answers(Schedule, SCHEDULE) | problems(NotFound)
_CHANGED = answers(Schedule, SCHEDULE) | problems(NotFound, Conflict)
_MADE = answers(Schedule, SCHEDULE, status=201, description="Created") | problems(
    NotFound, Conflict, IdempotencyKeyReused
)


_NONE: JsonValue = {"type": "null"}
_EITHER: list[JsonValue] = [
    {"required": ["cron"], "properties": {"cron": {"type": "string"}, "every_seconds": _NONE}},
    {
        "required": ["every_seconds"],
        "properties": {"every_seconds": {"type": "integer"}, "cron": _NONE, "time_zone": _NONE},
    },
]


class ScheduleWish(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"oneOf": _EITHER})

    workflow: Name
    version: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = Field(
        default=None, description="Without one, the newest there is whenever it fires."
    )
    input: dict[str, Any] = Field(default_factory=dict, description="What every job is given.")
    priority: int = Field(default=0, ge=-100, le=100)
    cron: Annotated[str, Field(min_length=1, max_length=LONGEST)] | None = Field(
        default=None,
        description="Minute, hour, day of the month, month, day of the week; names, steps, `L`, `LW`, `5L`, `MON#1`;"
        " or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. An hour that is named comes once a day: where the"
        " clock leaps over it, right after the leap. `*` is every hour that passes.",
    )
    time_zone: Annotated[str, Field(max_length=100)] | None = Field(
        default=None, description="That the expression is read in, `Europe/Berlin`. By default UTC."
    )
    every_seconds: Seconds | None = Field(default=None, description="An interval, in place of an expression.")
    overlap: Overlap = Field(
        default=Overlap.SKIP,
        description="While a former job is unfinished: `skip` makes none, `queue` makes one that begins after it,"
        " `cancel` cancels it first, `allow` begins at once.",
    )
    catch_up: CatchUp = Field(
        default=CatchUp.LATEST,
        description="What is made up for when nobody was there to fire: the `latest`, `all` up to a limit, or `none`.",
    )
    catch_up_seconds: Annotated[int, Field(ge=0, le=_YEAR)] | None = Field(
        default=None, description="How old what is made up for may be."
    )
    jitter_seconds: int = Field(default=0, ge=0, le=86_400, description="Jobs begin up to so much later, at random.")

    def wanted(self) -> Wanted:
        return Wanted(**{name: getattr(self, name) for name in type(self).model_fields})


_EXAMPLE = {
    "workflow": "nightly",
    "input": {"customer": "acme"},
    "cron": "30 2 * * MON-FRI",
    "time_zone": "Europe/Berlin",
}
Wish = Annotated[ScheduleWish, Body(examples=[_EXAMPLE])]


def router(schedules: Schedules) -> DescribedRoutes:
    routes = DescribedRoutes(
        prefix="/api/v1/schedules", tags=["schedules"], dependencies=[Depends(no_unknown_parameters)]
    )

    @routes.post("", summary="Create a schedule", status_code=201, responses=_MADE, dependencies=_STARTS_JOBS)
    async def create(principal: Writer, wish: Wish, idempotency_key: IdempotencyKey = None) -> Response:
        """Start a workflow again and again: by a cron expression, or at an interval."""
        said = Said(principal.subject, idempotency_key)
        return _answer(await schedules.create(principal.tenant, wish.wanted(), said), 201)

    @routes.get("", summary="List schedules", responses=answers(Page[Schedule], SCHEDULES))
    async def page(
        request: Request,
        principal: Reader,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: UUID | None = None,
        workflow: Annotated[Name | None, Query()] = None,
    ) -> Response:
        """The tenant's, the newest first."""
        found = await schedules.page(principal.tenant, workflow=workflow, before=cursor, limit=limit + 1)
        items = found[:limit]
        return read_answer(request, Page(items, str(items[-1].id) if len(found) > limit else None))

    @routes.get("/{schedule_id}", summary="Read a schedule", responses=_ONE)
    async def one(request: Request, principal: Reader, schedule_id: UUID) -> Response:
        """When it fires next, and what became of the last time. All of that is in `/streams/schedule:{id}/events`."""
        return read_answer(request, await schedules.one(principal.tenant, schedule_id))

    @routes.put("/{schedule_id}", summary="Change a schedule", responses=_CHANGED, dependencies=_STARTS_JOBS)
    async def replace(principal: Writer, schedule_id: UUID, wish: Wish) -> Response:
        """Other terms from now on. It stays paused if it is."""
        return _answer(await schedules.replace(principal.tenant, schedule_id, wish.wanted(), principal.subject), 200)

    @routes.post("/{schedule_id}/pause", summary="Pause a schedule", responses=_CHANGED)
    async def pause(principal: Writer, schedule_id: UUID) -> Response:
        """It starts nothing until it is resumed. Its jobs go on."""
        return _answer(await schedules.pause(principal.tenant, schedule_id, principal.subject), 200)

    @routes.post(
        "/{schedule_id}/resume", summary="Resume a paused schedule", responses=_CHANGED, dependencies=_STARTS_JOBS
    )
    async def resume(principal: Writer, schedule_id: UUID) -> Response:
        """Go on from now: nothing of the meantime is made up for."""
        return _answer(await schedules.resume(principal.tenant, schedule_id, principal.subject), 200)

    @routes.delete(
        "/{schedule_id}", summary="Delete a schedule", status_code=204, responses=problems(NotFound, Conflict)
    )
    async def delete(principal: Writer, schedule_id: UUID) -> Response:
        """Its jobs go on."""
        await schedules.delete(principal.tenant, schedule_id, principal.subject)
        return Response(status_code=204)

    return routes


def _answer(schedule: Schedule, status: int) -> Response:
    headers = {"Location": f"/api/v1/schedules/{schedule.id}"}
    return Response(encode_json(schedule), status, headers, media_type="application/json")
