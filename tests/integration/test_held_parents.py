"""What whoever holds a job does for the jobs that its steps are."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.envelope import utc_now
from events.ids import new_id
from events.jobs import JobStatus, StepStatus
from events.lifecycle import Parts
from events.log.append import Appender, AppendRequest
from fixtures.attempts import unnoted
from fixtures.log import as_owner
from fixtures.parts import OpenParts, settings_for
from processor import execution
from processor.attempts import Attempts
from processor.children import Children
from processor.execution import Execution, Release
from processor.hold import Hold
from processor.language.expressions import LARGEST_RESULT
from processor.queue import JobQueue, Lease, Postbox
from processor.quota import JobQuota
from processor.remote.handed_out import HandedOut
from processor.remote.tasks import RemoteTasks
from processor.results import keep_result
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.turns import Turns
from processor.unreadable import Unreadable
from processor.workflows.commands import Begin, Command, Park
from processor.workflows.fold import begin
from processor.workflows.library import Library
from processor.workflows.limits import Limits
from processor.workflows.record import record
from processor.workflows.start import Starter, first_event
from processor.workflows.state import JobState
from processor.workflows.stream import JobStream

_CHILD = {"name": "child", "steps": {"s": {"wait": {"signal": "never"}}}}


class Parent:
    """A job on the database, and a worker that holds it again and again."""

    def __init__(self, parts: Parts, settings: ProcessorSettings, appender: Appender, owner: Any) -> None:
        self.parts = parts
        self.pool = parts.pool
        self.owner = owner
        self.postbox = Postbox(parts.pool)
        self.queue = JobQueue(parts.pool, "worker", seconds=3600)
        self.library = Library(parts.pool)
        self.starter = Starter(parts.pool, appender, self.library, self.postbox, JobQuota(parts.pool))
        self._turns = Turns(parts.telemetry)
        self._attempts = Attempts(parts, settings, unnoted, Slots(0), {}, settings.data_dir, self._turns)
        self.unreadable = Unreadable(parts.pool, appender)
        self.state: JobState
        self.lease: Lease
        self.stream: JobStream
        self._appender = appender

    async def publish(self, document: dict[str, Any]) -> None:
        await self.owner.execute(
            "INSERT INTO processor.workflows (tenant, name, version, document, published_at, position)"
            " VALUES ('acme', $1, 1, $2, now(), 1)",
            document["name"],
            msgspec.json.encode(document).decode(),
        )

    async def made(self, steps: dict[str, Any], **rest: Any) -> None:
        await self.publish({"name": "parent", "steps": steps, **rest})
        edition = await self.library.startable("acme", "parent", None)
        created, id_ = first_event(edition, {}), new_id()
        await self.starter.start("acme", id_, created, event_id=new_id())
        (self.lease,) = await self.queue.claim(1)
        self.state = begin(edition.plan, "acme", id_, created)
        self.stream = JobStream(self._appender, "acme", id_, 1)

    def held(self) -> Execution:
        hold = Hold(self.lease, self.state, self._turns)
        return Execution(
            hold,
            self.stream,
            self._attempts,
            Children(hold, self.starter, lambda: None),
            HandedOut(hold, cast(RemoteTasks, None)),
            self.queue,
            self.parts.blobs,
            Limits(),
        )

    async def hold(self, *first: Command) -> Release | None:
        holding = self.held()
        for mail in await self.queue.collect():
            holding.deliver(mail)
        return await holding.run(first)

    async def hear_of_child(self, step: str, result: Any) -> None:
        """It is completed, as it says itself."""
        child = self.child(step)
        kept = await keep_result(self.parts.blobs, f"results/acme/{child}/1.json", result)
        said = {"child": str(child), "step": step, "item": None, "status": "COMPLETED", "result": kept, "error": None}
        await self.postbox.post(new_id(), "acme", self.state.id, "child", said)

    async def statuses(self) -> list[str]:
        """Of its children."""
        rows = await self.pool.fetch("SELECT status FROM processor.jobs WHERE id <> $1 ORDER BY id", self.state.id)
        return [row["status"] for row in rows]

    async def told(self, job_id: UUID) -> list[str]:
        return [mail.kind for mail in await self.queue.mail([("acme", job_id)])]

    def child(self, step: str) -> UUID:
        child = self.state.nodes[step, None].child
        assert child is not None
        return child


@pytest_asyncio.fixture
async def parent(
    database: Database, open_parts_for: OpenParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Parent]:
    monkeypatch.setattr(execution, "LINGER_SECONDS", 0.0)
    settings = ProcessorSettings(**settings_for("processor", database, data_dir=tmp_path).model_dump())
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
        as_owner(database) as owner,
    ):
        yield Parent(parts, settings, appender, owner)


async def test_a_child_that_was_started_is_not_judged_again_when_its_parent_is_woken(parent: Parent) -> None:
    """Each wake started all children anew. If their workflow had been retired meanwhile, their steps failed, and they
    went on without anybody who wanted them."""
    await parent.publish(_CHILD)
    await parent.made({"sub": {"workflow": "child"}})
    assert isinstance(await parent.hold(Begin()), Release)
    assert await parent.statuses() == ["PENDING"]
    await parent.owner.execute("UPDATE processor.workflows SET retired_at = now()")
    assert isinstance(await parent.hold(Begin()), Release)
    assert parent.state.status is JobStatus.PROCESSING


async def test_a_large_message_to_a_parked_job_is_taken_in_before_it_is_let_go(parent: Parent) -> None:
    """It was taken in by a task that was ended with the hold. The job had mail still, and was taken again at once: a
    worker did nothing else as long as the job was parked."""
    await parent.publish(_CHILD)
    await parent.made({"sub": {"workflow": "child"}, "then": {"uses": "noop", "depends": ["sub"]}})
    await parent.hold(Begin())
    await parent.hear_of_child("sub", ["x" * 40_000])
    assert isinstance(await parent.hold(Park(("handler",))), Release)
    assert await parent.told(parent.state.id) == []
    assert parent.state.nodes["sub", None].status is StepStatus.COMPLETED


async def test_a_child_may_not_give_more_to_an_expression_than_another_expression(parent: Parent) -> None:
    """Up to 64 MiB were decoded and encoded in one piece, while nobody's lease could be renewed."""
    await parent.publish(_CHILD)
    sub, after = {"workflow": "child", "continue_on_failure": True}, {"wait": {"signal": "go"}, "depends": ["a"]}
    await parent.made({"a": sub, "b": sub, "then": {**after, "when": "steps.a.status == 'FAILED' or steps.a.output"}})
    await parent.hold(Begin())
    for step in ("a", "b"):
        await parent.hear_of_child(step, ["x" * LARGEST_RESULT])
    assert isinstance(await parent.hold(Begin()), Release)
    read, unread = parent.state.nodes["a", None], parent.state.nodes["b", None]
    assert read.error is not None
    assert (read.status, read.error["code"]) == (StepStatus.FAILED, "too_large")
    kept = {"blob": f"results/acme/{parent.child('b')}/1.json", "bytes": LARGEST_RESULT + 4}
    assert (unread.status, unread.output) == (StepStatus.COMPLETED, kept), "it is where it was"


class _Died(Exception):
    pass


class _NoLog:
    async def append(self, request: AppendRequest) -> Any:
        raise _Died


async def test_a_child_whose_time_has_run_out_is_told_before_its_parent_says_so(parent: Parent) -> None:
    """If the worker died in between, nobody told it, and it went on without anybody who wanted it."""
    await parent.publish(_CHILD)
    await parent.made({"sub": {"workflow": "child", "timeout": 3600}})
    await parent.hold(Begin())
    parent.state.nodes["sub", None].due_at = utc_now()
    parent.stream = JobStream(cast(Appender, _NoLog()), "acme", parent.state.id, 2)
    with pytest.raises(_Died):
        await parent.hold(Begin())
    assert await parent.told(parent.child("sub")) == ["cancel"]


async def test_a_child_that_is_being_started_when_its_time_runs_out_is_told_afterwards(parent: Parent) -> None:
    """It was not there yet, so that nobody told it, and then it began."""
    await parent.publish(_CHILD)
    await parent.made({"sub": {"workflow": "child"}})
    record(parent.state, [Begin()], utc_now(), Limits())
    hold = Hold(parent.lease, parent.state, Turns(parent.parts.telemetry))
    children = Children(hold, parent.starter, lambda: None)
    awaited = children.awaited()
    children.follow()
    (starting,) = hold.tasks.values()
    parent.state.held_back.clear()
    await children.end_unwanted(awaited, [])
    await starting
    assert await parent.told(parent.child("sub")) == ["cancel"]


async def test_the_children_of_a_job_that_nobody_can_read_are_told(parent: Parent) -> None:
    """They went on without anybody who wanted them."""
    await parent.publish(_CHILD)
    await parent.made({"sub": {"workflow": "child"}})
    await parent.hold(Begin())
    await parent.unreadable.end(replace(parent.lease, version=parent.stream.version))
    assert await parent.told(parent.child("sub")) == ["cancel"]


async def test_a_job_is_unreadable_since_it_was_found_so_at_this_version(parent: Parent) -> None:
    await parent.made({"s": {"wait": {"signal": "never"}}})
    assert await parent.unreadable.found(parent.lease) < 60
    earlier = "UPDATE processor.unreadable SET since = since - interval '1 hour'"
    await parent.pool.execute(earlier)
    assert await parent.unreadable.found(parent.lease) > 3600
    assert await parent.unreadable.found(replace(parent.lease, version=2)) < 60, "somebody could read it"
    await parent.pool.execute(f"{earlier}, seen_at = now() - interval '1 hour'")
    assert await parent.unreadable.found(replace(parent.lease, version=2)) < 60, "it could be read meanwhile"


async def test_a_child_of_its_own_workflow_is_refused_however_high_the_limit_is(parent: Parent) -> None:
    """Two of them would take both places, and their children would wait for one."""
    await parent.made({"sub": {"workflow": "parent"}}, concurrency={"limit": 2})
    assert await parent.hold(Begin()) is None
    assert parent.state.outcome is not None
    assert "could wait for each other" in parent.state.outcome.detail
