"""What becomes of a job's place, its failures and its mail when whoever holds it turns away."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest_asyncio

from deploy.provision import Database
from events.database import Pool
from events.envelope import new_event, stream_name
from events.ids import new_id
from events.jobs import JobCompleted, JobCreated, JobEvent, JobPaused, JobStatus, SubStatus
from events.log.append import Appender
from fixtures.log import as_owner, request
from fixtures.parts import OpenParts
from processor.queue import JobQueue, Lease, Postbox

_SAID: dict[str, Any] = {"progress_percent": 0, "current_step": None, "step_message": None}


class _Queue:
    """A queue, and the log that makes its jobs."""

    def __init__(self, pool: Pool, appender: Appender) -> None:
        self.pool = pool
        self.worker = JobQueue(pool, "worker", seconds=3600)
        self.postbox = Postbox(pool)
        self._appender = appender

    async def created(self, **how: Any) -> UUID:
        job_id = new_id()
        await self._say(job_id, JobCreated(status=JobStatus.PENDING, workflow="w", input={}, **how, **_SAID))
        return job_id

    async def paused(self, job_id: UUID) -> None:
        await self._say(job_id, JobPaused(status=JobStatus.PENDING, sub_status=SubStatus.PAUSED, **_SAID))

    async def completed(self, job_id: UUID) -> None:
        await self._say(job_id, JobCompleted(status=JobStatus.COMPLETED, result=None, **_SAID))

    async def _say(self, job_id: UUID, said: JobEvent) -> None:
        stream = stream_name("job", job_id)
        await self._appender.append(
            request(new_event(type=said.event_type, stream=stream, tenant="acme", source="/test", data=said.encode()))
        )

    async def claimed(self) -> list[UUID]:
        return [lease.job_id for lease in await self.worker.claim(10)]


@pytest_asyncio.fixture
async def queue(database: Database, open_parts_for: OpenParts) -> AsyncIterator[_Queue]:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        yield _Queue(parts.pool, appender)


async def _lost_once(queue: _Queue) -> tuple[JobQueue, Lease, Lease]:
    """A job whose worker has died, by the lease of that one, and of who has it now."""
    dead = JobQueue(queue.pool, "dead", seconds=0)
    await queue.created()
    (lost,) = await dead.claim(1)
    (held,) = await queue.worker.claim(1)
    assert (held.failures, held.lost) == (1, True)
    return dead, lost, held


async def test_an_orderly_restart_after_a_death_is_no_further_failure(queue: _Queue) -> None:
    """A step whose worker had died once was told so at each restart after that, and was given up at the third."""
    await _lost_once(queue)
    await queue.worker.release_all()
    (again,) = await queue.worker.claim(1)
    assert (again.failures, again.lost) == (0, False)


async def test_an_outage_after_a_death_is_no_further_failure(queue: _Queue) -> None:
    _, _, held = await _lost_once(queue)
    await queue.worker.give_back(held, retry_in=0, failures=0)
    (again,) = await queue.worker.claim(1)
    assert (again.failures, again.lost) == (0, False)
    await queue.worker.give_back(again, retry_in=0, failures=1)
    (failed,) = await queue.worker.claim(1)
    await queue.worker.give_back(failed, retry_in=0, failures=1)
    (failed_again,) = await queue.worker.claim(1)
    assert failed_again.failures == 2, "in a row"


async def test_a_paused_job_is_not_let_in_before_others_that_could_begin(queue: _Queue) -> None:
    """It was the first of those that a limit kept back, and was let in: it did not begin, and nobody else could."""
    under_way = await queue.created(workflow_limit=1)
    assert await queue.claimed() == [under_way]
    first, paused, last = [await queue.created(workflow_limit=1, priority=priority) for priority in (9, 5, 0)]
    assert await queue.claimed() == []
    await queue.postbox.post(new_id(), "acme", paused, "pause", {})
    (told,) = await queue.worker.claim(10)
    assert (told.job_id, told.under_way) == (paused, False)
    await queue.paused(paused)
    await queue.worker.collect_one(told)
    await queue.pool.execute("DELETE FROM processor.mail")
    await queue.worker.let_go(told, due_in=None, begun=False)
    assert await queue.claimed() == []

    await queue.completed(under_way)
    assert await queue.claimed() == [first]
    await queue.completed(first)
    assert await queue.claimed() == [last]


async def test_a_zombie_discards_nothing_that_its_successor_has_not_read(queue: _Queue) -> None:
    """It may think that a message means nothing, since it does not know what the job has become meanwhile."""
    zombie, lost, held = await _lost_once(queue)
    id_ = new_id()
    await queue.postbox.post(id_, "acme", held.job_id, "signal", {"name": "go"})
    await zombie.discard(lost, [id_])
    assert [mail.id for mail in await queue.worker.collect()] == [id_]
    await queue.worker.discard(held, [id_])
    assert await queue.worker.mail([("acme", held.job_id)]) == []


async def test_a_rebuilt_queue_does_not_begin_what_is_paused(queue: _Queue, database: Database) -> None:
    paused, waiting = await queue.created(), await queue.created()
    await queue.paused(paused)
    async with as_owner(database) as owner:
        await owner.execute("DELETE FROM processor.queue")
        await owner.execute("SELECT processor.rebuild()")
    assert await queue.claimed() == [waiting]
    assert await queue.postbox.post(new_id(), "acme", paused, "resume", {})
    assert await queue.claimed() == [paused]
