"""What clients can read of the log: a job, a stream, all that is the tenant's."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Depends, Path, Query, Request, Response

from events.accounts import FACTS
from events.envelope import STREAM_PATTERN, RecordedEvent, stream_name
from events.errors import CursorExpired, NotFound
from events.identity import Principal
from events.log.cursor import after_of, cursor_of
from events.log.log import EventLog
from events.web.answers import no_unknown_parameters, read_answer
from events.web.openapi import DescribedRoutes, Page, answers, problems
from events.web.shapes import Shape
from events.web.web import require

JobReader = Annotated[Principal, require("jobs:read")]
EventReader = Annotated[Principal, require("events:read")]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[
    str,
    Query(description="A version or position, `<epoch>.<n>` or `<n>`."),
    Shape(
        r"^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\.)?[0-9]{1,18}$",
        "a version or position: <epoch>.<n> or <n>, where the epoch is a UUID",
    ),
]
Stream = Annotated[str, Path(description="Such as `job:<id>`."), Shape(STREAM_PATTERN, "a stream such as job:<id>")]

_PAGE = Page(
    [
        RecordedEvent(
            id=UUID("01a1fbea-7d20-7c55-8b7e-2f6d1f0f4a10"),
            source="/millrace/processor",
            type="job.started",
            subject="job:01a1fbea-6fbc-7335-a459-98abf90680e7",
            time=datetime(2026, 11, 21, 2, 23, 28, tzinfo=UTC),
            tenant="default",
            data=msgspec.Raw(
                b'{"status":"PROCESSING","progress_percent":0,"current_step":"csv-profile","step_message":null}'
            ),
            version=2,
            position=41,
        )
    ],
    "01a1fbe0-3c5e-7b1a-9d52-0b6a7f2f3c11.2",
)


_PAGES = answers(Page[RecordedEvent], _PAGE) | problems(CursorExpired)


def router(log: EventLog) -> DescribedRoutes:
    routes = DescribedRoutes(prefix="/api/v1", tags=["events"], dependencies=[Depends(no_unknown_parameters)])

    async def stream_page(request: Request, reader: Principal, stream: str, after: str, limit: int) -> Response:
        epoch = (await log.head()).epoch
        newest = await log.stream_version(reader.tenant, stream)
        if newest is None:
            raise NotFound(f"There is no stream {stream}.")
        found = await log.read_stream(reader.tenant, stream, _reached(after, epoch, newest), limit)
        return _answer(request, reader, found, epoch, [event.version for event in found], limit)

    @routes.get(
        "/jobs/{job_id}/events", summary="List a job's events", tags=["jobs"], responses=_PAGES | problems(NotFound)
    )
    async def job_events(
        request: Request, job_id: UUID, principal: JobReader, after: After = "0", limit: Limit = 100
    ) -> Response:
        """What has happened to the job, after a version."""
        return await stream_page(request, principal, stream_name("job", job_id), after, limit)

    @routes.get("/streams/{stream}/events", summary="List a stream's events", responses=_PAGES | problems(NotFound))
    async def stream_events(
        request: Request, stream: Stream, principal: EventReader, after: After = "0", limit: Limit = 100
    ) -> Response:
        """What has happened in a stream, after a version. What is noted of accounts (`user.*`, `session.*`, `key.*`) is
        shown to `ops` alone."""
        return await stream_page(request, principal, stream, after, limit)

    @routes.get("/events", summary="List the events of the tenant's log", responses=_PAGES)
    async def all_events(request: Request, principal: EventReader, after: After = "0", limit: Limit = 100) -> Response:
        """The tenant's log, after a position. Positions rise, but are not dense. What is noted of accounts (`user.*`,
        `session.*`, `key.*`) is shown to `ops` alone: a page may hold fewer than `limit`, and yet have a next one."""
        head = await log.head()
        found = await log.read(_reached(after, head.epoch, head.position), limit, tenant=principal.tenant)
        return _answer(request, principal, found, head.epoch, [event.position for event in found], limit)

    return routes


def _reached(after: str, epoch: UUID, newest: int) -> int:
    number = after_of(after, epoch)
    if number > newest:
        raise CursorExpired(f"This cursor lies beyond the newest event, which is {newest}.")
    return number


def _answer(
    request: Request,
    reader: Principal,
    found: Sequence[RecordedEvent],
    epoch: UUID,
    numbers: Sequence[int],
    limit: int,
) -> Response:
    """What the gateway notes of keys and logins is for who operates the system: others do not see it, and read on."""
    more = cursor_of(epoch, numbers[-1]) if len(found) == limit else None
    items = found if "ops" in reader.scopes else [event for event in found if event.type not in FACTS]
    return read_answer(request, Page(list(items), more))
