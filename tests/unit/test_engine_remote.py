"""Steps that remote workers do, as the engine's core sees them: waits whose attempts end, fail, progress and stop."""

from typing import Any
from uuid import UUID

import pytest

from events.ids import derived_id
from events.jobs import JobStatus, SubStatus
from fixtures.engine import JOB_ID, Driven, planned
from processor.workflows.commands import Completed, Failed, Progress, Stopped

REMOTE = {"uses": "remote/gpu"}
KEY = ("one", None)


def driven(step: dict[str, Any] | None = None, **document: Any) -> Driven:
    job = Driven(planned({"steps": {"one": REMOTE | (step or {})}, **document}))
    job.start()
    return job


def test_each_attempt_is_a_task_of_its_own_and_its_name_follows_from_the_attempt() -> None:
    job = driven({"retry": {"max": 1, "backoff": 1, "jitter": 0}})
    first = job.node("one").child
    assert first == derived_id(JOB_ID, "one:None:1")
    job.fail("one")
    job.after(1)
    assert job.node("one").child == derived_id(JOB_ID, "one:None:2")
    assert job.node("one").attempt == 2


def test_what_it_gives_is_its_output() -> None:
    job = driven({}, output={"gave": "${{ steps.one.output.text }}"})
    job.complete("one", {"text": "done"})
    assert job.state.status is JobStatus.COMPLETED
    assert job.last.model_dump()["result"] == {"gave": "done"}


@pytest.mark.parametrize(
    "late",
    [
        Completed(KEY, 1, "late"),
        Failed(KEY, 1, "late", "Too late."),
        Failed(KEY, 1, "worker_lost", "Too late.", crashed=True),
        Stopped(KEY, 1),
        Progress(KEY, 0.9, "late", 1),
        Completed(KEY, 3, "early"),
    ],
)
def test_what_another_attempt_says_changes_nothing(late: Any) -> None:
    job = driven({"retry": {"max": 5, "backoff": 1, "jitter": 0}})
    job.fail("one")
    assert job.tell(late) == [], "while it waits for its next attempt"
    job.after(1)
    assert job.tell(late) == []
    job.complete("one", "in time")
    assert job.last.model_dump()["result"] == "in time"


def test_a_lost_worker_is_a_crash_and_a_failure_of_its_own_is_not() -> None:
    job = driven()
    for attempt in (1, 2):
        job.fail("one", "worker_lost", crashed=True)
        assert job.state.sub_status is SubStatus.RETRYING
        job.after(60)
        assert job.node("one").attempt == attempt + 1
    job.fail("one", "worker_lost", crashed=True)
    assert job.last.model_dump()["error"]["code"] == "worker_lost"

    job = driven()
    job.fail("one", "no_gpu")
    assert job.state.status is JobStatus.FAILED


def test_its_time_is_that_of_one_attempt() -> None:
    job = driven({"timeout": 60, "retry": {"max": 1, "backoff": 1, "jitter": 0}})
    job.after(59)
    assert job.waiting == ["one"]
    job.after(1)
    job.after(1)
    assert job.node("one").attempt == 2
    job.after(59)
    assert job.waiting == ["one"]
    job.after(1)
    assert job.last.model_dump()["error"] == {"code": "step_timeout", "detail": "The step was ended after 60 seconds."}


def test_how_far_it_is_counts_and_is_said() -> None:
    job = Driven(planned({"steps": {"one": REMOTE, "two": {"uses": "noop", "depends": ["one"]}}}))
    job.start()
    job.tell(Progress(KEY, 0.5, "Halfway", 1))
    assert (job.state.progress_percent, job.state.step_message) == (25, "Halfway")
    assert job.state.sub_status is SubStatus.WAITING
    job.crash(crashed=False)
    assert job.state.progress_percent == 25
    assert job.node("one").attempt == 1, "whoever holds the job may change: its worker need not know"


def test_a_crash_of_the_jobs_worker_is_none_of_its_own() -> None:
    job = driven()
    for _ in range(5):
        job.crash()
    assert (job.waiting, job.node("one").attempt) == (["one"], 1)


def test_a_cancelled_one_is_waited_for_until_it_has_stopped() -> None:
    undo = {"uses": "remote/undo"}
    job = driven({"compensate": undo})
    job.cancel()
    assert job.waiting == ["one"], "somebody may still work on it"
    job.crash()
    assert job.waiting == ["one"]
    job.stopped("one")
    assert job.statuses["one"] == "CANCELLED"
    assert job.waiting == ["compensate:one"]
    job.complete("compensate:one")
    assert job.state.status is JobStatus.CANCELLED


@pytest.mark.parametrize(
    ("last_word", "became"),
    [
        (Completed(KEY, 1, "after all"), "COMPLETED"),
        (Failed(KEY, 1, "stopped", "The worker was told to stop."), "CANCELLED"),
        (Failed(KEY, 1, "worker_lost", "It was silent.", crashed=True), "CANCELLED"),
    ],
)
def test_the_last_word_of_one_that_is_stopped_ends_it(last_word: Any, became: str) -> None:
    job = driven({"retry": {"max": 5}})
    job.cancel()
    job.tell(last_word)
    assert job.statuses["one"] == became
    assert job.state.status is JobStatus.CANCELLED


def test_one_that_waits_for_its_next_attempt_is_cancelled_at_once() -> None:
    job = driven({"retry": {"max": 5, "backoff": 3600}})
    job.fail("one")
    job.cancel()
    assert job.state.status is JobStatus.CANCELLED


def test_a_paused_job_takes_what_comes_and_begins_nothing() -> None:
    job = Driven(planned({"steps": {"one": REMOTE, "two": REMOTE | {"depends": ["one"]}}}))
    job.start()
    job.pause()
    job.complete("one", 1)
    assert job.waiting == []
    job.resume()
    assert job.waiting == ["two"]


def test_the_items_of_a_map_are_tasks_each() -> None:
    job = driven({"map": {"items": [1, 2, 3], "parallel": 2}})
    assert job.waiting == [("one", 0), ("one", 1)]
    names: set[UUID] = {job.node("one", item).child for item in (0, 1)}
    assert len(names) == 2
    job.complete("one", "a", item=1)
    assert job.waiting == [("one", 0), ("one", 2)]
    job.complete("one", "b", item=0)
    job.complete("one", "c", item=2)
    assert job.last.model_dump()["result"] == ["b", "a", "c"]


def test_a_queue_that_is_called_emit_emits_nothing() -> None:
    job = Driven(planned({"steps": {"one": {"uses": "remote/emit"}}}))
    job.start()
    job.complete("one", "no data")
    assert job.types == ["started", "completed"]
