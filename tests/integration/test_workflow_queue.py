"""Which jobs are begun, by whom, and in which order."""

import asyncio
from itertools import accumulate
from typing import Any
from uuid import UUID

import msgspec
import pytest
from msgspec import structs

from deploy.provision import Database
from events.envelope import new_event, stream_name
from events.ids import new_id
from events.jobs import JobCreated, JobStatus
from events.log.append import Appender, AppendRequest, Expected
from fixtures.killable import Machine
from fixtures.log import as_owner, job_life
from fixtures.parts import OpenParts
from fixtures.processor import OpenProcessor, Processor
from processor import handlers
from processor.handlers import HANDLERS
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


def _jobs(count: int, *, tenant: str = "acme", computes: bool = False, **said: Any) -> list[AppendRequest]:
    created = JobCreated(
        status=JobStatus.PENDING,
        progress_percent=0,
        current_step=None,
        step_message=None,
        workflow="w",
        input={},
        computes=computes,
        **said,
    )
    requests = []
    for _ in range(count):
        stream = stream_name("job", new_id())
        event = new_event(type=created.event_type, stream=stream, tenant=tenant, source="/test", data=created.encode())
        requests.append(AppendRequest(tenant, stream, (event,), Expected.NONE))
    return requests


async def test_a_tenants_first_job_is_begun_among_the_first_of_another_with_ten_thousand(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        many = _jobs(10_000)
        for begin in range(0, len(many), 500):
            await appender.append_all(many[begin : begin + 500])
        (one,) = _jobs(1, tenant="other")
        await appender.append_all([one])
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        claimed = await queue.claim(8)
        assert len(claimed) == 8
        assert "other" in [lease.tenant for lease in claimed]
        await appender.append_all(_jobs(3, tenant="third"))
        assert {lease.tenant for lease in await queue.claim(2)} == {"third"}, "who has least under way comes first"


async def test_of_those_that_compute_only_as_many_are_given_as_are_wanted_wherever_they_stand(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        await appender.append_all([*_jobs(50, computes=True, priority=5), *_jobs(3), *_jobs(50, computes=True)])
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        claimed = await queue.claim(10, computing=2)
        assert [lease.computes for lease in claimed].count(True) == 2
        assert [lease.computes for lease in claimed].count(False) == 3
        assert [lease.computes for lease in await queue.claim(10, computing=0)] == []


async def test_those_that_compute_are_no_more_than_are_wanted_although_others_are_turned_away_between_them(
    database: Database, open_parts_for: OpenParts
) -> None:
    """A claim that looked again, since a limit had turned somebody away, gave as many of them each time."""
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        limited = _jobs(30, priority=5, workflow_limit=1)
        await appender.append_all([*limited, *_jobs(50, computes=True), *_jobs(5)])
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        assert sum(lease.computes for lease in await queue.claim(20, computing=2)) == 2
        await queue.release_all()
        await parts.pool.execute(
            "UPDATE processor.queue SET mail = true"
            " WHERE job_id = (SELECT job_id FROM processor.queue WHERE computes LIMIT 1)"
        )
        assert sum(lease.computes for lease in await queue.claim(20, computing=2)) == 2, "one of them for its mail"


async def test_a_claim_that_was_busy_turning_jobs_away_says_that_there_may_be_more(
    database: Database, open_parts_for: OpenParts
) -> None:
    """It gave nothing, which was taken for the end of the queue: the other tenant waited for a poll."""
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        await appender.append_all(_jobs(600, key="a", workflow_limit=1000, key_limit=1))
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        assert len(await queue.claim(1)) == 1
        await appender.append_all(_jobs(5, priority=-1))
        claimed, claims = 0, 0
        while claimed < 5:
            claimed += len(await queue.claim(1))
            claims += 1
            assert queue.more
        assert claims < 20
        assert (await queue.claim(1), queue.more) == ([], False)


async def test_limits_of_several_versions_of_a_workflow_hold_within_one_claim(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        one: dict[str, Any] = {"workflow_limit": 3, "key": "a", "key_limit": 2}
        two: dict[str, Any] = {"key": "a", "key_limit": 5}
        await appender.append_all([*_jobs(1, **one), *_jobs(2, **two), *_jobs(2, **one), *_jobs(4, **two)])
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        claimed = await queue.claim(100)
        limits = "SELECT workflow_limit FROM processor.queue WHERE under_way"
        assert len(claimed) == 5
        assert [row["workflow_limit"] for row in await parts.pool.fetch(limits)].count(3) == 1


async def test_never_more_are_under_way_than_the_limits_allow(open_processor: OpenProcessor) -> None:
    settings: dict[str, Any] = {"claim_poll_seconds": 0.05}
    async with open_processor(**settings) as one, open_processor(one.broker, **settings) as other:
        document = {
            "name": "w",
            "inputs": {"key": {"type": "integer"}},
            "steps": {"a": {"wait": {"timer": 0.02}}, "b": {"uses": "noop", "depends": ["a"]}},
            "concurrency": {"limit": 3, "key": "inputs.key", "limit_per_key": 2},
        }
        await one.publish(document)
        keys = [n % 3 for n in range(30)]
        starting = [(one, other)[n % 2].start("w", input={"key": key}) for n, key in enumerate(keys)]
        jobs = list(zip(keys, await asyncio.gather(*starting), strict=True))
        for _, job_id in jobs:
            assert (await one.finished(job_id))["status"] == "COMPLETED"
        assert 1 < _most_at_once(one, [job_id for _, job_id in jobs]) <= 3
        for key in range(3):
            assert _most_at_once(one, [job_id for of, job_id in jobs if of == key]) <= 2


def _most_at_once(processor: Processor, jobs: list[UUID]) -> int:
    moves = []
    for job_id in jobs:
        events = {event.type: event.position for event in processor.watch.of_job(job_id)}
        moves += [(events["job.started"], 1), (events["job.completed"], -1)]
    return max(accumulate(move for _, move in sorted(moves)))


async def test_hatchet_2866_two_limits_do_not_hold_up_each_others_jobs(open_processor: OpenProcessor) -> None:
    """There, runs that waited for their key's turn kept the runs of other keys from the places that were free."""
    async with open_processor(claim_poll_seconds=0.1) as processor:
        document = {
            "name": "w",
            "inputs": {"key": {"type": "string"}},
            "steps": {"a": {"wait": {"signal": "go"}}},
            "concurrency": {"limit": 4, "key": "inputs.key", "limit_per_key": 1},
        }
        await processor.publish(document)
        same = [await processor.start("w", input={"key": "a"}) for _ in range(10)]
        others = [await processor.start("w", input={"key": key}) for key in "bcde"]
        async with asyncio.timeout(20):
            for job_id in (same[0], *others[:3]):
                await processor.watch.until(job_id, "job.started")
            await _blocked(processor, others[3], "workflow")
            await processor.say(others[0], "signals/go")
            await processor.watch.until(others[3], "job.started")
            await processor.say(same[0], "signals/go")
            await processor.watch.until(same[1], "job.started")
        assert ["job.started" in processor.types(job_id) for job_id in same] == [True] * 2 + [False] * 8


async def _blocked(processor: Processor, job_id: UUID, by: str) -> None:
    while await processor.parts.pool.fetchval("SELECT blocked_by FROM processor.queue WHERE job_id = $1", job_id) != by:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("end", ["fails", "is cancelled", "is cancelled unbegun", "is paused unbegun", "is killed"])
async def test_whatever_becomes_of_a_job_its_place_is_free_again(machine: Machine, end: str) -> None:
    steps = {
        "a": {"wait": {"signal": "go"}},
        "b": {"uses": "noop", "with": {"x": "${{ 1 / steps.a.output }}"}, "depends": ["a"]},
    }
    document = {"name": "w", "steps": steps, "concurrency": {"limit": 1}}
    processor = machine.client
    mortal = await machine.start()
    await processor.publish(document)
    first, second, third = [await processor.start("w") for _ in range(3)]
    async with asyncio.timeout(30):  # by far less than until limits are looked at again without a reason
        await processor.watch.until(first, "job.started")
        await _blocked(processor, third, "workflow")
        match end:
            case "fails":
                await processor.say(first, "signals/go", 0)
            case "is cancelled":
                await processor.say(first, "cancel")
            case "is cancelled unbegun":
                await processor.say(second, "cancel")
                await processor.watch.until(second, "job.cancelled")
                await processor.say(first, "signals/go", 1)
            case "is paused unbegun":
                await processor.say(second, "pause")
                await processor.watch.until(second, "job.paused")
                await processor.say(first, "signals/go", 1)
            case "is killed":
                await mortal.kill()
                await machine.start()
                await processor.say(first, "signals/go", 1)
        after = third if end.endswith("unbegun") else second
        await processor.watch.until(after, "job.started")
        await processor.say(after, "signals/go", 1)
        await processor.watch.until(after, "job.completed")
        if end == "is paused unbegun":
            await processor.say(second, "resume")
            await processor.say(second, "signals/go", 1)
            await processor.watch.until(second, "job.completed")


async def test_a_limit_that_is_reached_without_a_reason_is_looked_at_again(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        requests = [request for key in ("a", "b") for request in _jobs(5, key=key, workflow_limit=10, key_limit=1)]
        await appender.append_all(requests)
        queue = JobQueue(parts.pool, "worker", seconds=3600)
        assert len(await queue.claim(10)) == 2
        await parts.pool.execute("DELETE FROM processor.queue WHERE under_way")
        assert await queue.claim(10) == []
        await queue.unblock_all()
        assert len(await queue.claim(10)) == 2


async def test_a_job_that_nobody_here_can_do_is_parked_and_goes_on_when_somebody_can(
    open_processor: OpenProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_processor(claim_poll_seconds=0.1) as processor:
        await processor.publish({"name": "w", "steps": {"a": {"wait": {"timer": 0.01}}, "b": {"uses": "noop"}}})
        newer = {**HANDLERS, "noop": structs.replace(HANDLERS["noop"], version=2)}
        async with Appender(processor.parts.pool, function="processor.append") as appender:
            (request,) = _jobs(1, handlers={"noop": 2})
            await appender.append_all([request])
        job_id = UUID(request.stream.removeprefix("job:"))
        parked = await processor.watch.until(job_id, "job.parked")
        assert msgspec.json.decode(parked.data)["missing"] == ["noop@2"]
        job = await processor.job(job_id)
        assert (job["sub_status"], [one["kind"] for one in job["waits_for"]]) == ("parked", ["handler"])
        _, page = await processor.get("/jobs?sub_status=parked")
        assert [one["id"] for one in page["items"]] == [str(job_id)]
        assert (await processor.outcome({"a": {"uses": "noop"}}))["status"] == "COMPLETED", "others go on"

        monkeypatch.setattr(handlers, "HANDLERS", newer)
        assert (await processor.finished(job_id))["status"] == "COMPLETED"
        assert processor.types(job_id).count("job.parked") == 1
