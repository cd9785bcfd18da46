"""A job that a worker holds never rests while the log says that one of its steps runs."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from events.blobs.blobs import open_blobs
from events.database import Pool
from events.envelope import Event
from events.identity import PrincipalSigner
from events.jobs import JobStatus
from events.lifecycle import Parts
from events.log.append import Appended, Appender, AppendRequest
from events.telemetry import Telemetry
from fixtures.attempts import unnoted
from fixtures.engine import JOB_ID, Driven, planned
from processor.attempts import Attempts
from processor.builtin.handler import Attempt, Here
from processor.children import Children
from processor.execution import Execution
from processor.hold import Hold
from processor.queue import JobQueue, Lease
from processor.remote.handed_out import HandedOut
from processor.remote.tasks import RemoteTasks
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.turns import Turns
from processor.workflows.commands import Begin
from processor.workflows.limits import Limits
from processor.workflows.start import Starter
from processor.workflows.stream import JobStream

NOWHERE: Any = None  # nothing of these jobs needs the database or the broker
LEASE = Lease("acme", JOB_ID, 1, 0, False, True, False, False, 1, None, None)


class _Log:
    """Of one job, in memory."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def append(self, request: AppendRequest) -> Appended:
        await asyncio.sleep(0)
        self.events += request.events
        return Appended(1, 1, 1 + len(self.events))


def held(here: Here, folder: Path) -> tuple[Execution, _Log]:
    """A job of one step, which this handler does."""
    parts = Parts("processor", NOWHERE, NOWHERE, open_blobs(str(folder)), PrincipalSigner("x" * 32), Telemetry("test"))
    settings = ProcessorSettings(
        database_url=SecretStr("postgresql://nowhere"), data_dir=folder, principal_secret=SecretStr("x" * 32)
    )
    log, turns = _Log(), Turns(parts.telemetry)
    state = Driven(planned({"steps": {"a": {"uses": "noop"}}})).state
    hold = Hold(LEASE, state, turns)
    execution = Execution(
        hold,
        JobStream(cast(Appender, log), "acme", JOB_ID, 1),
        Attempts(parts, settings, unnoted, Slots(0), {"noop": here}, folder, turns),
        Children(hold, cast(Starter, NOWHERE), lambda: None),
        HandedOut(hold, cast(RemoteTasks, NOWHERE)),
        JobQueue(cast(Pool, NOWHERE), "test", seconds=1),
        parts.blobs,
        Limits(attempts=2, backoff=0.0),
    )
    return execution, log


async def test_a_step_that_ends_cancelled_by_nobody_has_failed(tmp_path: Path) -> None:
    """A library let out what one of its own tasks was cancelled with. The step had no task any more, and the log said
    that it runs: the job was let go until it has mail, for ever."""
    attempts = []

    async def leaks(attempt: Attempt, _: Any) -> Any:
        attempts.append(attempt.number)
        raise asyncio.CancelledError

    execution, log = held(leaks, tmp_path)
    assert await execution.run([Begin()]) is None
    assert attempts == [1, 2]
    assert execution.state.status is JobStatus.FAILED
    assert execution.state.outcome is not None
    assert execution.state.outcome.code == "step_crashed"
    assert [event.type for event in log.events] == ["job.started", "job.advanced", "job.advanced", "job.failed"]


async def test_a_step_whose_task_is_cancelled_before_it_begins_has_failed(tmp_path: Path) -> None:
    async def works(_: Attempt, given: Any) -> Any:
        return given

    execution, _ = held(works, tmp_path)
    begin = execution._begin

    def begin_and_cancel(key: Any, attempt: int) -> None:
        begin(key, attempt)
        if attempt == 1:
            execution._hold.tasks[key, attempt].cancel()

    execution._begin = begin_and_cancel  # type: ignore[method-assign]
    assert await execution.run([Begin()]) is None
    assert execution.state.status is JobStatus.COMPLETED
    assert execution.state.nodes["a", None].attempt == 2


async def test_a_job_whose_running_step_nobody_has_is_not_let_go(tmp_path: Path) -> None:
    async def works(_: Attempt, given: Any) -> Any:
        return given

    execution, _ = held(works, tmp_path)
    execution._begin = lambda key, attempt: None  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="Nobody has the steps"):
        await execution.run([Begin()])


async def test_a_task_may_be_sent_no_more_without_harm_to_its_job(tmp_path: Path) -> None:
    """A remote task that is recalled while it is sent was taken for the job's failure."""

    async def recalls(_: Attempt, given: Any) -> Any:
        execution._hold.spawn(("send", JOB_ID), asyncio.sleep(60))
        await asyncio.sleep(0)
        await execution._handed_out._recall({JOB_ID})
        return given

    execution, _ = held(recalls, tmp_path)
    assert await execution.run([Begin()]) is None
    assert execution.state.status is JobStatus.COMPLETED


async def test_a_message_to_others_that_ends_cancelled_by_nobody_is_a_failure(tmp_path: Path) -> None:
    async def leaks() -> None:
        raise asyncio.CancelledError

    async def sends(_: Attempt, given: Any) -> Any:
        execution._hold.spawn(("send", JOB_ID), leaks())
        await asyncio.sleep(0)
        return given

    execution, _ = held(sends, tmp_path)
    with pytest.raises(RuntimeError, match="we had not cancelled it"):
        await execution.run([Begin()])
