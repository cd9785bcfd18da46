"""What the queue reads to give out jobs, counted in pages: however many wait, and whatever the planner believes."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from deploy.provision import Database
from events.database import load_queries
from fixtures.log import as_owner

# $1 jobs: the first has waited for an hour, the next a millisecond less. $2 limit, $3 tenants, $4 seconds later.
_FILL = """
INSERT INTO processor.queue (tenant, job_id, workflow, workflow_limit, computes, priority, due_at, ready)
SELECT
    'tenant' || number % $3::int, lpad(number::text, 32, '0')::uuid, 'w', $2, false, 0,
    now() + make_interval(hours => -1, secs => $4 + number / 1000.0), $4 <= 0
FROM generate_series(1, $1::int) AS number
"""
# A claim of so many, each found, locked, changed, and entered into the indexes that have it now.
_WANTED, _PAGES_EACH = 32, 20
# … and so many may be turned away by their limits before it ends.
_TURNED_AWAY = 500
_CLAIM = f"SELECT * FROM processor.take('worker', {_WANTED}, 60, {_WANTED}, 1000000)"


async def _pages(owner: asyncpg.Connection, statement: str, *arguments: Any) -> int:
    (plan,) = json.loads(await owner.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments))
    return int(plan["Plan"]["Shared Hit Blocks"]) + int(plan["Plan"]["Shared Read Blocks"])


async def _claimed(owner: asyncpg.Connection, claim: str = _CLAIM) -> int:
    claimed: int = await owner.fetchval(f"SELECT cardinality(mine) FROM ({claim}) AS claim")
    return claimed


async def _mislead_the_planner(owner: asyncpg.Connection) -> None:
    """The queue has pages, and no row: so the planner will think until it is analyzed again."""
    await owner.execute(_FILL, 2000, None, 1, 0)
    await owner.execute("DELETE FROM processor.queue")
    await owner.execute("ANALYZE processor.queue")


@pytest.mark.parametrize("limit", [None, 100_000])
async def test_a_claim_reads_as_little_of_a_long_queue_as_of_a_short_one(database: Database, limit: int | None) -> None:
    """With 10,000 jobs waiting, a claim took 170 ms, and sometimes 1.7 s. The queue had been empty when it was last
    analyzed, so the planner took it to be so, and read all of it once for each job that was claimed."""
    async with as_owner(database) as owner:
        await _mislead_the_planner(owner)
        await owner.execute(_FILL, 10_000, limit, 1, 0)
        for _ in range(8):  # until its plans are made for good, and what it has left behind is in its way
            pages = await _pages(owner, _CLAIM)
            held = await owner.fetchval("SELECT count(*) FROM processor.queue WHERE worker IS NOT NULL")
            await owner.execute("DELETE FROM processor.queue WHERE worker IS NOT NULL")
            assert held == _WANTED
    assert pages < _WANTED * _PAGES_EACH


async def test_a_claim_walks_past_no_job_that_waits_for_its_time(database: Database) -> None:
    """It looked into the queue of each tenant that had any job, if only one that was to begin in a month."""
    async with as_owner(database) as owner:
        await _mislead_the_planner(owner)
        await owner.execute(_FILL, 5000, None, 5000, 30 * 24 * 3600)
        await owner.execute(_CLAIM)
        assert await _pages(owner, _CLAIM) < 100
        await owner.execute("UPDATE processor.queue SET due_at = now() WHERE tenant = 'tenant7'")
        assert await _claimed(owner) == 1, "its time has come"


async def test_jobs_of_a_full_workflow_keep_nobody_waiting_behind_them_for_long(database: Database) -> None:
    """Each of them is marked as blocked when it is turned away, so many in a claim, and is seen no more."""
    async with as_owner(database) as owner:
        await owner.execute(_CLAIM)  # what is read but once
        await owner.execute(_FILL, 1000, 1, 1, 0)
        await owner.execute(
            "INSERT INTO processor.queue (tenant, job_id, workflow, computes, priority, due_at, ready)"
            " VALUES ('tenant0', gen_random_uuid(), 'another', false, -5, now(), true)"
        )
        claims = 0
        while await owner.fetchval(f"SELECT more FROM ({_CLAIM}) AS claim"):
            claims += 1
        assert claims <= 6
        begun = await owner.fetch("SELECT workflow FROM processor.queue WHERE worker IS NOT NULL ORDER BY workflow")
        assert [row["workflow"] for row in begun] == ["another", "w"]
        await owner.execute("UPDATE processor.queue SET under_way = true, worker = NULL, ready = true WHERE under_way")
        assert await _claimed(owner) == 2, "who is under way waits behind nobody that a limit keeps back"


_LANES = """
INSERT INTO processor.queue (
    tenant, job_id, workflow, workflow_limit, computes, priority, due_at, ready, under_way, blocked_by)
SELECT
    'many', gen_random_uuid(), 'w' || number % 50, 1, false, number / 50 - 100,
    CASE WHEN first THEN 'infinity' ELSE now() - interval '1 hour' END, NOT first, first,
    CASE WHEN NOT first AND $1 THEN 'workflow' END
FROM generate_series(1, 10000) AS number CROSS JOIN (VALUES (true), (false)) AS which (first)
"""


@pytest.mark.parametrize("wanted", [1, 128])
async def test_ten_thousand_full_limits_of_one_tenant_cost_a_claim_of_another_next_to_nothing(
    database: Database, wanted: int
) -> None:
    """50 limited workflows with 200 priorities, one job waiting for each: a claim took 20 s, and often gave nothing."""
    claim = f"SELECT * FROM processor.take('worker', {wanted}, 60, {wanted}, 1000000)"
    async with as_owner(database) as owner:
        await owner.execute(claim)  # what is read but once
        await owner.execute(_LANES, False)
        await owner.execute(_FILL, 200, None, 1, 0)
        for claims in (1, 2):
            assert await _pages(owner, claim) < (wanted + _TURNED_AWAY) * _PAGES_EACH * 1.5
            held = await owner.fetchval("SELECT count(*) FROM processor.queue WHERE worker IS NOT NULL")
            assert held == min(200, claims * wanted)
        await owner.execute("TRUNCATE processor.queue")
        await owner.execute(_LANES, True)
        await owner.execute(_FILL, 200, None, 1, 0)
        assert await _pages(owner, claim) < 100 + wanted * _PAGES_EACH, "who has been turned away is not seen again"


async def test_a_claim_comes_to_so_many_tenants_and_the_next_one_to_others(database: Database) -> None:
    async with as_owner(database) as owner:
        await _mislead_the_planner(owner)
        await owner.execute(_FILL, 2000, None, 2000, 0)
        claim = "SELECT * FROM processor.take('worker', 1, 60, 1, 1000000)"
        for _ in range(60):
            assert await _claimed(owner, claim) == 1
        assert await _pages(owner, claim) < 2000
        told = await owner.fetch("SELECT tenant FROM processor.queue WHERE worker IS NOT NULL")
        assert len({row["tenant"] for row in told}) == 61
        assert {"tenant1", "tenant9"} <= {row["tenant"][:7] for row in told}


async def test_a_tenant_whose_time_outs_end_together_delays_nobody_elses(database: Database) -> None:
    """They were noticed in order of their time, all those of the first tenant before the first of the next."""
    async with as_owner(database) as owner:
        await owner.execute(_FILL, 3000, None, 1, 0)
        await owner.execute("UPDATE processor.queue SET ready = false")
        await owner.execute(
            "INSERT INTO processor.queue (tenant, job_id, workflow, computes, priority, due_at)"
            " VALUES ('another', gen_random_uuid(), 'w', false, 0, now())"
        )
        assert await _pages(owner, _CLAIM) < 1500 * _PAGES_EACH
        assert await owner.fetchval("SELECT worker FROM processor.queue WHERE tenant = 'another'") == "worker"


@pytest.mark.parametrize("blocked_by", [None, "workflow"])
async def test_whoever_asks_for_his_place_counts_a_thousand_at_most(database: Database, blocked_by: str | None) -> None:
    place = load_queries("processor", "queue.sql")["place"]
    async with as_owner(database) as owner:
        await _mislead_the_planner(owner)
        await owner.execute(_FILL, 10_000, 1, 1, 0)
        if blocked_by is not None:
            await owner.execute("UPDATE processor.queue SET blocked_by = $1", blocked_by)
        for number, before in ((1, 0), (8, 7), (10_000, 1000)):
            job = ("tenant0", UUID(f"{number:032}"))
            row = await owner.fetchrow(place, *job)
            assert row is not None
            assert (row["jobs_before"], row["blocked_by"]) == (before, blocked_by)
            assert await _pages(owner, place, *job) < before + 150
