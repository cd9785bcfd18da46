"""What the steps of jobs have left, and nobody needs: files that a killed attempt had stored before the log was told,
and what was staged for steps that have ended. A job is noted before it has the first of them, so that a kill at any
moment leaves either a file that the log tells of, or the note by which it is removed.

A job that has failed keeps what was staged for a time: its retry goes on with that.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import UUID

from events.blobs.keys import ARTIFACTS, STAGED, folder_of_job
from events.blobs.removing import remove_each
from events.database import load_queries
from events.lifecycle import Parts

_SWEEP_JOBS = 100

# While files of a job of the tenant are stored.
Noted = Callable[[str, UUID], AbstractAsyncContextManager[None]]


class JobFiles:
    def __init__(self, parts: Parts, *, staged_seconds: float) -> None:
        self._pool = parts.pool
        self._blobs = parts.blobs
        self._log = parts.telemetry.log
        self._staged_seconds = staged_seconds
        self._queries = load_queries("processor", "job_files.sql")

    @asynccontextmanager
    async def noted(self, tenant: str, job_id: UUID) -> AsyncIterator[None]:
        """While files of the job are stored. Once more when they are: the job may be somebody else's by now, and have
        ended, and what was noted before be gone."""
        await self._pool.execute(self._queries["note"], tenant, job_id)
        try:
            yield
        finally:
            await self._pool.execute(self._queries["note"], tenant, job_id)

    async def sweep(self) -> bool:
        """Returns True if there may be more."""
        rows = await self._pool.fetch(self._queries["over"], self._staged_seconds, _SWEEP_JOBS)
        all_gone = await remove_each(
            self._pool,
            self._log,
            [(row["tenant"], row["job_id"]) for row in rows],
            self._remove,
            lock=self._queries["lock"],
            forget=self._queries["forget"],
        )
        return len(rows) == _SWEEP_JOBS and all_gone

    async def _remove(self, tenant: str, job_id: UUID) -> None:
        kept = {row["blob"] for row in await self._pool.fetch(self._queries["artifacts"], tenant, job_id)}
        for kind in (ARTIFACTS, STAGED):
            await self._blobs.delete_below(folder_of_job(kind, tenant, job_id), keep=kept)
