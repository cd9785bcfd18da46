"""Jobs as clients see them, read from their projection."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from events.blobs import Blobs
from events.database import Pool, load_queries
from events.envelope import stream_name
from events.errors import NotFound
from events.jobs import JobStatus, SubStatus
from events.log import EventLog
from processor.results import whole_result


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


class Filter(msgspec.Struct, frozen=True):
    status: JobStatus | None = None
    sub_status: SubStatus | None = None
    workflow: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


class Jobs:
    def __init__(self, pool: Pool, blobs: Blobs, log: EventLog) -> None:
        self._pool = pool
        self._blobs = blobs
        self._log = log
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

    async def with_whole_result(self, job: Job) -> Job:
        if job.result is None:
            return job
        return msgspec.structs.replace(job, result=msgspec.Raw(await whole_result(self._blobs, bytes(job.result))))

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
        )
        return [_job(row) for row in rows]


def _job(row: asyncpg.Record) -> Job:
    """Payloads are spliced, not decoded."""
    raw: dict[str, Any] = {name: _raw(row[name]) for name in ("parent", "input", "result", "error")}
    sub_status = None if row["sub_status"] is None else SubStatus(row["sub_status"])
    return Job(**dict(row) | raw | {"status": JobStatus(row["status"]), "sub_status": sub_status})


def _raw(json_text: str | None) -> msgspec.Raw | None:
    return None if json_text is None else msgspec.Raw(json_text.encode())
