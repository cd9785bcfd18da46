"""What people say to jobs that are under way: cancel, pause, resume, signals, approvals; and what is undone then."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psutil
import pytest

from deploy.provision import Database
from events.identity import Principal
from events.log.append import Appender
from events.log.log import EventLog
from fixtures.log import as_owner
from fixtures.processes.processor_with_steps import STEP_COMMAND
from fixtures.processor import WRITER, OpenProcessor, Processor, changes_of, step_of
from processor.queue import Postbox
from processor.quota import JobQuota
from processor.workflows.control import Control, Said
from processor.workflows.jobs import Job, Jobs
from processor.workflows.library import Library
from processor.workflows.start import Starter

QUICK = {"obedient": True, "claim_poll_seconds": 0.1, "step_grace_seconds": 0.5}


def _work(blob: str, do: str = "ok", notes: Path | None = None, name: str = "") -> dict[str, Any]:
    options = {"do": do} | ({} if notes is None else {"note": str(notes), "as": name})
    return {"uses": "csv-profile", "with": {"blob": blob, "options": options}}


def _step_processes() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in children if STEP_COMMAND[-1] in child.cmdline()]


async def test_a_job_that_has_not_begun_is_cancelled_without_being_begun(processor: Processor) -> None:
    await processor.publish({"name": "w", "steps": {"a": {"uses": "noop"}}, "on_exit": {"uses": "noop"}})
    job_id = await processor.start("w", start_at="2100-01-01T00:00:00Z")
    await processor.say(job_id, "cancel", {"reason": "Not needed."})
    job = await processor.finished(job_id)
    assert (job["status"], job["error"]) == ("CANCELLED", {"code": "cancelled", "detail": "Not needed."})
    assert processor.types(job_id) == ["job.created", "job.cancel_requested", "job.cancelled"]
    requested = msgspec.json.decode(processor.watch.of_job(job_id)[1].data)
    assert (requested["by"], requested["reason"]) == (WRITER.subject, "Not needed.")
    assert await processor.parts.pool.fetchval("SELECT count(*) FROM processor.queue") == 0
    status, problem = await processor.post(f"/jobs/{job_id}/cancel")
    assert (status, problem["code"]) == (409, "conflict")


async def test_a_job_that_waits_is_cancelled(open_processor: OpenProcessor) -> None:
    async with open_processor() as processor:
        job_id = await processor.flow({"a": {"wait": {"signal": "never"}}, "b": {"uses": "noop", "depends": ["a"]}})
        await processor.watch.became(job_id, "a", "WAITING")
        await processor.say(job_id, "cancel")
        job = await processor.finished(job_id)
        assert job["status"] == "CANCELLED"
        assert [(step["id"], step["status"]) for step in job["steps"]] == [("a", "CANCELLED")]


async def test_a_running_step_is_told_within_a_second_and_ends_by_itself(open_processor: OpenProcessor) -> None:
    async with open_processor(**QUICK | {"step_grace_seconds": 60}, workers=1) as processor:
        job_id = await processor.flow({"a": _work(await processor.store(b""), "work 30")})
        await processor.watch.until(job_id, "job.progressed")
        (before,) = _step_processes()
        await processor.say(job_id, "cancel")
        requested = await processor.watch.until(job_id, "job.cancel_requested")
        ended = await processor.watch.until(job_id, "job.cancelled")
        assert (ended.time - requested.time).total_seconds() < 10, "by far less than its grace"
        assert step_of(await processor.job(job_id), "a")["status"] == "CANCELLED"
        assert _step_processes() == [before], "it is still warm"


@pytest.mark.parametrize("do", ["hang 30", "spin 30"])
async def test_a_step_that_does_not_listen_is_ended_after_its_grace(open_processor: OpenProcessor, do: str) -> None:
    async with open_processor(**QUICK, workers=1) as processor:
        blob = await processor.store(b"")
        job_id = await processor.flow({"a": _work(blob, do)})
        await processor.watch.until(job_id, "job.progressed")
        (process,) = _step_processes()
        await processor.say(job_id, "cancel")
        await processor.finished(job_id)
        assert not process.is_running()
        assert (await processor.outcome({"a": _work(blob)}))["status"] == "COMPLETED", "others go on"


async def test_dbos_443_a_job_that_is_cancelled_as_a_step_begins_does_not_hang(
    open_processor: OpenProcessor, database: Database, tmp_path: Path
) -> None:
    """There, a cancelled workflow waited for ever for a step that was in flight. Here, if a step was to begin just as
    the job was cancelled, its task was cancelled before its first line, and nobody said that it had stopped."""
    open_, scratch = tmp_path / "open", tmp_path / "scratch"
    async with open_processor(**QUICK) as processor, as_owner(database) as owner:
        blob = await processor.store(b"")
        never = {"wait": {"signal": "nobody"}, "depends": ["b"]}
        steps = {"a": _work(blob, f"until {open_}"), "b": {**_work(blob), "depends": ["a"]}, "never": never}
        job_id = await processor.flow(steps)
        await processor.watch.until(job_id, "job.progressed")
        async with owner.transaction():
            await owner.execute("SELECT FROM events.head FOR UPDATE")  # while somebody else appends …
            await _deliver(processor, job_id, "signals/nobody")
            open_.touch()  # … the step ends …
            async with asyncio.timeout(30):
                while any(scratch.glob("*/*")):
                    await asyncio.sleep(0.02)
            await _deliver(processor, job_id, "cancel")  # … and the job is cancelled
        assert (await processor.finished(job_id))["status"] == "CANCELLED"
        assert _became(processor, job_id)[-2:] == [("b", "RUNNING"), ("b", "CANCELLED")]


async def _deliver(processor: Processor, job_id: UUID, what: str) -> None:
    """Once the second one is collected, the first one has been passed on."""
    for said in (what, "signals/nobody"):
        await processor.say(job_id, said)
        async with asyncio.timeout(30):
            while await processor.parts.pool.fetchval("SELECT mail FROM processor.queue"):
                await asyncio.sleep(0.02)


async def test_jobs_that_are_cancelled_at_any_moment_come_to_their_end(open_processor: OpenProcessor) -> None:
    async with open_processor(**QUICK) as processor:
        blob = await processor.store(b"")
        chain = {f"s{n}": {**_work(blob), "depends": [f"s{n - 1}"] if n else []} for n in range(8)}
        jobs = [await processor.flow(chain) for _ in range(6)]
        for number, job_id in enumerate(jobs):
            if number:
                await processor.watch.became(job_id, f"s{number}", "RUNNING")
            await processor.post(f"/jobs/{job_id}/cancel")
        for job_id in jobs:
            assert (await processor.finished(job_id))["status"] in ("CANCELLED", "COMPLETED")


async def test_what_was_done_is_undone_last_first_and_the_end_is_told(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    async with open_processor(**QUICK) as processor:
        blob = await processor.store(b"")

        def step(name: str, do: str = "ok", **more: Any) -> dict[str, Any]:
            undo = _work(blob, "ok", notes, f"undo-{name}")
            return {**_work(blob, do, notes, name), "compensate": undo, **more}

        steps = {
            "a": step("a"),
            "b": step("b", depends=["a"]),
            "c": step("c", "refuse", depends=["b"]),
            "d": step("d", depends=["c"]),
        }
        on_exit = {"uses": "emit", "with": {"data": {"status": "${{ job.status }}", "why": "${{ job.error.code }}"}}}
        job = await processor.outcome(steps, on_exit=on_exit)
        assert (job["status"], job["error"]["code"]) == ("FAILED", "refused")
        assert notes.read_text().split() == ["a", "b", "c", "undo-c", "undo-b", "undo-a"]
        (emitted,) = [e for e in processor.watch.of_job(UUID(job["id"])) if e.type == "job.emitted"]
        assert msgspec.json.decode(emitted.data)["data"] == {"status": "FAILED", "why": "refused"}
        assert [(s["id"], s["status"]) for s in job["steps"] if s["id"].startswith("compensate:")] == [
            (f"compensate:{name}", "COMPLETED") for name in ("c", "b", "a")
        ]


async def test_a_cancelled_job_undoes_what_it_did_each_item_of_a_map_too(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    async with open_processor(**QUICK) as processor:
        blob = await processor.store(b"")
        each = {
            "uses": "noop",
            "map": {"items": ["x", "y", "z"], "parallel": 1},
            "with": {"item": "${{ item }}"},
            "compensate": {
                "uses": "csv-profile",
                "with": {"blob": blob, "options": {"do": "ok", "note": str(notes), "as": "${{ item }}"}},
            },
        }
        wait = {"wait": {"signal": "never"}, "depends": ["each"]}
        job_id = await processor.flow({"each": each, "wait": wait})
        await processor.watch.became(job_id, "wait", "WAITING")
        await processor.say(job_id, "cancel")
        job = await processor.finished(job_id)
        assert job["status"] == "CANCELLED"
        assert notes.read_text().split() == ["z", "y", "x"]
        assert [step["id"] for step in job["steps"]] == ["each", "wait", "compensate:each"]
        undone = step_of(job, "compensate:each")
        assert (undone["status"], undone["items"], undone["items_completed"]) == ("COMPLETED", 3, 3)
        assert undone["finished_at"]
        sub_statuses = [msgspec.json.decode(e.data)["sub_status"] for e in processor.watch.of_job(job_id)]
        assert "compensating" in sub_statuses


async def test_what_undoes_is_told_so_and_what_is_done_at_the_exit_can_be_ended(processor: Processor) -> None:
    steps = {
        "a": {"uses": "noop", "compensate": {"wait": {"signal": "undone"}}},
        "b": {"wait": {"signal": "fail"}, "timeout": 0.1, "depends": ["a"]},
    }
    job_id = await processor.flow(steps, on_exit={"uses": "remote/nobody"})
    await processor.watch.became(job_id, "compensate:a", "WAITING")
    status, problem = await processor.post(f"/jobs/{job_id}/cancel", None)
    assert (status, problem["detail"]) == (409, "What the job has done is being undone, and no cancel stops that.")
    await processor.say(job_id, "signals/undone")
    await processor.watch.became(job_id, "on_exit", "WAITING")
    await processor.say(job_id, "cancel")
    job = await processor.finished(job_id)
    assert (job["status"], job["error"]["code"]) == ("FAILED", "wait_timeout")
    assert step_of(job, "on_exit")["status"] == "CANCELLED"


async def test_a_compensation_that_fails_does_not_keep_the_others_from_being_undone(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    async with open_processor(**QUICK) as processor:
        blob = await processor.store(b"")
        steps = {
            "a": {"uses": "noop", "compensate": _work(blob, "ok", notes, "a")},
            "b": {"uses": "noop", "depends": ["a"], "compensate": _work(blob, "refuse", notes, "b")},
            "c": {**_work(blob, "refuse"), "depends": ["b"]},
        }
        job = await processor.outcome(steps)
        assert notes.read_text().split() == ["b", "a"]
        assert job["error"]["code"] == "refused"
        assert step_of(job, "compensate:b")["status"] == "FAILED"


async def test_a_paused_job_begins_nothing_and_goes_on_where_it_was(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    notes, open_ = tmp_path / "notes", tmp_path / "open"
    async with open_processor(**QUICK) as processor:
        blob = await processor.store(b"")
        steps = {
            "a": _work(blob, f"until {open_}", notes, "a"),
            "b": {**_work(blob, "ok", notes, "b"), "depends": ["a"]},
        }
        job_id = await processor.flow(steps)
        await processor.watch.until(job_id, "job.progressed")
        await processor.say(job_id, "pause")
        paused = await processor.watch.until(job_id, "job.paused")
        assert msgspec.json.decode(paused.data)["by"] == WRITER.subject
        open_.touch()
        await processor.watch.became(job_id, "a", "COMPLETED")
        async with asyncio.timeout(30):  # until nobody holds it
            while await processor.parts.pool.fetchval("SELECT worker FROM processor.queue"):
                await asyncio.sleep(0.05)
        assert notes.read_text().split() == ["a"]
        assert (await processor.job(job_id))["sub_status"] == "paused"
        await processor.say(job_id, "resume")
        assert (await processor.finished(job_id))["status"] == "COMPLETED"
        assert notes.read_text().split() == ["a", "b"]


async def test_a_paused_job_can_be_cancelled_and_what_is_not_known_is_refused(processor: Processor) -> None:
    job_id = await processor.flow({"a": {"wait": {"signal": "go"}}})
    await processor.watch.became(job_id, "a", "WAITING")
    for what in ("retry", "pause", "resume"):
        status, problem = await processor.post(f"/jobs/{job_id}/{what}", {"from_step": "a"})
        assert (status, problem["errors"][0]["field"]) == (422, "body.from_step"), "it was passed over"
    await processor.say(job_id, "pause", {})
    await processor.watch.until(job_id, "job.paused")
    await processor.say(job_id, "cancel")
    assert (await processor.finished(job_id))["status"] == "CANCELLED"


async def test_signals_are_kept_until_a_step_waits_and_each_ends_one_wait(processor: Processor) -> None:
    steps = {
        "first": {"wait": {"signal": "go"}},
        "second": {"wait": {"signal": "go"}, "depends": ["first"]},
        "other": {"wait": {"signal": "other"}},
    }
    await processor.publish({"name": "w", "steps": steps, "on_exit": {"wait": {"signal": "bye"}}})
    job_id = await processor.start("w")
    await processor.say(job_id, "signals/go", {"n": 1}, key="one")
    await processor.say(job_id, "signals/go", {"n": 1}, key="one")  # it is the same one again
    await processor.watch.became(job_id, "second", "WAITING")
    await processor.say(job_id, "signals/bye", {"waits": "for this"})
    await processor.say(job_id, "signals/other", None)
    await processor.watch.became(job_id, "other", "COMPLETED")
    await processor.say(job_id, "signals/go", [1, 2], key="two")
    job = await processor.finished(job_id)
    assert job["result"] == {"second": [1, 2], "other": None}
    assert step_of(job, "first")["output"] == {"n": 1}
    assert processor.types(job_id).count("job.signalled") == 4


@pytest.mark.parametrize("heard", [False, True])
async def test_a_key_says_one_thing_to_a_job_and_nothing_else_is_dropped_in_silence(
    processor: Processor, heard: bool
) -> None:
    """A second signal under the key of a first was answered with a 202, and nobody ever heard it."""
    steps = {"first": {"wait": {"signal": "go"}}, "second": {"wait": {"signal": "stop"}}}
    await processor.publish({"name": "w", "steps": steps})
    job_id = await processor.start("w")
    await processor.say(job_id, "signals/go", {"n": 1}, key="one")
    if heard:
        await processor.watch.until(job_id, "job.signalled")
    for name, body in [("stop", {"n": 1}), ("go", {"n": True}), ("go", {}), ("go", None)]:
        status, problem = await processor.post(f"/jobs/{job_id}/signals/{name}", body, key="one")
        assert (status, problem["code"]) == (422, "idempotency_key_reused")
    await processor.say(job_id, "signals/go", {"n": 1}, key="one")
    if heard:
        await processor.say(job_id, "signals/stop", {"n": 2}, key="two")
        assert (await processor.finished(job_id))["result"] == {"first": {"n": 1}, "second": {"n": 2}}
        await processor.say(job_id, "signals/stop", {"n": 2}, key="two")  # the answer got lost, perhaps
        status, _ = await processor.post(f"/jobs/{job_id}/signals/stop", {"n": 2}, key="three")
        assert status == 409


class _Overtaken(Jobs):
    """Its first reader is slow: what he has read is no longer so when he has it."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def one(self, tenant: str, id_: UUID) -> Job:
        job = await super().one(tenant, id_)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return job


async def test_who_repeats_a_signal_whose_first_copy_has_just_ended_the_job_gets_the_first_answer(
    processor: Processor,
) -> None:
    """The answer got lost with its gateway, and the same signal came again. The job was under way when that was looked
    up, and ended before it was posted: `409 The job is COMPLETED already`, for what had done just that."""
    job_id = await processor.flow({"a": {"wait": {"signal": "go"}}})
    await processor.watch.became(job_id, "a", "WAITING")
    pool, blobs = processor.parts.pool, processor.parts.blobs
    library, postbox, quota = Library(pool), Postbox(pool), JobQuota(pool)
    jobs = _Overtaken(pool, blobs, EventLog(pool), library, postbox)
    starter = Starter(pool, Appender(pool), library, postbox, quota)
    control = Control(pool, starter, library, jobs, postbox, quota, announce=lambda: None)

    async def first_copy() -> None:
        await processor.say(job_id, "signals/go", {"n": 1}, key="one")
        await processor.finished(job_id)

    jobs.meanwhile = first_copy
    answer = await control.say(
        WRITER.tenant, job_id, "signal", {"name": "go", "data": {"n": 1}}, Said(WRITER.subject, "one")
    )

    assert answer.status == "COMPLETED"
    assert processor.types(job_id).count("job.signalled") == 1


async def test_an_approval_says_by_whom_and_a_no_fails_it(processor: Processor) -> None:
    boss = Principal("acme", "user:boss", frozenset({"jobs:write"}))
    steps = {
        "sure": {"wait": {"approval": "Is it?"}, "map": {"items": ["a", "b"]}},
        "after": {"uses": "noop", "depends": ["sure"], "with": {"said": "${{ steps.sure.output }}"}},
    }
    job_id = await processor.flow(steps)
    await processor.watch.became(job_id, "sure", "WAITING", item=1)
    answer = {"approved": True, "comment": "Fine.", "by": "somebody else"}
    await processor.say(job_id, "signals/sure.1", answer, principal=boss)
    await processor.say(job_id, "signals/sure.0", {"approved": True})
    assert (await processor.finished(job_id))["result"]["said"] == [
        {"approved": True, "by": "user:1", "comment": None},
        {"approved": True, "by": "user:boss", "comment": "Fine."},
    ]
    job_id = await processor.flow({"sure": {"uses": "approve", "with": {"question": "Is it?"}}})
    for slip in ({"approved": "true"}, {"approve": True}, {}, "yes", None):
        status, problem = await processor.post(f"/jobs/{job_id}/signals/sure", slip, principal=boss)
        assert (status, problem["code"]) == (422, "invalid_input"), "a slip is no no"
    status, problem = await processor.post(f"/jobs/{job_id}/signals/shure", {"approved": True})
    assert (status, problem["errors"][0]["field"]) == (422, "path.name")
    await processor.say(job_id, "signals/sure", {"approved": False, "comment": "Too dear."}, principal=boss)
    job = await processor.finished(job_id)
    assert (job["status"], job["error"]["code"]) == ("FAILED", "rejected")
    assert "user:boss" in job["error"]["detail"]


async def test_a_wait_that_takes_too_long_fails(processor: Processor) -> None:
    job = await processor.outcome({"a": {"wait": {"signal": "never"}, "timeout": 0.2}})
    assert (job["status"], job["error"]["code"]) == ("FAILED", "wait_timeout")


async def test_only_who_may_write_jobs_can_say_something_to_them(processor: Processor) -> None:
    reader = Principal("acme", "user:2", frozenset({"jobs:read", "workflows:write"}))
    job_id = await processor.flow({"a": {"wait": {"signal": "go"}}})
    for path in ("cancel", "pause", "resume", "retry", "signals/go"):
        assert (await processor.post(f"/jobs/{job_id}/{path}", principal=reader))[0] == 403
    assert (await processor.post("/jobs", {"workflow": "w"}, principal=reader))[0] == 403
    assert (await processor.post("/jobs/retry", {}, principal=reader))[0] == 403
    assert (await processor.post(f"/jobs/{job_id}/signals/a b"))[0] == 422
    assert "job.signalled" not in processor.types(job_id)


async def test_what_is_said_while_a_job_is_let_go_is_heard(open_processor: OpenProcessor) -> None:
    """What was collected in the moment in which its holder turned away was heard by nobody: the job waited on."""
    async with open_processor(claim_poll_seconds=0.05) as processor:
        await processor.publish({"name": "w", "steps": {"a": {"wait": {"signal": "go"}}}})
        jobs = [await processor.start("w") for _ in range(20)]
        await processor.watch.became(jobs[-1], "a", "WAITING")
        for number, job_id in enumerate(jobs):  # they linger for a second: some are told before, some after it
            await processor.say(job_id, "signals/go", number)
            await asyncio.sleep(0.05)
        assert [(await processor.finished(job_id))["result"] for job_id in jobs] == list(range(20))


async def test_a_holder_that_turns_away_leaves_what_it_has_collected_to_the_next(processor: Processor) -> None:
    """The same, without luck: the mail is collected, and then the job is let go."""
    job_id = await processor.flow({"a": {"wait": {"signal": "go"}}})
    await processor.watch.became(job_id, "a", "WAITING")
    pool = processor.parts.pool
    async with asyncio.timeout(30):
        while await pool.fetchval("SELECT worker FROM processor.queue"):
            await asyncio.sleep(0.05)
    await pool.execute(
        "UPDATE processor.queue SET worker = 'me', expires_at = 'infinity', token = token + 1, under_way = true"
    )
    await processor.say(job_id, "signals/go", "heard")
    await pool.execute("UPDATE processor.queue SET mail = false")
    await pool.execute("SELECT processor.let_go(tenant, job_id, token, 'me', NULL, true) FROM processor.queue")
    assert (await processor.finished(job_id))["result"] == "heard"


def _became(processor: Processor, job_id: UUID) -> list[tuple[str, str]]:
    changes = [change for event in processor.watch.of_job(job_id) for change in changes_of(event)]
    return [(change["step"], change["became"]) for change in changes]


async def test_of_a_cancelled_map_nothing_more_begins(open_processor: OpenProcessor, tmp_path: Path) -> None:
    notes, open_ = tmp_path / "notes", tmp_path / "open"
    async with open_processor(**QUICK, workers=1) as processor:
        blob = await processor.store(b"")
        each = {**_work(blob, f"until {open_}", notes, "x"), "map": {"items": [*range(20)], "parallel": 10}}
        job_id = await processor.flow({"each": each})
        await processor.watch.until(job_id, "job.progressed")
        await processor.say(job_id, "cancel")
        assert (await processor.finished(job_id))["status"] == "CANCELLED"
        assert notes.read_text().split() == ["x"]
        assert _became(processor, job_id)[-1] == ("each", "CANCELLED")
