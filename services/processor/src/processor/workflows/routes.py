"""What clients can ask of jobs and of the log."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response

from events.blobs import Blobs
from events.cursor import after_of
from events.database import Pool, load_queries
from events.envelope import RecordedEvent, check_stream, encode_json, stream_name
from events.errors import NotFound
from events.identity import Principal
from events.jobs import JobStatus
from events.lifecycle import Parts
from events.log import EventLog
from events.web import require
from processor.steps import STEPS

JobReader = Annotated[Principal, Depends(require("jobs:read"))]
EventReader = Annotated[Principal, Depends(require("events:read"))]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str, Query(max_length=64, description="a version or position, `<epoch>.<n>` or `<n>`")]


class Jobs:
    """Reads jobs from their projection."""

    def __init__(self, pool: Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs
        self._log = EventLog(pool)
        self._queries = load_queries("processor", "workflows/queries.sql")

    async def one(self, tenant: str, id_: UUID) -> dict[str, Any]:
        row = await self._pool.fetchrow(self._queries["job"], tenant, id_)
        if row is not None:
            return await self._with_result(row)
        if await self._log.stream_version(tenant, stream_name("job", id_)) is None:
            raise NotFound("There is no such job.")
        # Promised with an upload's 202, and on its way here.
        return {"id": str(id_), "status": JobStatus.PENDING, "progress_percent": 0, "version": 0}

    async def _with_result(self, row: asyncpg.Record) -> dict[str, Any]:
        job = _public(row) | {"attempts": max(1, row["attempts"]) if row["started_at"] else 0}
        if isinstance(job["result"], dict) and set(job["result"]) == {"blob", "bytes"}:
            job["result"] = json.loads(await self._blobs.get(job["result"]["blob"]))
        return job

    async def page(self, tenant: str, *filters: Any) -> list[dict[str, Any]]:
        return [_public(row) for row in await self._pool.fetch(self._queries["jobs"], tenant, *filters)]


def router(parts: Parts) -> APIRouter:
    routes = APIRouter(prefix="/api/v1", tags=["jobs"])
    jobs = Jobs(parts.pool, parts.blobs)
    log = EventLog(parts.pool)

    @routes.get("/jobs")
    async def job_page(
        principal: JobReader,
        status: JobStatus | None = None,
        workflow: Annotated[str | None, Query(max_length=64)] = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: UUID | None = None,
    ) -> dict[str, Any]:
        """The tenant's jobs, newest first."""
        found = await jobs.page(principal.tenant, cursor, limit + 1, status, workflow, created_after, created_before)
        items = found[:limit]
        return {"items": items, "next_cursor": items[-1]["id"] if len(found) > limit else None}

    @routes.get("/jobs/{job_id}")
    async def job(
        job_id: UUID, principal: JobReader, if_none_match: Annotated[str | None, Header()] = None
    ) -> Response:
        found = await jobs.one(principal.tenant, job_id)
        etag = f'"{found["version"]}"'
        if if_none_match is not None and etag in [tag.strip() for tag in if_none_match.split(",")]:
            return Response(status_code=304, headers={"ETag": etag})
        return Response(encode_json(found), media_type="application/json", headers={"ETag": etag})

    async def stream_page(tenant: str, stream: str, after: str, limit: int) -> Response:
        check_stream(stream)
        head = await log.head()
        version = after_of(after, head.epoch)
        known = await log.stream_version(tenant, stream)
        if known is None:
            raise NotFound(f"There is no stream {stream}.")
        return _events(await log.read_stream(tenant, stream, version, limit), str(head.epoch), "version", limit)

    @routes.get("/jobs/{job_id}/events")
    async def job_events(job_id: UUID, principal: JobReader, after: After = "0", limit: Limit = 100) -> Response:
        """The job's own events, from the log."""
        return await stream_page(principal.tenant, stream_name("job", job_id), after, limit)

    @routes.get("/streams/{stream}/events", tags=["events"])
    async def stream_events(stream: str, principal: EventReader, after: After = "0", limit: Limit = 100) -> Response:
        """Any stream of the tenant."""
        return await stream_page(principal.tenant, stream, after, limit)

    @routes.get("/events", tags=["events"])
    async def all_events(principal: EventReader, after: After = "0", limit: Limit = 100) -> Response:
        """The tenant's whole log, by position."""
        head = await log.head()
        found = await log.read(after_of(after, head.epoch), limit, tenant=principal.tenant)
        return _events(found, str(head.epoch), "position", limit)

    @routes.get("/pipelines", tags=["workflows"])
    async def pipelines() -> dict[str, Any]:
        """The built-in workflows."""
        return {"items": [{"id": name, "steps": [name]} for name in STEPS], "next_cursor": None}

    return routes


def _public(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "workflow": row["workflow"],
        "status": row["status"],
        "progress_percent": row["progress_percent"],
        "current_step": row["current_step"],
        "step_message": row["step_message"],
        "version": row["version"],
        "input": json.loads(row["input"]),
        "result": None if row["result"] is None else json.loads(row["result"]),
        "error": None if row["error"] is None else json.loads(row["error"]),
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "updated_at": row["updated_at"],
    }


def _events(found: Sequence[RecordedEvent], epoch: str, place: str, limit: int) -> Response:
    last = getattr(found[-1], place) if found else None
    cursor = f"{epoch}.{last}" if len(found) == limit else None
    page = msgspec.json.encode({"items": list(found), "next_cursor": cursor})
    return Response(page, media_type="application/json")
