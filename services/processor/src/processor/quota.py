"""How many jobs a tenant may have open at once, and start in a day of UTC: counted where they are made, one by one.

A job beyond that was promised with its upload's 202, so it is made all the same, and fails at once with the reason.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from events.database import Pool, load_queries
from events.jobs import JobError

# That wait for a turn which another replica has, or use theirs.
_CONNECTIONS = 3


class JobQuota:
    def __init__(self, pool: Pool, *, open_at_once: int | None = None, per_day: int | None = None) -> None:
        self._pool = pool
        self._open = open_at_once
        self._per_day = per_day
        self._queries = load_queries("processor", "quota.sql")
        self._of_tenant: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._connections = asyncio.Semaphore(_CONNECTIONS)

    @asynccontextmanager
    async def judging(self, tenant: str) -> AsyncIterator[JobError | None]:
        """Why the tenant may have no further job, if so. It stays true until the block ends, on every replica."""
        if self._open is None and self._per_day is None:
            yield None
            return
        turn = self._of_tenant.setdefault(tenant, asyncio.Lock())  # of a tenant, one connection is enough to wait on
        async with turn, self._connections, self._pool.acquire() as connection, connection.transaction():
            await connection.execute(self._queries["take_turn"], tenant)
            row = await connection.fetchrow(self._queries["count"], tenant)
            assert row is not None
            yield self._judge(row["open"], row["today"])

    def _judge(self, open_jobs: int, today: int) -> JobError | None:
        if self._open is not None and open_jobs >= self._open:
            return _exceeded(f"Your tenant may have {self._open} open jobs at once. Try again when one has finished.")
        if self._per_day is not None and today >= self._per_day:
            return _exceeded(f"Your tenant may start {self._per_day} jobs in a day of UTC.")
        return None


def _exceeded(detail: str) -> JobError:
    return JobError(code="quota_exceeded", detail=detail)
