"""Steps that compute have processes of their own: whatever one does there, no other job suffers."""

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from fixtures.processes.processor_with_steps import STEP_COMMAND
from fixtures.processor import STRANGER, OpenProcessor, step_of

SETTINGS: dict[str, Any] = {
    "obedient": True,
    "claim_poll_seconds": 0.1,
    "step_grace_seconds": 0.2,
    "step_attempts": 1,
    "step_memory_mb": 128,
    "lease_seconds": 60.0,  # with one attempt, a stall of this machine would be the end of a job
}


def _work(blob: str, do: str, **more: Any) -> dict[str, Any]:
    return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": do}}, **more}


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


async def _gone(pids: list[int]) -> None:
    async with asyncio.timeout(30):
        while _alive(pids):
            await asyncio.sleep(0.05)


def _hosts() -> list[int]:
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [child.pid for child in children if STEP_COMMAND[-1] in child.cmdline()]


@pytest.mark.parametrize(
    ("do", "code"),
    [
        ("eat", "out_of_memory"),
        ("die", "step_crashed"),
        ("raise", "step_crashed"),
        ("refuse", "refused"),
        ("spin 10", "step_timeout"),
        ("hang 10", "step_timeout"),
        (f"large {66 << 20}", "step_crashed"),
    ],
)
async def test_a_step_that_goes_wrong_fails_its_own_job_alone(
    open_processor: OpenProcessor, tmp_path: Path, do: str, code: str
) -> None:
    open_ = tmp_path / "open"
    async with open_processor(**SETTINGS, workers=2) as processor:
        blob = await processor.store(b"")
        beside = await processor.flow({"a": _work(blob, f"until {open_}")})
        await processor.watch.until(beside, "job.progressed")
        job = await processor.outcome({"a": _work(blob, do, timeout=1 if code == "step_timeout" else 60)})
        assert (job["status"], job["error"]["code"]) == ("FAILED", code)
        assert (await processor.outcome({"a": _work(blob, "ok")}))["status"] == "COMPLETED", "after it"
        open_.touch()
        ended = await processor.finished(beside)
        assert (ended["status"], step_of(ended, "a")["attempt"]) == ("COMPLETED", 1), "beside it"


async def test_what_one_task_has_lost_is_not_missing_to_the_next(open_processor: OpenProcessor) -> None:
    """The process stayed warm, and grew until a task that had done nothing wrong was told that it needed too much."""
    async with open_processor(**SETTINGS, workers=1) as processor:
        blob = await processor.store(b"")
        for _ in range(3):
            job = await processor.outcome({"a": _work(blob, "lose 600")})
            assert job["status"] == "COMPLETED", job["error"]
        assert (await processor.outcome({"a": _work(blob, "lose 1")}))["status"] == "COMPLETED"
        warm = _hosts()
        assert (await processor.outcome({"a": _work(blob, "lose 1")}))["status"] == "COMPLETED"
        assert _hosts() == warm, "what it has lost so far is not missing"


async def test_a_step_that_dies_with_a_child_that_lives_on_is_noticed_and_the_child_ended(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    """The child has the step's pipe, so that the pipe did not say that the step was dead."""
    file = tmp_path / "orphan"
    async with open_processor(**SETTINGS, workers=1) as processor:
        blob = await processor.store(b"")
        job = await processor.outcome({"a": _work(blob, f"orphan {file}")})
        assert job["error"]["code"] == "step_crashed"
        await _gone([int(file.read_text())])
        assert (await processor.outcome({"a": _work(blob, "ok")}))["status"] == "COMPLETED"


async def test_of_a_step_that_multiplies_nobody_is_left(open_processor: OpenProcessor, tmp_path: Path) -> None:
    file = tmp_path / "bomb"
    async with open_processor(**SETTINGS, workers=1) as processor:
        blob = await processor.store(b"")
        job_id = await processor.flow({"a": _work(blob, f"bomb 4 {file}")})
        await processor.watch.until(job_id, "job.progressed")
        pids = [int(pid) for pid in file.read_text().split()]
        assert len(_alive(pids)) == 16
        await processor.say(job_id, "cancel")
        assert (await processor.finished(job_id))["status"] == "CANCELLED"
        await _gone(pids)
        assert (await processor.outcome({"a": _work(blob, "ok")}))["status"] == "COMPLETED"


async def test_jobs_that_compute_leave_room_for_those_that_do_not(
    open_processor: OpenProcessor, tmp_path: Path
) -> None:
    """A burst of them took all places of a worker, and waited there for its few processes."""
    open_ = tmp_path / "open"
    async with open_processor(**SETTINGS, workers=1, jobs_at_once=8) as processor:
        blob = await processor.store(b"")
        await processor.publish({"name": "heavy", "steps": {"a": _work(blob, f"until {open_}")}})
        heavy = [await processor.start("heavy", start_at="2000-01-01T00:00:00Z") for _ in range(20)]
        async with asyncio.timeout(20):
            for _ in range(3):
                assert (await processor.outcome({"a": {"uses": "noop"}}))["status"] == "COMPLETED"
        open_.touch()
        for job_id in heavy:
            assert (await processor.finished(job_id))["status"] == "COMPLETED"


async def test_tenants_take_turns_at_the_processes(open_processor: OpenProcessor, tmp_path: Path) -> None:
    open_, begun = tmp_path / "open", tmp_path / "begun"

    def noted(blob: str, do: str, who: str) -> dict[str, Any]:
        return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": do, "note": str(begun), "as": who}}}

    async with open_processor(**SETTINGS, workers=1) as processor:
        mine, theirs = await processor.store(b""), await processor.store(b"", tenant="other")
        each = {**noted(mine, f"until {open_}", "mine"), "map": {"items": [*range(30)], "parallel": 30}}
        many = await processor.flow({"each": each})
        await processor.watch.until(many, "job.progressed")
        await processor.publish({"name": "one", "steps": {"a": noted(theirs, "ok", "theirs")}}, principal=STRANGER)
        other = await processor.start("one", principal=STRANGER)
        await processor.watch.became(other, "a", "RUNNING")
        open_.touch()
        assert (await processor.finished(many))["status"] == "COMPLETED"
        assert (await processor.finished(other))["status"] == "COMPLETED"
    # As the process has begun them: in what order the log hears of it is the disk's affair.
    assert begun.read_text().split().index("theirs") < 15
