"""Leases: which job this worker may work on, until when, and behind which fence."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from events.database import Pool, load_queries


@dataclass(frozen=True, slots=True)
class Lease:
    tenant: str
    job_id: UUID
    token: int  # rises each time that somebody takes the job
    failures: int  # how often the job's step, or its worker, has died


class Leases:
    """The database's clock decides: workers' clocks may be wrong."""

    def __init__(self, pool: Pool, worker: str, *, seconds: float) -> None:
        self._pool = pool
        self._worker = worker
        self._seconds = seconds
        self._queries = load_queries("processor", "leases.sql")

    async def claim(self, wanted: int) -> list[Lease]:
        """Up to `wanted` jobs that nobody holds, the oldest first."""
        rows = await self._pool.fetch(self._queries["claim"], self._worker, wanted, self._seconds)
        return [Lease(**row) for row in rows]

    async def renew(self, leases: Sequence[Lease]) -> set[tuple[str, UUID]]:
        """Hold them for another while. Returns the jobs that are still ours."""
        rows = await self._pool.fetch(
            self._queries["renew"],
            [lease.tenant for lease in leases],
            [lease.job_id for lease in leases],
            [lease.token for lease in leases],
            self._seconds,
        )
        return {(row["tenant"], row["job_id"]) for row in rows}

    async def give_back(self, lease: Lease, *, retry_in: float, failures: int) -> None:
        """After so many seconds, somebody may try again."""
        arguments = (lease.tenant, lease.job_id, lease.token, retry_in, failures)
        await self._pool.execute(self._queries["give_back"], *arguments)

    async def end(self, lease: Lease) -> None:
        """The job is finished."""
        await self._pool.execute(self._queries["end_lease"], lease.tenant, lease.job_id, lease.token)

    async def release_all(self) -> None:
        """We stop: others may go on with our jobs at once."""
        await self._pool.execute(self._queries["release_all"], self._worker)

    async def sweep(self) -> bool:
        """Remove what a worker's death left of finished jobs."""
        await self._pool.execute(self._queries["sweep"])
        return False
