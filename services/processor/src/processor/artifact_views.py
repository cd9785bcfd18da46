"""What clients see of the artifacts of a job."""

from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
import msgspec

from events.database import Pool, load_queries
from events.errors import NotFound
from events.jobs import Artifact
from events.web.openapi import Page

Place = tuple[str, int, str]  # among a job's artifacts: step, item (-1: none) and name


class ArtifactView(msgspec.Struct, frozen=True, kw_only=True):
    id: str  # its place among all of the job
    name: str
    bytes: int
    content_type: str
    step: str
    item: int | None  # its place in the list, if the step is a map
    blob: str  # for the steps of other jobs
    made_at: datetime
    url: str


class Artifacts:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("processor", "artifacts.sql")

    async def page(self, tenant: str, job_id: UUID, *, after: Place | None, limit: int) -> list[ArtifactView]:
        rows = await self._pool.fetch(self._queries["artifacts"], tenant, job_id, *(after or (None,) * 3), limit)
        return [_view(job_id, row) for row in rows]

    async def one(self, tenant: str, job_id: UUID, name: str, *, step: str | None, item: int | None) -> Artifact:
        """The newest one of the name, unless it is said of which step or item."""
        row = await self._pool.fetchrow(self._queries["artifact"], tenant, job_id, name, step, item)
        if row is None:
            raise NotFound("The job has no such artifact.")
        return Artifact(name=row["name"], blob=row["blob"], bytes=row["bytes"], content_type=row["content_type"])


def place_of(id_: str) -> Place:
    step, item, name = id_.split("/")
    return step, int(item), name


def _view(job_id: UUID, row: asyncpg.Record) -> ArtifactView:
    fields = dict(row)
    url = f"/api/v1/jobs/{job_id}/artifacts/{row['name']}"
    if fields.pop("is_namesake"):
        told = {"step": row["step"], "item": row["item"]}
        url += "?" + urlencode({name: value for name, value in told.items() if value is not None}, safe=":")
    item = -1 if row["item"] is None else row["item"]
    return ArtifactView(id=f"{row['step']}/{item}/{row['name']}", url=url, **fields)


ARTIFACTS = Page(
    [
        ArtifactView(
            id="copy/-1/people.csv",
            name="people.csv",
            bytes=64_446_686,
            content_type="text/csv",
            step="copy",
            item=None,
            blob="artifacts/default/01a1fbea-6fbc-7335-a459-98abf90680e7/copy.1.1/people.csv",
            made_at=datetime(2026, 11, 21, 2, 23, 31, tzinfo=UTC),
            url="/api/v1/jobs/01a1fbea-6fbc-7335-a459-98abf90680e7/artifacts/people.csv",
        )
    ],
    None,
)
