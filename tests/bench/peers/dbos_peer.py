"""DBOS on a PostgreSQL of its own, doing what the benchmark `engine` asks of Millrace:
`python -m bench.peers.dbos_peer DATABASE_URL`.

One process, as Millrace's processor is. What was tuned, each time by what was fastest here:

- uvloop, and `max_executor_threads`: DBOS does all its I/O in threads, and by default starts as many as are asked for,
  which then wait for the GIL.
- `pool_pre_ping` off: it asks the server before each transaction whether it is still there.
- A pool with a connection for each thread and some for DBOS's own loops. `synchronous_commit` is the server's: on.
- The polling of its queues, 1 s by default, which nothing else wakes; and how many workflows a queue runs at once.
- Coroutines, or plain functions in threads: what `steps_per_s` is measured with is what was faster in a short try.
- Ways to fan out: its documentation recommends a queue of child workflows; steps gathered in one workflow are durable,
  too, and faster, so that is what counts as its map.
"""

import argparse
import asyncio
import random
import statistics
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from time import perf_counter

import uvloop
from dbos import DBOS, DBOSConfig, SetEnqueueOptions

from bench.peers.load import Started, calls_per_s, fastest, tell
from bench.report import percentiles

THREADS = 16
CONNECTIONS = 24
POLLING_SECONDS = 0.01  # of a queue whose latency is measured; more often costs more than it gains
RESULT_POLLING_SECONDS = 0.1
STEPS_AT_ONCE = (("coroutines", 16), ("coroutines", 64), ("coroutines", 128), ("threads", 4), ("threads", 16))
QUEUES = ((16, 0.05), (64, 0.05), (256, 0.1), (10_000, 0.1))  # workflows at once, seconds between polls
ENQUEUERS = 16
MAP_AT_ONCE = 16
CHAIN_ROUNDS = 3
TENANT_AT_ONCE, ALL_AT_ONCE, TENANTS_POLLING_SECONDS = 16, 64, 0.05
TRIES = 100  # workflows of a try


started = Started()


@DBOS.step()
async def nothing(number: int) -> int:
    return number


@DBOS.step()
def nothing_in_a_thread(number: int) -> int:
    return number


@DBOS.step()
async def pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


@DBOS.step()
async def note(number: int) -> None:
    started.note(number)


@DBOS.workflow()
async def steps_in_turn(steps: int) -> None:
    for number in range(steps):
        await nothing(number)


@DBOS.workflow()
def steps_in_a_thread(steps: int) -> None:
    for number in range(steps):
        nothing_in_a_thread(number)


@DBOS.workflow()
async def chain(steps: int, seconds: float) -> None:
    for _ in range(steps):
        await pause(seconds)


@DBOS.workflow()
async def job(number: int) -> None:
    await note(number)


@DBOS.workflow()
async def map_by_steps(items: int) -> None:
    """In chunks: what is gathered is started in a fixed order, which is what DBOS asks for."""
    for first in range(0, items, MAP_AT_ONCE):
        await asyncio.gather(*(nothing(number) for number in range(first, min(first + MAP_AT_ONCE, items))))


@DBOS.workflow()
async def map_by_queue(items: int) -> None:
    handles = [await DBOS.enqueue_workflow_async("items", steps_in_turn, 1) for _ in range(items)]
    for handle in handles:
        await handle.get_result(polling_interval_sec=RESULT_POLLING_SECONDS)


async def steps_per_s(workflows: int, steps: int, how: tuple[str, int]) -> float:
    kind, at_once = how
    if kind == "coroutines":
        return steps * await calls_per_s(lambda _: steps_in_turn(steps), workflows, at_once)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(at_once) as threads:
        per_s = await calls_per_s(lambda _: loop.run_in_executor(threads, steps_in_a_thread, steps), workflows, at_once)
    return steps * per_s


async def queue_per_s(jobs: int, at_once: int, polling: float) -> tuple[float, float]:
    """Jobs a second into a queue that stands still, and then out of it, until the last one's end is on disk."""
    name = f"jobs {at_once} {polling} {jobs}"
    queue = await DBOS.register_queue_async(name, worker_concurrency=0, polling_interval_sec=polling)
    started.at.clear()
    enqueued = await calls_per_s(lambda number: DBOS.enqueue_workflow_async(name, job, number), jobs, ENQUEUERS)
    began = perf_counter()
    await queue.set_worker_concurrency_async(at_once)
    await started.until(lambda: len(started.at) == jobs)
    while await DBOS.list_workflows_async(
        queue_name=name, status=["ENQUEUED", "PENDING"], limit=1, load_input=False, load_output=False
    ):
        await asyncio.sleep(0.01)
    worked = jobs / (perf_counter() - began)
    await DBOS.delete_queue_async(name)
    return enqueued, worked


async def start_ms(samples: int, start: Callable[[int], Awaitable[object]]) -> list[float]:
    """Milliseconds from the call to the first step, with nothing else to do."""
    found = []
    started.at.clear()
    for number in range(samples):
        began = perf_counter()
        await start(number)
        await started.until(lambda number=number: number in started.at)  # type: ignore[misc]
        found.append(1000 * (started.at[number] - began))
        await asyncio.sleep(random.uniform(1, 3) * POLLING_SECONDS)
    return found


async def seconds_of(workflow: Awaitable[object]) -> float:
    began = perf_counter()
    await workflow
    return perf_counter() - began


async def second_tenant_ms(behind: int) -> float:
    """Until a second tenant's job starts, in a queue that is partitioned by tenants, as DBOS recommends for them."""
    started.at.clear()

    async def enqueue(number: int, tenant: str) -> None:
        with SetEnqueueOptions(queue_partition_key=tenant):
            await DBOS.enqueue_workflow_async("tenants", job, number)

    await calls_per_s(lambda number: enqueue(number, "first"), behind, ENQUEUERS)
    await DBOS.register_queue_async(
        "tenants",
        worker_concurrency=ALL_AT_ONCE,
        partition_worker_concurrency=TENANT_AT_ONCE,
        polling_interval_sec=TENANTS_POLLING_SECONDS,
    )
    await started.until(lambda: bool(started.at))
    began = perf_counter()
    await enqueue(-1, "second")
    await started.until(lambda: -1 in started.at)
    return 1000 * (started.at[-1] - began)


async def main(sizes: argparse.Namespace) -> None:
    config: DBOSConfig = {
        "name": "engine-bench",
        "application_version": "1",
        "system_database_url": sizes.database_url,
        "sys_db_pool_size": CONNECTIONS,
        "db_engine_kwargs": {"pool_pre_ping": False},
        "max_executor_threads": THREADS,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    await steps_in_turn(sizes.steps)

    how = await fastest(STEPS_AT_ONCE, lambda how: steps_per_s(TRIES, sizes.steps, how))
    steps = await steps_per_s(sizes.jobs, sizes.steps, how)
    chains = [await seconds_of(chain(sizes.chain_steps, sizes.chain_seconds)) for _ in range(CHAIN_ROUNDS)]
    gathered = await seconds_of(map_by_steps(sizes.map_sample)) * sizes.items / sizes.map_sample

    async def tried(queue: tuple[int, float]) -> float:
        return (await queue_per_s(TRIES, *queue))[1]

    at_once, polling = await fastest(QUEUES, tried)
    enqueued, worked = await queue_per_s(sizes.queue_jobs, at_once, polling)
    await DBOS.register_queue_async("items", worker_concurrency=at_once, polling_interval_sec=polling)
    queued = await seconds_of(map_by_queue(sizes.queue_map_sample)) * sizes.items / sizes.queue_map_sample
    await DBOS.delete_queue_async("items")

    await DBOS.register_queue_async("soon", polling_interval_sec=POLLING_SECONDS)
    from_queue = await start_ms(sizes.samples, lambda number: DBOS.enqueue_workflow_async("soon", job, number))
    await DBOS.delete_queue_async("soon")
    direct = await start_ms(sizes.samples, lambda number: DBOS.start_workflow_async(job, number))
    second = await second_tenant_ms(sizes.behind)
    DBOS.destroy(workflow_completion_timeout_sec=10)
    tell(
        {
            "version": version("dbos"),
            "steps by": f"{how[1]} {how[0]}",
            "queue": f"{at_once} at once, polled every {polling} s",
            "map by steps": f"{sizes.map_sample} items, scaled to {sizes.items}",
            "map by queue": f"{sizes.queue_map_sample} items, scaled to {sizes.items}",
        },
        {
            "steps_per_s": steps,
            "jobs_per_s": worked,
            "enqueued_per_s": enqueued,
            "chain_s": statistics.median(chains),
            "map_s": gathered,
            "map_by_queue_s": queued,
            **percentiles("start", direct, "ms"),
            **percentiles("queue_start", from_queue, "ms"),
            "second_tenant_ms": second,
        },
    )


def sizes() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("database_url")
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--queue-jobs", type=int, default=1_000)
    parser.add_argument("--chain-steps", type=int, default=40)
    parser.add_argument("--chain-seconds", type=float, default=0.01)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--map-sample", type=int, default=2_000, help="items that are mapped indeed")
    parser.add_argument("--queue-map-sample", type=int, default=500, help="the same for the map by a queue")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--behind", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    uvloop.run(main(sizes()))
