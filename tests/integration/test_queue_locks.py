"""Whoever changes several jobs of the queue locks them in one order, or waits for nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from deploy.provision import Database
from events.database import load_queries
from events.log.append import Appender
from fixtures.log import as_owner, job_life, request
from fixtures.parts import OpenParts
from processor.queue import JobQueue, Lease

_WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
_LOCK = "SELECT FROM processor.queue WHERE job_id = $1 FOR UPDATE"


async def _renew(queue: JobQueue, leases: list[Lease]) -> object:
    return await queue.renew(leases)


async def _collect(queue: JobQueue, _: list[Lease]) -> object:
    return await queue.collect()


async def _release_all(queue: JobQueue, _: list[Lease]) -> None:
    await queue.release_all()


@pytest.mark.parametrize("what_a_worker_does", [_renew, _collect, _release_all])
async def test_jobs_that_end_in_another_order_than_they_were_claimed_do_not_deadlock_with_their_worker(
    database: Database,
    open_parts_for: OpenParts,
    what_a_worker_does: Callable[[JobQueue, list[Lease]], Awaitable[object]],
) -> None:
    """The append deleted the last job and waited for the first; the renewal had the first and waited for the last.
    Until PostgreSQL found that out, a second later, nobody could append anything."""
    first, middle, last = (UUID(int=number) for number in (1, 2, 3))
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
        as_owner(database) as other,
        as_owner(database) as projecting,
    ):
        lives = {job_id: job_life(job_id) for job_id in (first, middle, last)}
        await appender.append_all([request(life[0]) for life in lives.values()])
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        leases = await queue.claim(3)
        await parts.pool.execute("UPDATE processor.queue SET mail = true")
        async with Appender(parts.pool, function="events.append") as only_the_log:
            for ended in (last, first):
                await only_the_log.append(request(lives[ended][-1]))

        async with other.transaction():
            await other.fetch(_LOCK, middle)
            doing = asyncio.ensure_future(what_a_worker_does(queue, leases))
            await _until_waiting(parts.pool.fetchval, 1)  # it has the first, and waits for the one between
            ending = asyncio.ensure_future(projecting.execute("SELECT processor.enqueue(4, 5)"))
            await _until_waiting(parts.pool.fetchval, 2)
        await asyncio.gather(doing, ending)
        assert [row["job_id"] for row in await parts.pool.fetch("SELECT job_id FROM processor.queue")] == [middle]


async def test_a_claim_waits_for_no_job_that_somebody_else_is_at(database: Database, open_parts_for: OpenParts) -> None:
    """It held those that had mail, and waited for one whose turn it was: whoever had that one, and posted to the
    others, waited for the claim."""
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
        as_owner(database) as other,
    ):
        jobs = [UUID(int=number) for number in (1, 2, 3)]
        await appender.append_all([request(job_life(job_id)[0]) for job_id in jobs])
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        async with other.transaction():
            await other.fetch(_LOCK, jobs[0])
            async with asyncio.timeout(5):
                assert {lease.job_id for lease in await queue.claim(3)} == set(jobs[1:])
        assert [lease.job_id for lease in await queue.claim(3)] == jobs[:1]


_THREE_TASKS = """
WITH task AS (
    INSERT INTO processor.remote_tasks (id, tenant, job_id, step, item, attempt, queue, body, lost_seconds, look_at)
    SELECT lpad(number::text, 32, '0')::uuid, 'acme', lpad('', 32, '0')::uuid, 'a', number, 1, 'q', '', 60, now()
    FROM generate_series(3, 1, -1) AS number
    RETURNING *
)
INSERT INTO processor.steps (tenant, job_id, step, item, status, attempt, child, reused, updated_at)
SELECT tenant, job_id, step, item, 'WAITING', attempt, id, false, now() FROM task
"""


@pytest.mark.parametrize("query", ["forget", "ended"])
async def test_remote_tasks_are_locked_in_the_order_of_their_ids(database: Database, query: str) -> None:
    tasks = [UUID(int=number) for number in (3, 2, 1)]
    said = [["acme"] * 3, [UUID(int=0)] * 3, ["worker"] * 3, ["{}"] * 3, tasks] if query == "ended" else []
    async with as_owner(database) as owner, as_owner(database) as other, as_owner(database) as waiting:
        await owner.execute(_THREE_TASKS)
        async with other.transaction():
            await other.execute("SELECT FROM processor.remote_tasks WHERE id = $1 FOR UPDATE", tasks[1])
            doing = asyncio.ensure_future(
                waiting.fetch(load_queries("processor", "remote/queries.sql")[query], tasks, *said)
            )
            await _until_waiting(owner.fetchval, 1)
            free = await owner.fetch("SELECT id FROM processor.remote_tasks FOR UPDATE SKIP LOCKED")
        await doing
    assert [row["id"] for row in free] == tasks[:1]


async def _until_waiting(fetchval: Callable[[str], Awaitable[int]], count: int) -> None:
    async with asyncio.timeout(10):
        while await fetchval(_WAITING) < count:
            await asyncio.sleep(0.01)
