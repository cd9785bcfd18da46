"""Jobs as clients see them, read from their projection."""

from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from events.blobs.blobs import Blobs
from events.database import Pool, load_queries
from events.envelope import stream_name
from events.errors import NotFound
from events.jobs import JobStatus, StepStatus, SubStatus
from events.log.log import EventLog
from processor.queue import Postbox
from processor.results import whole_result
from processor.workflows.library import NOTHING, Library
from processor.workflows.waiting import WaitsFor, in_queue, under_way

V = TypeVar("V", "StepView", "ItemView")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    workflow: str | None = None  # not known before the promised job has come to us
    workflow_version: int | None = None
    status: JobStatus = JobStatus.PENDING
    sub_status: SubStatus | None = None
    progress_percent: int = 0
    eta_seconds: int | None = None
    current_step: str | None = None
    step_message: str | None = None
    version: int = 0
    attempts: int = 0
    priority: int = 0
    key: str | None = None
    start_at: datetime | None = None
    parent: msgspec.Raw | None = None
    retry_of: UUID | None = None
    schedule: UUID | None = None
    input: msgspec.Raw | None = None
    result: msgspec.Raw | None = None
    error: msgspec.Raw | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None


class StepView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    status: StepStatus
    attempt: int
    output: msgspec.Raw | None = None
    error: msgspec.Raw | None = None
    due_at: datetime | None = None  # when a wait ends, or the next attempt begins
    child: UUID | None = None  # the job that a sub-workflow is
    reused: bool = False  # from the job that this one retries
    items: int | None = None  # of a map
    items_completed: int | None = None
    items_failed: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ItemView(msgspec.Struct, frozen=True, kw_only=True):
    id: int  # its place in the list
    status: StepStatus
    attempt: int
    output: msgspec.Raw | None = None
    error: msgspec.Raw | None = None
    due_at: datetime | None = None
    child: UUID | None = None
    reused: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None


class WholeJob(Job, frozen=True, kw_only=True):
    """With its steps, and with what it waits for."""

    steps: list[StepView] = []
    waits_for: list[WaitsFor] = []


class Spread(msgspec.Struct, frozen=True):
    p50: float | None
    p95: float | None
    p99: float | None


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Of one workflow's jobs since a time."""

    id: str  # the workflow
    pending: int
    processing: int
    completed: int
    failed: int
    cancelled: int
    per_minute: float  # jobs that have ended
    wait_seconds: Spread  # until a worker took them
    run_seconds: Spread
    oldest_pending_at: datetime | None


class Filter(msgspec.Struct, frozen=True):
    status: JobStatus | None = None
    sub_status: SubStatus | None = None
    workflow: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    schedule: UUID | None = None


class Jobs:
    def __init__(self, pool: Pool, blobs: Blobs, log: EventLog, library: Library, postbox: Postbox) -> None:
        self._pool = pool
        self._blobs = blobs
        self._log = log
        self._library = library
        self._postbox = postbox
        self._queries = load_queries("processor", "workflows/queries.sql")

    async def one(self, tenant: str, id_: UUID) -> Job:
        """The job, its result as it is kept. A job that was promised with a 202 is there, even before we know it."""
        row = await self._pool.fetchrow(self._queries["job"], tenant, id_)
        if row is not None:
            return _job(row)
        if await self._log.stream_version(tenant, stream_name("job", id_)) is None:
            raise NotFound("There is no such job.")
        # Between the two reads, its first event may have been recorded.
        row = await self._pool.fetchrow(self._queries["job"], tenant, id_)
        return Job(id=id_) if row is None else _job(row)

    async def whole(self, tenant: str, job: Job) -> WholeJob:
        """With its result wherever that is kept, its steps, and what it waits for."""
        fields = msgspec.structs.asdict(job)
        if job.result is not None:
            fields["result"] = msgspec.Raw(await whole_result(self._blobs, tenant, bytes(job.result)))
        steps = await self._pool.fetch(self._queries["steps"], tenant, job.id)
        return WholeJob(
            **fields, steps=[_view(StepView, row) for row in steps], waits_for=await self._waits_for(tenant, job)
        )

    async def items(self, tenant: str, id_: UUID, step: str, *, after: int, limit: int) -> list[ItemView]:
        """Of a map: those that have ended, wait, or are tried again."""
        job = await self.one(tenant, id_)
        if job.workflow is not None and job.workflow_version is not None:
            edition = await self._library.edition(tenant, job.workflow, job.workflow_version)
            if edition is not None and all(action.name != step for action in edition.plan.actions()):
                raise NotFound(f"The job has no step {step}.")
        rows = await self._pool.fetch(self._queries["items"], tenant, id_, step, after, limit)
        return [_view(ItemView, row) for row in rows]

    async def statistics(self, tenant: str, since: datetime, workflow: str | None) -> list[Statistics]:
        rows = await self._pool.fetch(self._queries["statistics"], tenant, since, workflow)
        minutes = max((datetime.now(UTC) - since).total_seconds() / 60, 1 / 60)
        return [_statistics(row, minutes) for row in rows]

    async def _waits_for(self, tenant: str, job: Job) -> list[WaitsFor]:
        if job.status is JobStatus.PENDING:
            return in_queue(await self._postbox.place(tenant, job.id), job.sub_status)
        if job.status.terminal or job.workflow is None or job.workflow_version is None:
            return []
        edition = await self._library.edition(tenant, job.workflow, job.workflow_version)
        waiting = await self._pool.fetch(self._queries["waiting_steps"], tenant, job.id)
        return under_way(job.status, job.sub_status, waiting, NOTHING if edition is None else edition.plan)

    async def page(self, tenant: str, wanted: Filter, *, before: UUID | None, limit: int) -> list[Job]:
        """Newest first, those older than `before`."""
        rows = await self._pool.fetch(
            self._queries["jobs"],
            tenant,
            before,
            limit,
            wanted.status,
            wanted.workflow,
            wanted.created_after,
            wanted.created_before,
            wanted.sub_status,
            wanted.schedule,
        )
        return [_job(row) for row in rows]


def _job(row: asyncpg.Record) -> Job:
    """Payloads are spliced, not decoded."""
    raw: dict[str, Any] = {name: _raw(row[name]) for name in ("parent", "input", "result", "error")}
    sub_status = None if row["sub_status"] is None else SubStatus(row["sub_status"])
    return Job(**dict(row) | raw | {"status": JobStatus(row["status"]), "sub_status": sub_status})


def _view(kind: type[V], row: asyncpg.Record) -> V:
    raw: dict[str, Any] = {name: _raw(row[name]) for name in ("output", "error")}
    return kind(**dict(row) | raw | {"status": StepStatus(row["status"])})


def _statistics(row: asyncpg.Record, minutes: float) -> Statistics:
    fields = dict(row)
    for name in ("wait_seconds", "run_seconds"):
        fields[name] = Spread(*[None if one is None else round(float(one), 3) for one in row[name] or [None] * 3])
    ended = row["completed"] + row["failed"] + row["cancelled"]
    return Statistics(id=fields.pop("workflow"), per_minute=round(ended / minutes, 3), **fields)


def _raw(json_text: str | None) -> msgspec.Raw | None:
    return None if json_text is None else msgspec.Raw(json_text.encode())
