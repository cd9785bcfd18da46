"""procrastinate on a PostgreSQL of its own, doing what the benchmark `engine` asks of Millrace:
`python -m bench.peers.procrastinate_peer DATABASE_URL`.

One process with an async worker that hears of new jobs by LISTEN/NOTIFY. It knows jobs, no steps: a job stands for a
map's item, too. What was tuned, each time by what was fastest here:

- uvloop, and psycopg's C implementation (psycopg[binary]).
- A pool of our own, which procrastinate's documentation allows: its own asks the server at each use whether it is
  still there, and wraps each single statement in a transaction. `synchronous_commit` is the server's: on.
- How many jobs the worker runs at once.
- Jobs deferred in batches where many are wanted at once; `deferred_per_s` defers one at a time.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter

import procrastinate
import psycopg
import psycopg_pool
import uvloop

from bench.peers.load import calls_per_s, fastest, tell
from bench.report import percentiles

CONNECTIONS = 16
WORKERS = (4, 16, 64)  # jobs at once
DEFERRERS = 16
BATCH = 1_000
TRIES = 1_000  # jobs of a try


@dataclass(slots=True)
class Started:
    """When the jobs ran, by the number that they were given."""

    at: dict[int, float] = field(default_factory=dict)
    one_more: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, number: int) -> None:
        self.at[number] = perf_counter()
        self.one_more.set()

    async def until(self, number: int) -> None:
        while number not in self.at:
            self.one_more.clear()
            await self.one_more.wait()


started = Started()
app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task(name="nothing")
async def nothing(number: int) -> None:
    started.note(number)


async def defer_all(jobs: int) -> None:
    for first in range(0, jobs, BATCH):
        await nothing.batch_defer_async(*({"number": number} for number in range(first, min(first + BATCH, jobs))))


async def worked_per_s(jobs: int, at_once: int) -> float:
    """Jobs a second out of a queue that was filled before, until the last one's end is on disk."""
    await defer_all(jobs)
    began = perf_counter()
    await app.run_worker_async(concurrency=at_once, wait=False, install_signal_handlers=False)
    return jobs / (perf_counter() - began)


@contextlib.asynccontextmanager
async def working(at_once: int) -> AsyncIterator[None]:
    worker = asyncio.create_task(app.run_worker_async(concurrency=at_once, install_signal_handlers=False))
    try:
        yield
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def deferred_and_worked_per_s(jobs: int, at_once: int) -> tuple[float, float]:
    """Jobs a second that are deferred one by one while a worker takes them, and that are through with it."""
    started.at.clear()
    async with working(at_once):
        began = perf_counter()
        deferred = await calls_per_s(lambda number: nothing.defer_async(number=number), jobs, DEFERRERS)
        while len(started.at) < jobs:
            await asyncio.sleep(0.01)
        through = jobs / (perf_counter() - began)
    return deferred, through


async def start_ms(samples: int, at_once: int) -> list[float]:
    """Milliseconds from the call to the job's start, with nothing else to do."""
    found = []
    started.at.clear()
    async with working(at_once):
        await nothing.defer_async(number=-1)
        await started.until(-1)
        for number in range(samples):
            await asyncio.sleep(0.02)  # until the job before is finished and the worker waits
            began = perf_counter()
            await nothing.defer_async(number=number)
            await started.until(number)
            found.append(1000 * (started.at[number] - began))
    return found


async def second_tenant_ms(behind: int, at_once: int) -> float:
    """Until a second tenant's job starts. There is no fairness among those of one priority."""
    started.at.clear()
    await defer_all(behind)
    async with working(at_once):
        await started.until(0)
        began = perf_counter()
        await nothing.defer_async(number=behind)
        await started.until(behind)
        return 1000 * (started.at[behind] - began)


async def autocommit(connection: psycopg.AsyncConnection[object]) -> None:
    await connection.set_autocommit(True)


async def main(sizes: argparse.Namespace) -> None:
    pool = psycopg_pool.AsyncConnectionPool(
        sizes.database_url, min_size=CONNECTIONS, max_size=CONNECTIONS, configure=autocommit, open=False
    )
    async with pool, app.open_async(pool):
        await app.schema_manager.apply_schema_async()
        at_once = await fastest(WORKERS, lambda at_once: worked_per_s(TRIES, at_once))
        worked = await worked_per_s(sizes.jobs, at_once)
        deferred, through = await deferred_and_worked_per_s(sizes.jobs, at_once)
        began = perf_counter()
        await worked_per_s(sizes.items, at_once)
        mapped = perf_counter() - began
        starts = await start_ms(sizes.samples, at_once)
        second = await second_tenant_ms(sizes.behind, at_once)
    tell(
        {"version": version("procrastinate"), "jobs at once": at_once, "jobs before the second tenant's": sizes.behind},
        {
            "jobs_per_s": worked,
            "deferred_per_s": deferred,
            "deferred_and_worked_per_s": through,
            "map_s": mapped,
            **percentiles("start", starts, "ms"),
            "second_tenant_ms": second,
        },
    )


def sizes() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("database_url")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--behind", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(sizes()))
