"""Which jobs are begun, by whom, and in which order."""

import asyncio

from deploy.provision import Database
from events.append import Appender, AppendRequest, Expected
from fixtures.log import as_owner, job_life
from fixtures.parts import OpenParts
from processor.queue import JobQueue


async def test_a_job_that_came_while_a_claim_was_in_flight_is_given_to_whoever_took_it(
    database: Database, open_parts_for: OpenParts
) -> None:
    """The claim joined what it had taken with the jobs that its own statement saw. A job that was made after the
    statement had begun was taken, and nobody told: it lay until its lease ran out."""
    async with (
        open_parts_for("processor", database) as parts,
        as_owner(database) as other,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        created = job_life()[0]
        async with other.transaction():
            await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('processor.claim', 0))")
            claiming = asyncio.create_task(queue.claim(1))
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await other.fetchval(waiting):
                await asyncio.sleep(0.01)
            await appender.append(AppendRequest(created.tenant, created.subject, (created,), Expected.NONE))
        (lease,) = await claiming
    assert f"job:{lease.job_id}" == created.subject
    assert lease.version == 1
