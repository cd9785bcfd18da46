"""The queue: which job this worker may work on, until when, and behind which fence; and what others say to a job."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

import asyncpg

from events.database import Pool, load_queries

QUEUE_CHANNEL = "millrace_queue"  # rung when there is a job to begin, or mail for one


@dataclass(frozen=True, slots=True)
class Lease:
    tenant: str
    job_id: UUID
    token: int  # rises each time that somebody takes the job
    failures: int  # how often in a row its worker died with it, or failed
    lost: bool  # whoever had it let the lease expire
    under_way: bool  # it may be begun; else it was only taken because it has mail
    mail: bool  # somebody has said something to it
    computes: bool  # it has a step that needs a process of its own
    version: int  # of the job's stream, then
    created: str | None  # the job's first event, unless more is to be read
    traceparent: str | None  # of what the job was made for


_LEASE = tuple(field.name for field in fields(Lease))


_LEASE = tuple(field.name for field in fields(Lease))


@dataclass(frozen=True, slots=True)
class Mail:
    id: UUID
    tenant: str
    job_id: UUID
    kind: str
    data: dict[str, Any]


class JobQueue:
    """The database's clock decides: workers' clocks may be wrong."""

    def __init__(self, pool: Pool, worker: str, *, seconds: float, per_tenant: int = 1_000_000) -> None:
        self._pool = pool
        self._worker = worker
        self._seconds = seconds
        self._per_tenant = per_tenant
        self.more = False  # the last claim has left some that may be begun, or has not looked at all that wait
        self.more = False  # the last claim has left some that may be begun, or has not looked at all that wait
        self._queries = load_queries("processor", "queue.sql")

    async def claim(self, wanted: int, *, computing: int = 1_000_000) -> list[Lease]:
        """Up to `wanted` jobs that nobody holds, in their turn; up to `computing` of them such that compute."""
        arguments = (self._worker, wanted, self._seconds, min(wanted, computing), self._per_tenant)
        rows = await self._pool.fetch(self._queries["claim"], *arguments)
        self.more = rows[0]["more"]
        return [Lease(**{name: row[name] for name in _LEASE}) for row in rows if row["job_id"] is not None]

    async def renew(self, leases: Sequence[Lease]) -> set[tuple[str, UUID]]:
        """Hold them for another while. Returns the jobs that are still ours."""
        rows = await self._pool.fetch(
            self._queries["renew"],
            self._worker,
            [lease.tenant for lease in leases],
            [lease.job_id for lease in leases],
            [lease.token for lease in leases],
            self._seconds,
        )
        return {(row["tenant"], row["job_id"]) for row in rows}

    async def let_go(self, lease: Lease, *, due_in: float | None, begun: bool = True) -> None:
        """It waits: for so many seconds, or for mail alone; or, if it was not begun, until its turn comes again."""
        await self._pool.execute(self._queries["let_go"], *self._mine(lease), due_in, begun)

    async def give_back(self, lease: Lease, *, retry_in: float, failures: int) -> None:
        """After so many seconds, somebody may try again."""
        await self._pool.execute(self._queries["give_back"], *self._mine(lease), retry_in, failures)

    async def release_all(self) -> None:
        """We stop: others may go on with our jobs at once."""
        await self._pool.execute(self._queries["release_all"], self._worker)

    async def collect(self) -> list[Mail]:
        """What has come for the jobs that we hold. It comes again to the next holder, until it is discarded."""
        # Two statements, so that the second sees what was posted while the first one waited; one transaction, so that
        # what was not read is not collected.
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(self._queries["collect"], self._worker)
            if not rows:
                return []
            named = [row["tenant"] for row in rows], [row["job_id"] for row in rows]
            return [_mail(row) for row in await connection.fetch(self._queries["mail"], *named)]

    async def collect_one(self, lease: Lease) -> list[Mail]:
        """The same for one of them."""
        found = await self._pool.fetchval(self._queries["collect_one"], *self._mine(lease))
        return await self.mail([(lease.tenant, lease.job_id)]) if found else []

    async def mail(self, jobs: Sequence[tuple[str, UUID]]) -> list[Mail]:
        rows = await self._pool.fetch(
            self._queries["mail"], [tenant for tenant, _ in jobs], [job_id for _, job_id in jobs]
        )
        return [_mail(row) for row in rows]

    async def discard(self, lease: Lease, ids: Sequence[UUID]) -> None:
        """What the log has recorded of what was said to the job, or will not. Nothing if the lease is lost."""
        await self._pool.execute(self._queries["discard"], *self._mine(lease), ids)

    async def unblock_all(self) -> bool:
        """Should a limit ever be reached without a reason, it is not for ever."""
        await self._pool.execute(self._queries["unblock_all"])
        return False

    def _mine(self, lease: Lease) -> tuple[str, UUID, int, str]:
        return lease.tenant, lease.job_id, lease.token, self._worker


class Postbox:
    """Where something is said to a job, whoever holds it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("processor", "queue.sql")

    async def post(self, id_: UUID, tenant: str, job_id: UUID, kind: str, data: dict[str, Any]) -> bool:
        """False if the job is finished, or there is none."""
        arguments = (id_, tenant, job_id, kind, json.dumps(data))
        posted: bool = await self._pool.fetchval(self._queries["post"], *arguments)
        return posted

    async def place(self, tenant: str, job_id: UUID) -> asyncpg.Record | None:
        return await self._pool.fetchrow(self._queries["place"], tenant, job_id)


def _mail(row: asyncpg.Record) -> Mail:
    return Mail(row["id"], row["tenant"], row["job_id"], row["kind"], json.loads(row["data"]))
