"""Decides by buckets in the database, and by its clock: replicas share every bucket, and their own clocks play no part.

All requests that wait go into one call. A database that is away costs one call's time, not every request's.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement

from events.database import Pool, database_gone, load_queries
from events.metrics.metrics import BATCH
from events.telemetry import Telemetry
from gateway.limits.headers import Bucket
from gateway.limits.policy import LONGEST_SECONDS

# More requests in one call gain nothing, and make everybody wait.
_MOST_REQUESTS = 256
_CONNECT_SECONDS = 5.0
_RECOVERY_SECONDS = 0.5  # between looks whether the database is there again
_SWEPT_ROWS = 5000


@dataclass(frozen=True, slots=True)
class Verdict:
    admitted: bool
    owed: Sequence[int]  # for each bucket: ns until it is full


@dataclass(slots=True)
class _Waiting:
    buckets: Sequence[Bucket]
    verdict: asyncio.Future[Verdict | None]


class Limiter:
    def __init__(self, pool: Pool, telemetry: Telemetry, *, timeout: float) -> None:
        self._pool = pool
        self._log = telemetry.log
        self._timeout = timeout
        self._queries = load_queries("gateway.limits", "queries.sql")
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._connection: PoolConnectionProxy[asyncpg.Record] | None = None
        self._spend: PreparedStatement[asyncpg.Record] | None = None  # None while the database is away
        self._task: asyncio.Task[None] | None = None
        self._seconds = telemetry.histogram(
            "millrace_gateway_limiter_duration_seconds", "One call of the limiter to the database."
        )
        self._sizes = telemetry.histogram(
            "millrace_gateway_limiter_batch_requests", "How many requests one call has decided.", buckets=BATCH
        )

    async def __aenter__(self) -> Self:
        try:
            await self._connect()
        except Exception as error:
            if not database_gone(error):
                raise
            self._away(error)
        self._task = asyncio.create_task(self._run(), name="limiter")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._spend = None
        self._give_up()
        await self._disconnect()

    async def spend(self, buckets: Sequence[Bucket]) -> Verdict | None:
        """Take one from each bucket, or nothing if one of them is empty. None: nobody can count now."""
        if self._spend is None:
            return None
        waiting = _Waiting(buckets, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.verdict

    async def connect(self, place: str, *, seconds: int, free: int, most: int) -> tuple[int, float] | None:
        """Count a connect: which one it is of the last `seconds`, and how long it should have waited if beyond `free`.

        Beyond `most` it is not counted. None: nobody can count now."""
        if self._spend is None:
            return None
        try:
            async with asyncio.timeout(self._timeout):
                row = await self._pool.fetchrow(self._queries["connect"], place, seconds * 10**9, free, most)
        except Exception as error:
            if not database_gone(error):
                raise
            return None
        assert row is not None
        return row["connects"], row["wait"] / 1e9

    async def sweep(self) -> bool:
        """Remove rows that say nothing. True if there may be more."""
        removed: int = await self._pool.fetchval(self._queries["sweep"], _SWEPT_ROWS, LONGEST_SECONDS * 10**9)
        return removed == _SWEPT_ROWS

    async def _run(self) -> None:
        while True:
            if self._spend is None:
                await self._recover()
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and self._spend is not None:
                batch, self._waiting = self._waiting[:_MOST_REQUESTS], self._waiting[_MOST_REQUESTS:]
                await self._decide(batch)

    async def _decide(self, batch: list[_Waiting]) -> None:
        assert self._spend is not None
        began = perf_counter()
        try:
            row = await self._spend.fetchrow(*_arguments(batch), timeout=self._timeout)
        except Exception as error:
            self._away(error)
            for waiting in batch:
                _answer(waiting, None)
            self._give_up()
            return
        self._seconds.observe(perf_counter() - began)
        self._sizes.observe(len(batch))
        assert row is not None
        begin = 0
        for waiting, admitted in zip(batch, row["admitted"], strict=True):
            end = begin + len(waiting.buckets)
            _answer(waiting, Verdict(admitted, row["owed"][begin:end]))
            begin = end

    def _away(self, error: Exception) -> None:
        self._spend = None
        if database_gone(error):
            self._log.warning("limits are not counted until the database answers", error=repr(error))
        else:
            self._log.error("limits can't be counted", exc_info=error)

    def _give_up(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            _answer(each, None)

    async def _recover(self) -> None:
        """No request waits for this: until it succeeds, each is decided as its class says."""
        while True:
            await self._disconnect()
            try:
                await self._connect()
            except Exception as error:
                self._log.debug("the limiter's database is away", error=repr(error))
            else:
                self._log.info("limits are counted again")
                return
            await asyncio.sleep(_RECOVERY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _connect(self) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            self._connection = await self._pool.acquire()
            await self._connection.execute(self._queries["prepare"])
            await self._connection.execute(self._queries["give_up"], f"{self._timeout:.3f}s")
            spend = await self._connection.prepare(self._queries["spend"])
            await spend.fetchrow([], [], [], [], [])
        self._spend = spend

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(asyncpg.InterfaceError):  # the server closed it, so the pool has it back already
                connection.terminate()
            await self._pool.release(connection)


def _arguments(batch: Sequence[_Waiting]) -> tuple[list[str], list[int], list[int], list[int], list[int]]:
    """See `gateway.spend` in the migration `0005_limits.sql`."""
    names: list[str] = []
    intervals: list[int] = []
    capacities: list[int] = []
    uses: list[int] = []
    ends: list[int] = []
    places: dict[str, int] = {}
    for waiting in batch:
        for bucket in waiting.buckets:
            place = places.get(bucket.name)
            if place is None:
                names.append(bucket.name)
                intervals.append(bucket.limit.interval)
                capacities.append(bucket.limit.capacity)
                place = places[bucket.name] = len(names)
            uses.append(place)
        ends.append(len(uses))
    return names, intervals, capacities, uses, ends


def _answer(waiting: _Waiting, verdict: Verdict | None) -> None:
    if not waiting.verdict.done():  # the caller may have been cancelled
        waiting.verdict.set_result(verdict)
