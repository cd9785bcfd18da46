"""A job outlives whoever works on it: killed, stopped, stalled, or crashed by its input."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest

from deploy.postgres import PostgresServer
from deploy.provision import Database
from events.broker.broker import Message
from events.envelope import encode_event, new_event, stream_name, utc_now
from events.errors import Fenced
from events.jobs import JobAdvanced, JobClaimed, JobProgressed, JobStarted, StepStatus
from events.lifecycle import Parts
from events.log.append import Appender
from events.log.log import EventLog
from events.metrics.metrics import Metrics
from fixtures import processes
from fixtures.log import request
from fixtures.parts import PRINCIPAL_SECRET, OpenParts
from fixtures.processes.processor_with_steps import STEP_COMMAND
from fixtures.processor import TERMINAL, OpenProcessor, changes_of, step_of, stored_upload, watching
from processor.intake import Intake
from processor.queue import JobQueue
from processor.quota import JobQuota
from processor.remote.reports import RemoteReports
from processor.remote.tasks import RemoteTasks
from processor.upload_ends import UploadEnds
from processor.upload_progress import UploadProgress
from processor.uploads import ToldUploads
from processor.workflows.library import Library
from processor.workflows.stream import JobStream

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LEASE_SECONDS = 1.0
_PROCESSOR = Path(processes.__file__).with_name("processor_with_steps.py")


async def test_the_job_of_a_killed_worker_is_taken_over_when_its_lease_runs_out(
    database: Database, open_parts_for: OpenParts, open_processor: OpenProcessor, tmp_path: Path
) -> None:
    async with open_parts_for("processor", database) as parts, watching(parts) as watch:
        async with Appender(parts.pool, function="processor.append") as appender:
            job_id = await _recorded(parts, appender, b"hang 40")
        killed = await _start_processor(database, tmp_path)
        await watch.until(job_id, "job.progressed")
        steps = _step_processes(killed.pid)
        assert steps

        killed.kill()
        await killed.wait()
        held_for = await parts.pool.fetchval("SELECT extract(epoch FROM expires_at - now()) FROM processor.queue")
        assert held_for <= LEASE_SECONDS, "then it is free, and whoever polls finds it"
        _, alive = await asyncio.to_thread(psutil.wait_procs, steps, 60)
        assert alive == [], "a step's process dies with its worker"

        # The successor's steps are real ones: what the other's took for an order is a table without rows for them.
        async with open_processor(lease_seconds=LEASE_SECONDS, claim_poll_seconds=0.1) as successor:
            job = await successor.finished(job_id)
    assert (job["status"], job["attempts"]) == ("COMPLETED", 2)
    types = successor.types(job_id)
    assert [types.count(once) for once in ("job.created", "job.started", "job.claimed", "job.completed")] == [1] * 4
    percents = [event.data for event in successor.watch.of_job(job_id)]
    assert b'"progress_percent":40' in bytes(percents[types.index("job.claimed")]), "the job does not go back"
    traces = {str(event.traceparent)[3:35] for event in successor.watch.of_job(job_id)}
    assert traces == {TRACEPARENT[3:35]}, "nor into another trace"


async def test_a_stopped_processor_releases_its_jobs_at_once(open_processor: OpenProcessor) -> None:
    """By far sooner than the lease would run out, and without counting a failure."""
    async with open_processor(obedient=True, lease_seconds=3600, step_attempts=1) as stopped:
        job_id = await stopped.begin(b"hang 10")
        await stopped.watch.until(job_id, "job.progressed")
    async with open_processor(lease_seconds=3600, step_attempts=1) as successor:
        job = await successor.finished(job_id)
    assert (job["status"], job["attempts"]) == ("COMPLETED", 2)


async def test_what_a_former_holder_still_writes_is_refused(database: Database, open_parts_for: OpenParts) -> None:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        job_id = await _recorded(parts, appender, b"")
        said: dict[str, Any] = {
            "status": "PROCESSING",
            "progress_percent": 0,
            "current_step": None,
            "step_message": None,
        }
        started, claimed, progressed = JobStarted(**said), JobClaimed(**said), JobProgressed(**said)
        zombie = JobStream(appender, "acme", job_id, 1)
        await zombie.append([started], utc_now())
        successor = JobStream(appender, "acme", job_id, 2)
        await successor.append([claimed], utc_now())
        with pytest.raises(Fenced):
            await zombie.append([progressed], utc_now())
        await successor.append([progressed], utc_now())
        log = EventLog(parts.pool)
        types = [event.type for event in await log.read_stream("acme", f"job:{job_id}", 0, 10)]
    assert types == ["job.created", "job.started", "job.claimed", "job.progressed"]


async def test_a_lease_has_one_holder_and_its_fence_rises(database: Database, open_parts_for: OpenParts) -> None:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        await _recorded(parts, appender, b"")
        short, other = JobQueue(parts.pool, "short", seconds=0), JobQueue(parts.pool, "other", seconds=3600)
        (expired,) = await short.claim(5)
        (held,) = await other.claim(5)
        assert (expired.token, expired.failures, expired.lost) == (1, 0, False)
        assert (held.token, held.failures, held.lost) == (2, 1, True), "who let a lease expire has failed"
        assert await short.claim(5) == []
        assert await short.renew([expired]) == set()
        await short.let_go(expired, due_in=0)  # a zombie lets nothing go
        assert await other.renew([held]) == {("acme", held.job_id)}
        await other.release_all()
        (again,) = await short.claim(5)
        assert (again.token, again.failures, again.lost) == (3, 0, False), "an orderly release is no failure"


async def test_a_worker_that_lost_its_lease_ends_the_step(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, lease_seconds=LEASE_SECONDS, workers=1) as processor:
        job_id = await processor.begin(b"hang 10")
        await processor.watch.until(job_id, "job.progressed")
        (step,) = _step_processes(os.getpid())
        stolen = "UPDATE processor.queue SET worker = 'thief', token = token + 1, expires_at = 'infinity'"
        await processor.parts.pool.execute(stolen)

        _, alive = await asyncio.to_thread(psutil.wait_procs, [step], 60)
        assert alive == []
        before = processor.types(job_id)
        assert (await processor.run(b"refuse"))["error"]["code"] == "refused", "the worker goes on with other jobs"
        assert processor.types(job_id) == before


@pytest.mark.parametrize("death", [b"die", b"raise"])
async def test_a_step_that_always_crashes_fails_its_job_after_some_attempts_and_nothing_else(
    open_processor: OpenProcessor, death: bytes
) -> None:
    async with open_processor(obedient=True, step_attempts=2, step_retry_seconds=0.01) as processor:
        crashing, fine = await processor.begin(death), await processor.begin(b"")
        job = await processor.finished(crashing)
        assert (job["status"], job["error"]["code"]) == ("FAILED", "step_crashed")
        assert job["attempts"] == 1, "the worker lives on"
        became = [change for event in processor.watch.of_job(crashing) for change in changes_of(event)]
        assert [(change["became"], change.get("attempt", 1)) for change in became] == [
            ("RUNNING", 1),
            ("RETRYING", 2),
            ("RUNNING", 2),
            ("FAILED", 2),
        ]
        assert (await processor.finished(fine))["status"] == "COMPLETED"
        assert (await processor.get("/jobs"))[0] == 200


async def test_a_step_that_takes_too_long_is_ended(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, step_seconds=0.5) as processor:
        job = await processor.run(b"hang 10")
    assert job["error"]["code"] == "step_timeout"


async def test_a_step_gets_its_options_and_an_empty_folder_that_is_gone_afterwards(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    async with open_processor(obedient=True) as processor:
        job = await processor.run(b"", options={"entry": "people.csv"})
        assert job["result"] == {"options": {"entry": "people.csv"}, "scratch_is_empty": True}
        (scratch,) = (tmp_path / "scratch").iterdir()
        assert list(scratch.iterdir()) == []
    assert list((tmp_path / "scratch").iterdir()) == []


async def test_progress_is_logged_at_a_bounded_rate_and_never_without_the_last(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as processor:
        flooded = await processor.finished(await processor.begin(b"flood 2000"))
        stopped = await processor.begin(b"hang 77")
        last = await processor.watch.until(stopped, "job.progressed")
    assert flooded["status"] == "COMPLETED"
    assert b'"progress_percent":77' in bytes(last.data)
    took = processor.watch.of_job(flooded["id"])
    seconds = (took[-1].time - took[0].time).total_seconds()
    assert len(took) <= 10 * seconds + 4, "ten progress events a second, and created, started, completed"


async def test_a_job_whose_history_nobody_can_read_is_given_up_after_a_while(
    database: Database, open_parts_for: OpenParts, open_processor: OpenProcessor
) -> None:
    """At first it was tried for ever, every minute, and then for 15 seconds: so that all jobs under way failed if a
    release was rolled back."""
    stands: dict[str, Any] = {
        "status": "PROCESSING",
        "progress_percent": 7,
        "current_step": "x",
        "step_message": None,
    }
    started = JobStarted(**stands)
    unreadable = JobAdvanced(**stands, changes=[{"step": "x", "became": StepStatus.WAITING}])
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
    ):
        long, just_now_found, of_newer_release = [await _recorded(parts, appender, b"") for _ in range(3)]
        for job_id in (long, just_now_found):
            await JobStream(appender, "acme", job_id, 1).append([started, unreadable], utc_now())
        await JobStream(appender, "acme", of_newer_release, 1).append([started], utc_now())
        name = stream_name("job", of_newer_release)
        said = unreadable.encode()
        newer = new_event(type="job.invented", stream=name, tenant="acme", source="/test", data=said)
        await appender.append(request(newer))
        await parts.pool.execute("UPDATE processor.queue SET under_way = true")
        known = "INSERT INTO processor.unreadable VALUES ('acme', $1, 3, now() - interval '2 hours')"
        await parts.pool.executemany(known, [(long,), (of_newer_release,)])
    async with open_processor() as processor:
        job = await processor.finished(long)
        left = "SELECT count(*) FROM processor.queue WHERE token > 0 AND worker IS NULL AND failures = 0"
        async with asyncio.timeout(30):
            while await processor.parts.pool.fetchval(left) < 2:
                await asyncio.sleep(0.01)
        others = await processor.parts.pool.fetch("SELECT status FROM processor.jobs WHERE id <> $1", long)
        found = processor.parts.telemetry.registry.get_sample_value("millrace_jobs_unreadable_total")
    assert (job["status"], job["error"]["code"], job["progress_percent"]) == ("FAILED", "unreadable", 7)
    assert step_of(job, "x")["status"] == "CANCELLED"
    assert [other["status"] for other in others] == ["PROCESSING", "PROCESSING"]
    assert found is not None
    assert found >= 3


async def test_more_jobs_than_workers_all_finish(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, workers=2) as processor:
        jobs = [await processor.begin(b"") for _ in range(12)]
        finished = [await processor.finished(job_id) for job_id in jobs]
    assert {(job["status"], job["attempts"]) for job in finished} == {("COMPLETED", 1)}


async def test_two_processors_share_the_work_without_doing_any_twice(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as one, open_processor(one.broker, obedient=True) as other:
        jobs = [await one.begin(b"") for _ in range(20)]
        for job_id in jobs:
            await other.finished(job_id)
        for job_id in jobs:
            types = other.types(job_id)
            assert [types.count("job.started"), types.count("job.claimed")] == [1, 0]
            assert sum(types.count(end) for end in TERMINAL) == 1


async def test_a_job_goes_on_after_the_database_was_restarted(
    open_processor: OpenProcessor, postgres_server: PostgresServer
) -> None:
    async with open_processor(obedient=True) as processor:
        job_id = await processor.begin(b"flood 200000")
        await processor.watch.until(job_id, "job.progressed")
        await postgres_server.restart()
        await processor.watch.until(job_id, "job.completed")
        assert processor.types(job_id).count("job.completed") == 1


async def _recorded(parts: Parts, appender: Appender, content: bytes) -> UUID:
    """A job that waits, with nobody to work on it."""
    event, job_id = await stored_upload(parts, content)
    tasks = RemoteTasks(parts.pool, parts.broker, parts.telemetry, lost_seconds=30, grace=0)
    remote = RemoteReports(parts.pool, tasks, parts.telemetry, announce_mail=lambda: None)
    progress = UploadProgress(appender, EventLog(parts.pool))
    ends = UploadEnds(appender, ToldUploads(parts.pool))
    known = Library(parts.pool), JobQuota(parts.pool)
    intake = Intake(appender, *known, remote, progress, ends, Metrics(), announce_work=lambda: None)
    with parts.telemetry.span("intake", traceparent=TRACEPARENT):
        await intake.handle(Message(str(event.id), encode_event(event)))
    return job_id


def _step_processes(worker: int) -> list[psutil.Process]:
    steps = STEP_COMMAND[-1]
    return [child for child in psutil.Process(worker).children(recursive=True) if steps in child.cmdline()]


async def _start_processor(database: Database, data_dir: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(_PROCESSOR),
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(_PROCESSOR.parents[2]), os.environ.get("PYTHONPATH", "")]),
            "MILLRACE_DATA_DIR": str(data_dir),
            "MILLRACE_DATABASE_URL": database.url("processor"),
            "MILLRACE_PRINCIPAL_SECRET": PRINCIPAL_SECRET,
            "MILLRACE_LEASE_SECONDS": str(LEASE_SECONDS),
            "MILLRACE_LOG_LEVEL": "ERROR",
        },
    )
