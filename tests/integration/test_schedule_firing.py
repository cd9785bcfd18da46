"""Schedules fire once for each time that they name, whoever looks, and whoever dies meanwhile."""

import asyncio
import json
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from events.envelope import stream_name
from events.jobs import JobCreated
from events.log.log import EventLog
from fixtures.schedules import NIGHTLY, START, TENANT, HandClock, Killed, OpenReplica, Replica, wanted
from processor.language.expressions import Template
from processor.projections import rebuild
from processor.queue import JobQueue
from processor.schedules.clock import clock_of
from processor.schedules.schedule import known_of
from processor.workflows.fold import begin
from processor.workflows.scope import scope_of


def times(*minutes: float) -> list[datetime]:
    """After the start."""
    return [START + timedelta(minutes=one) for one in minutes]


async def test_an_interval_starts_a_job_each_time_with_its_input_and_priority(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, priority=7, overlap="allow")
        assert schedule.next_at == START + timedelta(minutes=1)
        await replica.fire()
        assert await replica.jobs(schedule.id) == [], "nothing is due"
        for minute in (1, 2, 3):
            await replica.at(START + timedelta(minutes=minute, seconds=0.2))
        jobs = await replica.jobs(schedule.id)
        assert [(job["workflow"], job["priority"], job["input"]) for job in jobs] == [
            ("nightly", 7, '{"limit":10,"customer":"ada"}')
        ] * 3
        assert await replica.fired(schedule.id) == times(1, 2, 3), "the time that was named, not when somebody looked"
        view = await replica.schedules.one(TENANT, schedule.id)
        assert (view.next_at, view.last_at, view.last_job_id) == (*times(4, 3), jobs[-1]["id"])
        assert replica.announced.count("work") == 3


async def test_a_cron_expression_fires_in_its_zone(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(cron="30 14 * * *", time_zone="Europe/Berlin")
        await replica.at(START + timedelta(hours=1, minutes=29, seconds=59))
        assert await replica.fired(schedule.id) == []
        await replica.at(START + timedelta(hours=1, minutes=30))
        assert await replica.fired(schedule.id) == times(90)


async def test_any_number_of_replicas_at_once_fire_each_time_once(open_replica: OpenReplica) -> None:
    clock = HandClock()
    async with open_replica(clock) as one, open_replica(clock) as two, open_replica(clock) as three:
        schedules = [await one.make(every_seconds=60, overlap="allow") for _ in range(20)]
        for minute in range(1, 6):
            clock.now = START + timedelta(minutes=minute)
            await asyncio.gather(one.fire(), two.fire(), three.fire())
            await one.fire()  # what the last of them may have left to another
        for schedule in schedules:
            assert await one.fired(schedule.id) == times(1, 2, 3, 4, 5)
            jobs = await one.jobs(schedule.id)
            assert [str(job["id"]) for job in jobs] == [said["job_id"] for said in await one.said(schedule.id, "fired")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("append", [1, 2])
@pytest.mark.parametrize("overlap", ["skip", "cancel"])
async def test_a_replica_that_dies_between_two_appends_loses_no_job_and_makes_none_twice(
    open_replica: OpenReplica, when: str, append: int, overlap: str
) -> None:
    clock = HandClock()
    async with open_replica(clock) as dying, open_replica(clock) as heir:
        schedule = await dying.make(every_seconds=60, overlap=overlap)
        clock.forward(minutes=1)
        dying.appender.dies = (when, append)
        with pytest.raises(Killed):
            await dying.fire()
        await heir.fire()
        await heir.fire()
        (job,) = await heir.jobs(schedule.id)
        assert await heir.fired(schedule.id) == times(1)
        assert [said["job_id"] for said in await heir.said(schedule.id, "fired")] == [str(job["id"])]
        view = await heir.schedules.one(TENANT, schedule.id)
        assert view.next_at == START + timedelta(minutes=2)


@pytest.mark.parametrize("command", ["pause", "delete", "replace"])
async def test_what_is_said_of_a_schedule_finds_the_job_that_a_dead_replica_has_promised(
    open_replica: OpenReplica, command: str
) -> None:
    """The row is gone with a deletion, and another input would be another job's."""
    clock = HandClock()
    async with open_replica(clock) as dying, open_replica(clock) as heir:
        schedule = await dying.make(every_seconds=60)
        clock.forward(minutes=1)
        dying.appender.dies = ("after", 1)
        with pytest.raises(Killed):
            await dying.fire()
        assert await heir.jobs(schedule.id) == []
        if command == "pause":
            await heir.schedules.pause(TENANT, schedule.id, "key:1")
        elif command == "delete":
            await heir.schedules.delete(TENANT, schedule.id, "key:1")
        else:
            await heir.schedules.replace(TENANT, schedule.id, wanted(input={"customer": "bob"}), "key:1")
        (job,) = await heir.jobs(schedule.id)
        assert job["input"] == '{"limit":10,"customer":"ada"}'


async def test_a_promised_job_is_of_the_version_that_was_promised(open_replica: OpenReplica) -> None:
    clock = HandClock()
    async with open_replica(clock) as dying, open_replica(clock) as heir:
        schedule = await dying.make(every_seconds=60)
        clock.forward(minutes=1)
        dying.appender.dies = ("after", 1)
        with pytest.raises(Killed):
            await dying.fire()
        await heir.publishing.publish(TENANT, NIGHTLY | {"inputs": {}}, "key:1", name="nightly")
        await heir.publishing.retire(TENANT, "nightly", "key:1")
        await heir.fire()
        (job,) = await heir.jobs(schedule.id)
        assert job["workflow_version"] == 1


async def test_a_promised_job_that_cannot_be_any_more_has_failed_and_holds_up_nothing(
    open_replica: OpenReplica,
) -> None:
    """Whoever came to keep the promise was refused, each time: so that the schedule could not even be deleted."""
    clock = HandClock()
    async with open_replica(clock) as dying, open_replica(clock) as heir:
        schedule = await dying.make(every_seconds=60)
        clock.forward(minutes=1)
        dying.appender.dies = ("after", 1)
        with pytest.raises(Killed):
            await dying.fire()
        # As if a newer release of ours took less than the one that has promised.
        stricter = json.dumps(NIGHTLY | {"inputs": {"customer": {"type": "integer"}}})
        await heir.parts.pool.execute("UPDATE processor.workflows SET document = $1 WHERE name = 'nightly'", stricter)
        await heir.schedules.delete(TENANT, schedule.id, "key:1")
        (job,) = await heir.jobs(schedule.id)
        assert (job["status"], json.loads(job["error"])["code"]) == ("FAILED", "invalid_input")


@pytest.mark.parametrize("wrong", ["overlap = 'never'", "overlap = 'never', starting = id"])
async def test_a_schedule_that_nobody_can_fire_does_not_hold_up_the_others(
    open_replica: OpenReplica, wrong: str
) -> None:
    """Each look at what was due ended with its error."""
    async with open_replica() as replica:
        bad = await replica.make(every_seconds=60)
        good = await replica.make(every_seconds=60)
        await replica.parts.pool.execute(f"UPDATE processor.schedules SET {wrong} WHERE id = $1", bad.id)
        await replica.at(START + timedelta(minutes=1))
        assert await replica.fired(good.id) == times(1)


async def test_a_job_knows_the_time_that_it_was_fired_for(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, jitter_seconds=50)
        await replica.at(START + timedelta(minutes=1, seconds=30))
        (row,) = await replica.jobs(schedule.id)
        (first,) = await EventLog(replica.parts.pool).read_stream(TENANT, stream_name("job", row["id"]), 0, 10)
        created = JobCreated.model_validate_json(bytes(first.data))
        edition = await replica.library.edition(TENANT, "nightly", 1)
        assert edition is not None
        state = begin(edition.plan, TENANT, row["id"], created)
        assert Template.parse("${{ job.fired_for }}").evaluate(scope_of(state)) == "2027-03-01T12:01:00Z"


async def test_a_zombie_that_comes_back_starts_nothing_and_cancels_nobody(open_replica: OpenReplica) -> None:
    """It has recorded that the schedule fired, and was then stopped for a long time."""
    clock = HandClock()
    async with open_replica(clock) as zombie, open_replica(clock) as other:
        schedule = await zombie.make(every_seconds=60, overlap="cancel")
        clock.forward(minutes=1)
        zombie.appender.dies = ("after", 1)
        with pytest.raises(Killed):
            await zombie.fire()
        zombie.appender.dies = None
        row = await zombie.parts.pool.fetchrow("SELECT * FROM processor.schedules")
        await other.fire()
        await other.at(START + timedelta(minutes=2))
        first, second = [job["id"] for job in await other.jobs(schedule.id)]
        assert await _told_to_cancel(other) == {first}

        assert row is not None
        await zombie.firing._launch.keep_promise(known_of(row))
        assert [job["id"] for job in await other.jobs(schedule.id)] == [first, second]
        assert await _told_to_cancel(other) == {first}


async def test_while_a_job_is_unfinished_skip_makes_no_other(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60)
        for minute in (1, 2, 3):
            await replica.at(START + timedelta(minutes=minute))
        (job,) = await replica.jobs(schedule.id)
        assert await replica.skipped(schedule.id) == [("overlap", one, one) for one in times(2, 3)]
        await replica.finish(job["id"])
        await replica.at(START + timedelta(minutes=4))
        assert await replica.fired(schedule.id) == times(1, 4)
        view = await replica.schedules.one(TENANT, schedule.id)
        assert (view.skipped_at, view.skipped_because) == (START + timedelta(minutes=3), "overlap")


async def test_queue_makes_all_and_lets_one_at_a_time_begin(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, overlap="queue")
        for minute in (1, 2, 3):
            await replica.at(START + timedelta(minutes=minute))
        jobs = [job["id"] for job in await replica.jobs(schedule.id)]
        assert len(jobs) == 3
        begun = []
        for _ in jobs:
            (taken,) = await _claimed(replica)
            begun.append(taken)
            assert await _claimed(replica) == [], "the others wait for it"
            await replica.finish(taken)
        assert begun == jobs


async def test_queue_keeps_to_one_at_a_time_where_the_workflow_has_a_key_of_its_own(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(workflow="guarded", every_seconds=60, overlap="queue")
        for minute in (1, 2):
            await replica.at(START + timedelta(minutes=minute))
        jobs = await replica.jobs(schedule.id)
        assert [(job["key"], job["key_limit"]) for job in jobs] == [("ada", 1)] * 2
        assert len(await _claimed(replica)) == 1
        assert await _claimed(replica) == []


async def test_cancel_cancels_what_is_under_way_and_begins_after_it(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, overlap="cancel")
        await replica.at(START + timedelta(minutes=1))
        (former,) = await _claimed(replica)
        await replica.at(START + timedelta(minutes=2))
        assert await _told_to_cancel(replica) == {former}
        assert "mail" in replica.announced
        assert await _claimed(replica) == []
        await replica.finish(former)
        (later,) = await _claimed(replica)
        assert [job["id"] for job in await replica.jobs(schedule.id)] == [former, later]


async def test_allow_lets_them_run_side_by_side_up_to_the_backlog(open_replica: OpenReplica) -> None:
    async with open_replica(schedule_backlog=2) as replica:
        schedule = await replica.make(every_seconds=60, overlap="allow")
        for minute in (1, 2, 3):
            await replica.at(START + timedelta(minutes=minute))
        assert len(await _claimed(replica)) == 2
        assert await replica.skipped(schedule.id) == [("backlog", *times(3, 3))]


@pytest.mark.parametrize(
    ("terms", "fired", "skipped"),
    [
        ({}, [5], [(1, 4)]),
        ({"catch_up": "latest", "catch_up_seconds": 30}, [5], [(1, 4)]),
        ({"catch_up": "latest", "catch_up_seconds": 29}, [], [(1, 5)]),
        ({"catch_up": "all"}, [3, 4, 5], [(1, 2)]),
        ({"catch_up": "all", "catch_up_seconds": 90}, [4, 5], [(1, 3)]),
        ({"catch_up": "none"}, [5], [(1, 4)]),
    ],
)
async def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    open_replica: OpenReplica, terms: dict[str, object], fired: list[int], skipped: list[tuple[int, int]]
) -> None:
    """Everything was down for five and a half minutes."""
    clock = HandClock()
    async with open_replica(clock) as before:
        schedule = await before.make(every_seconds=60, overlap="allow", **terms)
    clock.forward(minutes=5.5)
    async with open_replica(clock, schedule_catch_up_jobs=3) as replica:
        await replica.fire()
        assert await replica.fired(schedule.id) == times(*fired)
        assert await replica.skipped(schedule.id) == [("missed", *times(*one)) for one in skipped]
        assert len(await replica.jobs(schedule.id)) == len(fired)
        await replica.at(START + timedelta(minutes=6))
        assert await replica.fired(schedule.id) == times(*fired, 6)


async def test_with_no_catching_up_what_comes_after_the_grace_is_missed(open_replica: OpenReplica) -> None:
    async with open_replica(schedule_grace_seconds=20) as replica:
        schedule = await replica.make(cron="1 * * * *", catch_up="none")
        await replica.at(START + timedelta(minutes=1, seconds=21))
        assert await replica.skipped(schedule.id) == [("missed", *times(1, 1))]
        await replica.at(START + timedelta(minutes=61, seconds=20))
        assert await replica.fired(schedule.id) == times(61)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("append", [1, 2, 3, 4])
async def test_a_catch_up_that_dies_is_gone_on_with(open_replica: OpenReplica, when: str, append: int) -> None:
    clock = HandClock()
    async with open_replica(clock) as dying, open_replica(clock) as heir:
        schedule = await dying.make(every_seconds=60, overlap="allow", catch_up="all")
        clock.forward(minutes=3)
        dying.appender.dies = (when, append)
        with pytest.raises(Killed):
            await dying.fire()
        await heir.fire()
        assert await heir.fired(schedule.id) == times(1, 2, 3)
        assert [str(job["id"]) for job in await heir.jobs(schedule.id)] == [
            said["job_id"] for said in await heir.said(schedule.id, "fired")
        ]


async def test_years_of_missed_seconds_are_one_event(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=1)
        clocks = [await replica.make(cron="* * * * *", time_zone="Europe/Berlin") for _ in range(3)]
        began = asyncio.get_running_loop().time()
        await replica.at(START + timedelta(days=1000))
        assert asyncio.get_running_loop().time() - began < 5
        for one in (schedule, *clocks):
            assert await replica.fired(one.id) == [START + timedelta(days=1000)]
            assert len(await replica.events(one.id)) == 3


async def test_a_paused_schedule_starts_nothing_and_makes_up_for_nothing(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, catch_up="all", overlap="allow")
        await replica.at(START + timedelta(minutes=1))
        paused = await replica.schedules.pause(TENANT, schedule.id, "key:1")
        assert (paused.next_at, paused.paused_at) == (None, replica.clock.now)
        await replica.schedules.pause(TENANT, schedule.id, "key:1")
        await replica.at(START + timedelta(minutes=5.5))
        resumed = await replica.schedules.resume(TENANT, schedule.id, "key:1")
        assert (resumed.next_at, resumed.paused_at) == (START + timedelta(minutes=6), None)
        await replica.schedules.resume(TENANT, schedule.id, "key:1")
        await replica.at(START + timedelta(minutes=6))
        assert await replica.fired(schedule.id) == times(1, 6)
        kinds = [event.type.removeprefix("schedule.") for event in await replica.events(schedule.id)]
        assert kinds == ["created", "fired", "paused", "resumed", "fired"], "what changes nothing is no event"


async def test_a_clock_that_is_put_back_fires_nothing_again(open_replica: OpenReplica) -> None:
    """As after a failover to another server: what has fired for a time has its job, and its event has its id."""
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, overlap="allow")
        await replica.at(START + timedelta(minutes=2))
        replica.clock.now = START + timedelta(seconds=30)
        await replica.fire()
        await replica.schedules.pause(TENANT, schedule.id, "key:1")
        resumed = await replica.schedules.resume(TENANT, schedule.id, "key:1")
        assert resumed.next_at == START + timedelta(minutes=3)
        await replica.at(START + timedelta(minutes=3))
        assert await replica.fired(schedule.id) == times(2, 3)


async def test_a_workflow_that_is_gone_or_takes_other_inputs_is_skipped_until_it_is_back(
    open_replica: OpenReplica,
) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60)
        other = NIGHTLY | {"inputs": {"customer": {"type": "integer"}}}
        await replica.publishing.publish(TENANT, other, "key:1", name="nightly")
        await replica.at(START + timedelta(minutes=1))
        await replica.publishing.retire(TENANT, "nightly", "key:1")
        await replica.at(START + timedelta(minutes=2))
        await replica.publishing.publish(TENANT, NIGHTLY, "key:1", name="nightly")
        await replica.at(START + timedelta(minutes=3))
        assert await replica.skipped(schedule.id) == [
            ("invalid_input", *times(1, 1)),
            ("not_startable", *times(2, 2)),
        ]
        details = [said["detail"] for said in await replica.said(schedule.id, "skipped")]
        assert "customer" in details[0]
        assert "retired" in details[1]
        (job,) = await replica.jobs(schedule.id)
        assert job["workflow_version"] == 3


async def test_a_schedule_of_one_version_stays_with_it(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(version=1, every_seconds=60)
        await replica.publishing.publish(TENANT, NIGHTLY | {"title": "Other"}, "key:1", name="nightly")
        await replica.at(START + timedelta(minutes=1))
        (job,) = await replica.jobs(schedule.id)
        assert job["workflow_version"] == 1


async def test_jobs_of_schedules_count_against_the_quota(open_replica: OpenReplica) -> None:
    async with open_replica(quota_open_jobs=1) as replica:
        schedule = await replica.make(every_seconds=60, overlap="allow")
        for minute in (1, 2):
            await replica.at(START + timedelta(minutes=minute))
        assert len(await replica.jobs(schedule.id)) == 1
        assert await replica.skipped(schedule.id) == [("quota_exceeded", *times(2, 2))]


async def test_jitter_puts_jobs_off_by_less_than_it_says_and_each_by_its_own(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        schedule = await replica.make(every_seconds=60, jitter_seconds=50, overlap="allow")
        for minute in range(1, 9):
            await replica.at(START + timedelta(minutes=minute))
        jobs = await replica.jobs(schedule.id)
        late = [job["start_at"] - at for job, at in zip(jobs, await replica.fired(schedule.id), strict=True)]
        assert len(set(late)) == 8
        assert all(timedelta(0) <= one < timedelta(seconds=50) for one in late)


async def test_schedules_rebuilt_from_the_log_are_the_same_rows(open_replica: OpenReplica) -> None:
    clock = HandClock()
    async with open_replica(clock) as dying, open_replica(clock) as replica:
        kept = await replica.make(every_seconds=60, overlap="allow", catch_up="all", jitter_seconds=5)
        paused = await replica.make(cron="@hourly", time_zone="Europe/Berlin", priority=-3)
        gone = await replica.make(every_seconds=90)
        await replica.at(START + timedelta(minutes=150))
        await replica.schedules.pause(TENANT, paused.id, "key:2")
        await replica.schedules.delete(TENANT, gone.id, "key:2")
        promised = await replica.make(every_seconds=600)
        replica.clock.forward(minutes=10)
        dying.appender.dies = ("after", 1)
        with pytest.raises(Killed):
            await dying.firing._move(TENANT, promised.id, clock.now)
        before = await replica.rows()
        assert {row[1] for row in before} == {kept.id, paused.id, promised.id}
        assert promised.id in await _starting(replica)
        for chunk in (10_000, 1, 3):
            await replica.parts.pool.fetchval("SELECT processor.rebuild($1)", chunk)
            assert await replica.rows() == before
        await replica.fire()
        assert await _starting(replica) == set()
        after = await replica.rows()
        await rebuild(replica.parts.pool)
        assert await replica.rows() == after


async def test_the_time_is_the_databases(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        told = await clock_of(replica.parts.pool)()
        own: datetime = await replica.parts.pool.fetchval("SELECT clock_timestamp()")
        assert timedelta(0) <= own - told < timedelta(seconds=10)


async def _claimed(replica: Replica) -> list[UUID]:
    queue = JobQueue(replica.parts.pool, "worker", seconds=60, per_tenant=100)
    return [lease.job_id for lease in await queue.claim(10)]


async def _told_to_cancel(replica: Replica) -> set[UUID]:
    rows = await replica.parts.pool.fetch("SELECT job_id FROM processor.mail WHERE kind = 'cancel'")
    return {row["job_id"] for row in rows}


async def _starting(replica: Replica) -> set[UUID]:
    rows = await replica.parts.pool.fetch("SELECT id FROM processor.schedules WHERE starting IS NOT NULL")
    return {row["id"] for row in rows}
