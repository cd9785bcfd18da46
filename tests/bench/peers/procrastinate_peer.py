"""procrastinate on a PostgreSQL of its own, doing what the benchmark `engine` asks of Millrace:
`python -m bench.peers.procrastinate_peer DATABASE_URL`.

One process with async workers that hear of new jobs by LISTEN/NOTIFY. It knows jobs, no steps: a job stands for a
map's item, too. What was tuned, each time by what was fastest here:

- uvloop, and psycopg's C implementation (psycopg[binary]).
- A pool of our own, which procrastinate's documentation allows: its own asks the server at each use whether it is
  still there, and wraps each single statement in a transaction. `synchronous_commit` is the server's: on.
- How many workers there are, each of which fetches one job at a time, and how many jobs each runs at once.
- VACUUM ANALYZE between filling a queue and working it off, which autovacuum would come to by itself.
- Jobs deferred in batches where many are wanted at once; `deferred_per_s` defers one at a time.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from time import perf_counter

import procrastinate
import psycopg
import psycopg_pool
import uvloop

from bench.peers.load import Started, calls_per_s, fastest, tell
from bench.report import percentiles

CONNECTIONS = 20
WORKERS = ((1, 16), (1, 64), (2, 32), (4, 16))  # workers, jobs that each runs at once
DEFERRERS = 16
BATCH = 1_000
PAUSE_SECONDS = 0.02  # until a job is finished and its worker waits for the next
TRIES = 1_000  # jobs of a try


started = Started()
app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task(name="nothing")
async def nothing(number: int) -> None:
    started.note(number)


async def fill(jobs: int) -> None:
    for first in range(0, jobs, BATCH):
        await nothing.batch_defer_async(*({"number": number} for number in range(first, min(first + BATCH, jobs))))
    await app.connector.execute_query_async("VACUUM ANALYZE procrastinate_jobs, procrastinate_events")


async def work(workers: int, at_once: int, *, wait: bool) -> None:
    """Work until cancelled or, unless it waits, until nothing is left to do and every end is on disk."""
    running = (
        app.run_worker_async(concurrency=at_once, wait=wait, install_signal_handlers=False) for _ in range(workers)
    )
    await asyncio.gather(*running)


@contextlib.asynccontextmanager
async def working(workers: int, at_once: int) -> AsyncIterator[None]:
    task = asyncio.create_task(work(workers, at_once, wait=True))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def worked_per_s(jobs: int, how: tuple[int, int]) -> float:
    """Jobs a second out of a queue that was filled before."""
    await fill(jobs)
    began = perf_counter()
    await work(*how, wait=False)
    return jobs / (perf_counter() - began)


async def deferred_and_worked_per_s(jobs: int, how: tuple[int, int]) -> tuple[float, float]:
    """Jobs a second that are deferred one by one while workers take them, and that have started by the end."""
    started.at.clear()
    async with working(*how):
        began = perf_counter()
        deferred = await calls_per_s(lambda number: nothing.defer_async(number=number), jobs, DEFERRERS)
        await started.until(lambda: len(started.at) == jobs)
        return deferred, jobs / (perf_counter() - began)


async def start_ms(samples: int, how: tuple[int, int]) -> list[float]:
    """Milliseconds from the call to the job's start, with nothing else to do."""
    found = []
    started.at.clear()
    async with working(*how):
        for number in range(samples + 1):
            began = perf_counter()
            await nothing.defer_async(number=number)
            await started.until(lambda number=number: number in started.at)  # type: ignore[misc]
            found.append(1000 * (started.at[number] - began))
            await asyncio.sleep(PAUSE_SECONDS)
    return found[1:]  # the first one met a worker that was not there yet


async def second_tenant_ms(behind: int, how: tuple[int, int]) -> float:
    """Until a second tenant's job starts. There is no fairness among those of one priority."""
    await fill(behind)
    started.at.clear()
    async with working(*how):
        await started.until(lambda: bool(started.at))
        began = perf_counter()
        await nothing.defer_async(number=-1)
        await started.until(lambda: -1 in started.at)
        return 1000 * (started.at[-1] - began)


async def map_s(items: int, how: tuple[int, int]) -> float:
    began = perf_counter()
    await worked_per_s(items, how)
    return perf_counter() - began


async def autocommit(connection: psycopg.AsyncConnection[object]) -> None:
    await connection.set_autocommit(True)


async def main(sizes: argparse.Namespace) -> None:
    pool = psycopg_pool.AsyncConnectionPool(
        sizes.database_url, min_size=CONNECTIONS, max_size=CONNECTIONS, configure=autocommit, open=False
    )
    async with pool, app.open_async(pool):
        await app.schema_manager.apply_schema_async()
        how = await fastest(WORKERS, lambda how: worked_per_s(TRIES, how))
        worked = await worked_per_s(sizes.jobs, how)
        deferred, through = await deferred_and_worked_per_s(sizes.jobs, how)
        mapped = await map_s(sizes.items, how)
        starts = await start_ms(sizes.samples, how)
        second = await second_tenant_ms(sizes.behind, how)
    tell(
        {"version": version("procrastinate"), "workers": f"{how[0]}, each with {how[1]} jobs at once"},
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
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--behind", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(sizes()))
