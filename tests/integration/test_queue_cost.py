"""What the queue reads to give out jobs, counted in pages: however many wait, and whatever the planner believes."""

import json

import asyncpg
import pytest

from deploy.provision import Database
from fixtures.log import as_owner

_FILL = """
INSERT INTO processor.queue (tenant, job_id, workflow, workflow_limit, computes, priority, due_at)
SELECT 'acme', gen_random_uuid(), 'w', $2, false, 0, now() - interval '1 hour' + make_interval(secs => number / 1000.0)
FROM generate_series(1, $1::int) AS number
"""
# A claim of so many, each found, locked, changed, and entered into the indexes that have it now.
_WANTED, _PAGES_EACH = 32, 20


@pytest.mark.parametrize("limit", [None, 100_000])
async def test_a_claim_reads_as_little_of_a_long_queue_as_of_a_short_one(database: Database, limit: int | None) -> None:
    """With 10,000 jobs waiting, a claim took 170 ms, and sometimes 1.7 s. The queue had been empty when it was last
    analyzed, so the planner took it to be so, and read all of it once for each job that was claimed."""
    async with as_owner(database) as owner:
        await owner.execute(_FILL, 2000, limit)
        await owner.execute("DELETE FROM processor.queue")
        await owner.execute("ANALYZE processor.queue")  # it has pages, and no row
        await owner.execute(_FILL, 10_000, limit)
        for _ in range(8):  # until its plans are made for good, and what it has left behind is in its way
            pages = await _pages_to_claim(owner)
            held = await owner.fetchval("SELECT count(*) FROM processor.queue WHERE worker IS NOT NULL")
            await owner.execute("DELETE FROM processor.queue WHERE worker IS NOT NULL")
            assert held == _WANTED
    assert pages < _WANTED * _PAGES_EACH


async def _pages_to_claim(owner: asyncpg.Connection) -> int:
    claim = f"SELECT * FROM processor.take('worker', {_WANTED}, 60, {_WANTED}, 1000000)"
    (plan,) = json.loads(await owner.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claim}"))
    return int(plan["Plan"]["Shared Hit Blocks"]) + int(plan["Plan"]["Shared Read Blocks"])
