"""What becomes of a job and of its steps, and what does not any more once they have ended."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from events.jobs import JobStatus, StepStatus, SubStatus
from fixtures.engine import Driven, message, planned, types_of
from processor.workflows.commands import (
    Begin,
    Cancel,
    ChildEnded,
    Command,
    Completed,
    Failed,
    GiveUp,
    Park,
    Pause,
    Progress,
    Resume,
    Signal,
    Stopped,
    Tick,
)
from processor.workflows.engine import Refused, decide
from processor.workflows.limits import Limits

NOOP = {"uses": "noop"}
UNDOABLE = {**NOOP, "compensate": NOOP}

EVERY_COMMAND: list[Command] = [
    Begin(),
    Begin(taken_over=True, crashed=True),
    Completed(("a", None), 1, {}),
    Failed(("a", None), 1, "broken", "It is."),
    Stopped(("a", None), 1),
    Progress(("a", None), 0.5, "Reading"),
    Tick(),
    Park(["noop@2"]),
    GiveUp("job_crashed", "No."),
    Cancel(message(1)),
    Pause(message(2)),
    Resume(message(3)),
    Signal(message(4), "go"),
    ChildEnded(UUID(int=5), ("a", None), JobStatus.COMPLETED),
]


def job(steps: dict[str, Any] | None = None, **more: Any) -> Driven:
    return Driven(planned({"steps": steps or {"a": NOOP}, **more}))


def completed() -> Driven:
    done = job()
    done.start()
    done.complete("a")
    return done


def failed() -> Driven:
    done = job()
    done.start()
    done.fail("a")
    return done


def cancelled() -> Driven:
    done = job()
    done.start()
    done.cancel()
    done.stopped("a")
    return done


def cancelled_in_the_queue() -> Driven:
    done = job()
    done.cancel()
    return done


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=repr)
@pytest.mark.parametrize(
    ("ended", "status", "types"),
    [
        (completed, JobStatus.COMPLETED, ["started", "completed"]),
        (failed, JobStatus.FAILED, ["started", "failed"]),
        (cancelled, JobStatus.CANCELLED, ["started", "cancel_requested", "cancelled"]),
        (cancelled_in_the_queue, JobStatus.CANCELLED, ["cancel_requested", "cancelled"]),
    ],
)
def test_what_has_ended_stays_as_it_is(
    ended: Callable[[], Driven], status: JobStatus, types: list[str], command: Command
) -> None:
    done = ended()
    assert done.types == types
    assert done.tell(command) == []
    assert done.state.status is done.last.status is status
    with pytest.raises(Refused):
        list(decide(done.state, command, done.now, Limits()))


@pytest.mark.parametrize("command", EVERY_COMMAND[2:8] + EVERY_COMMAND[11:12] + EVERY_COMMAND[13:], ids=repr)
def test_a_job_that_has_not_begun_ignores_what_is_said_of_its_steps(command: Command) -> None:
    waiting = job()
    events = waiting.tell(command)
    assert types_of(events) == (["parked"] if isinstance(command, Park) else [])
    assert waiting.state.status is JobStatus.PENDING
    waiting.start()
    assert waiting.finish() is JobStatus.COMPLETED


def test_a_step_works_from_its_begin_to_its_end() -> None:
    one = job()
    (started,) = one.start()
    assert (started.status, started.current_step) == (JobStatus.PROCESSING, "a")
    assert started.changes == [{"step": "a", "became": StepStatus.RUNNING}]
    (ended,) = one.complete("a", {"rows": 3})
    assert ended.result == {"rows": 3}
    assert ended.changes == [{"step": "a", "became": StepStatus.COMPLETED, "output": {"rows": 3}}]


@pytest.mark.parametrize("command", [Failed(("a", None), 1, "broken", "It is."), Failed(("a", None), 1, "x", "", True)])
def test_a_job_fails_with_its_step(command: Failed) -> None:
    one = Driven(planned({"steps": {"a": NOOP}}), limits=Limits(attempts=1))
    one.start()
    (ended,) = one.tell(command)
    assert ended.error.code == command.code
    assert ended.step_message == command.detail


@pytest.mark.parametrize(
    "late",
    [
        Completed(("a", None), 1, "late"),
        Failed(("a", None), 1, "late", "Late."),
        Stopped(("a", None), 1),
        Completed(("a", None), 3, "early"),
        Completed(("b", None), 1, "never begun"),
        Completed(("a", 0), 1, "no map"),
        Progress(("b", None), 0.9, "never begun"),
        ChildEnded(UUID(int=5), ("a", None), JobStatus.COMPLETED),
    ],
    ids=repr,
)
def test_an_attempt_that_is_not_the_present_one_says_nothing(late: Command) -> None:
    one = job({"a": {**NOOP, "retry": {"max": 3, "backoff": 1, "jitter": 0}}, "b": {**NOOP, "depends": ["a"]}})
    one.start()
    one.fail("a")
    one.after(1)
    assert one.node("a").attempt == 2
    assert one.tell(late) == []


def test_a_step_that_stopped_without_being_told_to_has_failed() -> None:
    """It was begun again at once, without an end and without a pause."""
    one = job()
    one.start()
    one.stopped("a")
    assert one.statuses["a"] == "RETRYING"
    assert one.node("a").error["code"] == "step_crashed"


@pytest.mark.parametrize("said", [Pause, Cancel, lambda id_: Signal(id_, "go", 1)])
def test_what_is_said_twice_is_heard_once(said: Callable[[UUID], Command]) -> None:
    one = job()
    one.start()
    assert len(one.tell(said(message(1)), said(message(1)))) == 1
    one.state = one.folded()
    assert one.tell(said(message(1))) == [], "nor does it matter who hears it the second time"


# What can be said in each phase.


def pending() -> Driven:
    return job({"a": UNDOABLE}, on_exit=NOOP)


def running() -> Driven:
    one = pending()
    one.start()
    return one


def waiting() -> Driven:
    one = job({"a": {"wait": {"signal": "go"}, "compensate": NOOP}}, on_exit=NOOP)
    one.start()
    return one


def retrying() -> Driven:
    one = job({"a": {**UNDOABLE, "retry": {"max": 1}}}, on_exit=NOOP)
    one.start()
    one.fail("a")
    return one


def paused() -> Driven:
    one = running()
    one.pause()
    return one


def stopping() -> Driven:
    one = job({"a": UNDOABLE, "b": NOOP}, on_exit=NOOP)
    one.start()
    one.fail("b")
    return one


def compensating() -> Driven:
    one = running()
    one.fail("a")
    return one


def exiting() -> Driven:
    one = running()
    one.complete("a")
    return one


def exiting_after_a_failure() -> Driven:
    one = compensating()
    one.complete("compensate:a")
    return one


PHASES = [
    #                        sub-status                 what follows from a cancel               and its end
    (pending, None, ["cancel_requested", "cancelled"], JobStatus.CANCELLED),
    (running, None, ["cancel_requested"], JobStatus.CANCELLED),
    (waiting, SubStatus.WAITING, ["cancel_requested"], JobStatus.CANCELLED),
    (retrying, SubStatus.RETRYING, ["cancel_requested"], JobStatus.CANCELLED),
    (paused, SubStatus.PAUSED, ["cancel_requested"], JobStatus.CANCELLED),
    (stopping, SubStatus.CANCELLING, [], JobStatus.FAILED),
    (compensating, SubStatus.COMPENSATING, [], JobStatus.FAILED),
    (exiting, None, ["cancel_requested"], JobStatus.COMPLETED),
    (exiting_after_a_failure, None, ["cancel_requested"], JobStatus.FAILED),
]


@pytest.mark.parametrize(("phase", "sub_status", "types", "end"), PHASES)
def test_a_cancel_stops_whatever_does_not_undo(
    phase: Callable[[], Driven], sub_status: SubStatus | None, types: list[str], end: JobStatus
) -> None:
    one = phase()
    assert one.sub_status is sub_status
    assert types_of(one.tell(Cancel(by="key:1", reason="Enough."))) == types
    assert one.finish() is end
    if end is JobStatus.CANCELLED:
        assert one.last.error.detail == "Enough."
    assert one.statuses.get("compensate:a") == (None if phase in (pending, exiting) else "COMPLETED")
    exits = {pending: None, exiting: "CANCELLED", exiting_after_a_failure: "CANCELLED"}
    assert one.statuses.get("on_exit") == exits.get(phase, "COMPLETED"), "what never began has no exit"


@pytest.mark.parametrize(("phase", "sub_status", "types", "end"), PHASES)
def test_a_pause_is_heard_until_the_end_is_decided(
    phase: Callable[[], Driven], sub_status: SubStatus | None, types: list[str], end: JobStatus
) -> None:
    one = phase()
    heard = phase in (pending, running, waiting, retrying)
    assert types_of(one.tell(Pause(by="key:1"))) == (["paused"] if heard else [])
    assert one.sub_status is (SubStatus.PAUSED if heard else sub_status)
    assert types_of(one.tell(Resume(by="key:1"))) == (["resumed"] if heard or phase is paused else [])
    assert one.sub_status is (None if phase is paused else sub_status)


@pytest.mark.parametrize(("phase", "sub_status", "types", "end"), PHASES)
def test_a_worker_that_dies_in_any_phase_changes_nothing(
    phase: Callable[[], Driven], sub_status: SubStatus | None, types: list[str], end: JobStatus
) -> None:
    one = phase()
    one.crash()
    if phase is stopping:
        assert one.statuses["a"] == "CANCELLED", "it runs nowhere"
        one.finish()
        assert one.state.status is end
        return
    assert one.sub_status is sub_status
    one.resume()
    one.signal("go", 1)
    one.after(10)
    assert one.finish() is (JobStatus.FAILED if end is JobStatus.FAILED else JobStatus.COMPLETED)


@pytest.mark.parametrize(("phase", "sub_status", "types", "end"), PHASES)
def test_a_job_parks_in_any_phase_and_goes_on_where_it_was(
    phase: Callable[[], Driven], sub_status: SubStatus | None, types: list[str], end: JobStatus
) -> None:
    one = phase()
    assert types_of(one.tell(Park(["noop@2"]))) == ["parked"] + ["advanced"] * (phase is stopping)
    assert one.tell(Park(["noop@2"])) == [], "it is parked already"
    undoes = phase in (stopping, compensating)  # which no cancel stops, so that none may seem to
    kept = SubStatus.COMPENSATING if undoes else SubStatus.PAUSED if phase is paused else SubStatus.PARKED
    assert one.sub_status is kept
    one.tell(Begin(taken_over=one.state.status is JobStatus.PROCESSING))
    if phase is not stopping:
        assert one.sub_status is sub_status
    one.resume()
    one.signal("go", 1)
    one.after(10)
    assert one.finish() is (JobStatus.FAILED if end is JobStatus.FAILED else JobStatus.COMPLETED)


@pytest.mark.parametrize(("phase", "sub_status", "types", "end"), PHASES)
def test_a_job_can_be_given_up_in_any_phase(
    phase: Callable[[], Driven], sub_status: SubStatus | None, types: list[str], end: JobStatus
) -> None:
    one = phase()
    one.tell(GiveUp("job_crashed", "Four workers."))
    one.finish()
    assert one.state.status is JobStatus.FAILED
    assert one.statuses.get("compensate:a") == (None if phase is pending else "COMPLETED")


def test_a_paused_job_ends_what_it_has_begun_and_begins_nothing() -> None:
    one = job({"a": NOOP, "b": {**NOOP, "depends": ["a"]}, "c": {"wait": {"signal": "go"}}})
    one.start()
    one.pause()
    one.complete("a")
    one.signal("go")
    assert one.statuses == {"a": "COMPLETED", "c": "COMPLETED"}
    one.resume()
    assert one.running == ["b"]


def test_a_paused_job_tries_nothing_again_until_it_is_resumed() -> None:
    one = job({"a": {**NOOP, "retry": {"max": 1, "backoff": 1, "jitter": 0}}})
    one.start()
    one.fail("a")
    one.pause()
    assert one.after(100) == []
    one.resume()
    assert one.running == ["a"]


def test_a_job_that_is_paused_before_it_begins_begins_nothing() -> None:
    one = job()
    one.pause()
    one.start()
    assert (one.state.status, one.running, one.sub_status) == (JobStatus.PROCESSING, [], SubStatus.PAUSED)
    one.resume()
    assert one.finish() is JobStatus.COMPLETED


def test_a_failure_ends_a_pause() -> None:
    one = job({"a": UNDOABLE})
    one.start()
    one.pause()
    one.fail("a")
    assert one.running == ["compensate:a"]


def test_crashes_are_counted_by_step_and_only_where_it_ran() -> None:
    one = Driven(planned({"steps": {"a": NOOP, "b": {"wait": {"timer": 5}}}}), limits=Limits(attempts=3))
    one.start()
    one.crash()
    one.crash(crashed=False)
    one.crash()
    assert (one.node("a").crashes, one.node("b").crashes) == (2, 0)
    one.crash()
    assert one.state.status is JobStatus.FAILED
    assert one.state.outcome is not None
    assert one.state.outcome.code == "step_crashed"


def test_a_job_that_only_waited_is_taken_up_without_a_word() -> None:
    one = waiting()
    one.state = one.folded()
    assert one.tell(Begin()) == []


@pytest.mark.parametrize("seconds", [9.9, 10.0])
def test_a_job_has_its_time(seconds: float) -> None:
    one = job({"a": UNDOABLE}, timeout=10, on_exit=NOOP)
    one.start()
    one.after(seconds)
    over = seconds >= 10
    assert one.sub_status is (SubStatus.CANCELLING if over else None)
    if over:
        one.stopped("a")
        one.after(1_000)
        assert one.finish() is JobStatus.FAILED
        assert one.last.error.code == "job_timeout"
        assert one.statuses["compensate:a"] == one.statuses["on_exit"] == "COMPLETED", "these have time"


def test_a_pause_does_not_stop_a_jobs_time() -> None:
    one = job(timeout=10)
    one.start()
    one.pause()
    one.after(10)
    assert one.sub_status is SubStatus.CANCELLING
