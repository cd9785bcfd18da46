"""Bugs of the engine that were found before anybody met them. Each test tells how it would have been met."""

import math
from datetime import timedelta
from typing import Any

import pytest

from events.jobs import JobStatus, KeptBlob, StepStatus, SubStatus
from fixtures.engine import Driven, changes_of, planned, types_of
from processor.workflows.commands import (
    Begin,
    Cancel,
    ChildEnded,
    Completed,
    Failed,
    GiveUp,
    Park,
    Pause,
    Progress,
    Signal,
    Tick,
)
from processor.workflows.limits import Limits
from processor.workflows.reuse import reusable

NOOP = {"uses": "noop"}


def test_a_retried_map_goes_on_with_the_items_that_were_not_finished() -> None:
    """Taking in the first reused item took the map itself for begun: the new job had nothing to do, for ever."""
    document = {"steps": {"each": {**NOOP, "map": {"items": [10, 20, 30], "parallel": 2}}}}
    former = Driven(planned(document))
    former.start()
    former.complete("each", "ten", item=0)
    former.fail("each", item=1)
    former.stopped("each", item=2)
    assert former.state.status is JobStatus.FAILED

    again = Driven(planned(document))
    again.tell(Begin(reused=reusable(former.state)))
    assert again.running == [("each", 1), ("each", 2)]
    again.finish()
    assert again.state.status is JobStatus.COMPLETED
    assert again.last.result == ["ten", {"of": "each"}, {"of": "each"}]


def test_what_is_behind_a_skipped_map_is_not_done_again() -> None:
    """A map that was skipped was taken for one that was not finished. Found by the model."""
    steps = {
        "skipped": {**NOOP, "map": {"items": [1]}, "when": "inputs.wanted"},
        "a": {**NOOP, "depends": ["skipped"]},
        "b": {**NOOP, "depends": ["a"]},
    }
    plan = planned({"inputs": {"wanted": {}}, "steps": steps})
    former = Driven(plan, {"wanted": False})
    former.start()
    former.complete("a")
    former.fail("b")
    again = Driven(plan, {"wanted": False})
    again.tell(Begin(reused=reusable(former.state)))
    assert again.running == ["b"]


@pytest.mark.parametrize("quiet", [Pause(), Park(["noop@2"])])
def test_a_step_that_ends_right_after_a_pause_is_in_the_log(quiet: Any) -> None:
    """The pause and the step's end were decided in one batch, and `job.paused` has no room for changes: the end was
    lost with the worker's memory, and the step was done again by the next worker."""
    job = Driven(planned({"steps": {"a": NOOP, "b": {**NOOP, "depends": ["a"]}}}))
    job.start()
    events = job.tell(quiet, Completed(("a", None), 1, {"rows": 3}))
    assert types_of(events) == [quiet.__class__.__name__.lower().rstrip("e") + "ed", "advanced"]
    assert job.folded().nodes["a", None].output == {"rows": 3}


def test_a_parked_job_stays_parked_whatever_is_said_to_it() -> None:
    """A signal to a parked job let it go on at a worker that does not know its handlers: its step failed. And what
    the log said of it was not what its worker believed."""
    job = Driven(planned({"steps": {"a": NOOP, "b": {"wait": {"signal": "go"}}, "c": {**NOOP, "depends": ["b"]}}}))
    job.start()
    job.tell(Park(["noop@2"]))
    job.signal("go", 7)
    assert job.statuses == {"a": "RUNNING", "b": "COMPLETED"}, "c would need the handler"
    assert job.sub_status is SubStatus.PARKED
    job.tell(Progress(("a", None), 0.5))
    assert job.sub_status is SubStatus.PARKED
    job.tell(Begin(taken_over=True))
    assert job.state.sub_status is None
    assert job.running == ["a", "c"]
    assert job.finish() is JobStatus.COMPLETED


def test_a_parked_map_goes_on_when_it_is_taken() -> None:
    job = Driven(planned({"steps": {"each": {"workflow": "other", "map": {"items": [1, 2, 3], "parallel": 1}}}}))
    job.start()
    job.tell(Park(["noop@2"]))
    job.child_ended("each", JobStatus.COMPLETED, item=0)
    assert job.waiting == []
    job.tell(Begin(taken_over=True))
    assert job.waiting == [("each", 1)]


@pytest.mark.parametrize("compensated", [False, True])
def test_a_parked_job_can_be_cancelled(compensated: bool) -> None:
    """Its running steps run nowhere, so nobody would ever say that they have stopped."""
    step: dict[str, Any] = {**NOOP, "compensate": NOOP} if compensated else NOOP
    job = Driven(planned({"steps": {"a": step}}))
    job.start()
    job.tell(Park(["noop@2"]))
    job.cancel()
    assert job.statuses["a"] == "CANCELLED"
    if compensated:
        assert (job.state.status, job.running) == (JobStatus.PROCESSING, []), "nobody here can undo it"
        assert job.sub_status is SubStatus.COMPENSATING, "another cancel was promised, and nothing followed"
        job.tell(Begin(taken_over=True))
        assert job.running == ["compensate:a"]
        job.finish()
    assert job.state.status is JobStatus.CANCELLED


def test_a_job_can_be_cancelled_while_a_sub_workflow_is_to_be_tried_again() -> None:
    """The child that had failed was taken for one that is still to end: the job was CANCELLING for ever, or began
    another child when the pause was over."""
    job = Driven(planned({"steps": {"sub": {"workflow": "other", "retry": {"max": 3}}}}))
    job.start()
    job.child_ended("sub", JobStatus.FAILED)
    assert job.sub_status is SubStatus.RETRYING
    job.cancel()
    assert job.state.status is JobStatus.CANCELLED


def test_a_child_that_says_twice_that_it_failed_costs_one_attempt() -> None:
    """Mail comes again when its holder dies before it was discarded."""
    job = Driven(planned({"steps": {"sub": {"workflow": "other", "retry": {"max": 3}}}}))
    job.start()
    child = job.node("sub").child
    ended = ChildEnded(child, ("sub", None), JobStatus.FAILED, error={"code": "no", "detail": "No."})
    job.tell(ended)
    assert job.tell(ended) == []
    assert job.node("sub").attempt == 2
    assert job.tell(ChildEnded(child, ("sub", None), JobStatus.COMPLETED)) == [], "nor does it end what is retried"


def test_a_steps_last_change_still_names_its_child() -> None:
    """A projection that was made anew, and so saw both changes at once, had lost it. Found by the model."""
    job = Driven(planned({"steps": {"sub": {"workflow": "other"}}}))
    job.start()
    child = str(job.node("sub").child)
    job.child_ended("sub", JobStatus.COMPLETED)
    assert [change["child"] for change in job.changes] == [child, child]


def test_nothing_is_tried_again_once_the_job_has_failed_in_the_same_moment() -> None:
    """A wait's time and a pause before an attempt were over together: the wait failed the job, and the attempt began
    all the same, in a job that was being stopped."""
    steps = {
        "wait": {"wait": {"signal": "go"}, "timeout": 1},
        "again": {**NOOP, "retry": {"max": 3, "backoff": 1, "jitter": 0}},
    }
    job = Driven(planned({"steps": steps}))
    job.start()
    job.fail("again")
    events = job.after(1)
    assert [change["became"] for change in changes_of(events)] == [StepStatus.FAILED, StepStatus.CANCELLED]
    assert job.state.status is JobStatus.FAILED


def test_nothing_is_tried_again_once_the_jobs_time_is_over() -> None:
    steps = {"again": {**NOOP, "retry": {"max": 3, "backoff": 1, "jitter": 0}}}
    job = Driven(planned({"steps": steps, "timeout": 1}))
    job.start()
    job.fail("again")
    job.after(1)
    assert job.state.status is JobStatus.FAILED
    assert job.statuses == {"again": "CANCELLED"}


def test_a_paused_job_does_not_begin_its_exit() -> None:
    """Its last step ended during the pause, and so the pause ended too."""
    job = Driven(planned({"steps": {"a": NOOP}, "on_exit": NOOP}))
    job.start()
    job.pause()
    job.complete("a")
    assert (job.running, job.sub_status) == ([], SubStatus.PAUSED)
    job.resume()
    assert job.running == ["on_exit"]
    assert job.finish() is JobStatus.COMPLETED


def test_a_paused_job_whose_steps_are_done_can_be_cancelled() -> None:
    job = Driven(planned({"steps": {"a": {**NOOP, "compensate": NOOP}}}))
    job.start()
    job.pause()
    job.complete("a")
    job.cancel()
    assert job.running == ["compensate:a"]
    assert job.finish() is JobStatus.CANCELLED


def test_a_job_that_is_ending_does_not_say_that_it_is_paused() -> None:
    """It said so while its exit ran, and a resume was recorded that resumed nothing."""
    job = Driven(planned({"steps": {"a": NOOP}, "on_exit": NOOP}))
    job.start()
    job.pause()
    job.cancel()
    job.stopped("a")
    assert (job.running, job.sub_status) == (["on_exit"], None)
    assert job.resume() == []


def test_what_is_ignored_after_a_pause_is_not_worth_an_event() -> None:
    """The step's message was said with the pause, and taken back by whatever came next."""
    job = Driven(planned({"steps": {"a": NOOP}}))
    job.start()
    job.tell(Progress(("a", None), 0.3, "Reading"))
    job.pause()
    assert job.last.step_message == "Reading"
    assert job.after(60) == []


def test_what_a_remote_worker_says_is_not_taken_back_by_whatever_comes_next() -> None:
    job = Driven(planned({"steps": {"a": {"uses": "remote/gpu"}}}))
    job.start()
    assert job.last.step_message == "Waiting for a worker of gpu"
    job.now += timedelta(seconds=6)
    job.tell(Progress(("a", None), 0.3, "Epoch 3"))
    job.pause()
    job.resume()
    assert job.last.step_message == "Waiting for a worker of gpu"
    job.tell(Progress(("a", None), 0.4, "Epoch 4"))
    assert job.after(60) == []
    assert job.last.step_message == "Epoch 4"


def test_what_is_too_large_to_be_emitted_fails_its_step() -> None:
    """Its attempt keeps a large output as a blob: there were no data to emit, and the worker died of that."""
    job = Driven(planned({"steps": {"say": {"uses": "emit", "with": {"data": {}}}}}))
    job.start()
    job.tell(Completed(("say", None), 1, blob=KeptBlob(blob="results/1", bytes=100_000)))
    assert job.state.status is JobStatus.FAILED
    assert job.state.outcome is not None
    assert job.state.outcome.code == "too_large"


@pytest.mark.parametrize(
    ("until", "due"),
    [
        ("2027-01-02T12:00:00+02:00", "2027-01-02T10:00:00+00:00"),
        ("2027-01-02T12:00:00Z", "2027-01-02T12:00:00+00:00"),
        ("2027-01-02T12:00:00+05:30:15.5", "2027-01-02T06:29:44.500000+00:00"),  # PostgreSQL does not read this
    ],
)
def test_a_time_with_an_offset_is_told_in_utc(until: str, due: str) -> None:
    """`Waiting until 12:00:00Z` was two hours wrong."""
    job = Driven(
        planned({"inputs": {"at": {}}, "steps": {"rest": {"wait": {"until": "${{ inputs.at }}"}}}}), {"at": until}
    )
    job.start()
    assert job.changes[0]["due_at"] == due
    assert job.last.step_message == f"Waiting until {due[:19]}Z"


@pytest.mark.parametrize("until", ["9999-12-31T23:00:00-02:00", "0001-01-01T00:00:00+02:00"])
def test_a_time_beyond_the_calendar_fails_its_step(until: str) -> None:
    """In UTC there is no such year, and nobody could read the job any more."""
    job = Driven(
        planned({"inputs": {"at": {}}, "steps": {"rest": {"wait": {"until": "${{ inputs.at }}"}}}}), {"at": until}
    )
    job.start()
    assert job.state.status is JobStatus.FAILED


def test_an_approval_asks_what_it_was_told_to_ask() -> None:
    """It asked `Deploy inputs.version?`"""
    document = {"inputs": {"version": {}}, "steps": {"sure": {"wait": {"approval": "Deploy ${{ inputs.version }}?"}}}}
    job = Driven(planned(document), {"version": "1.2"})
    job.start()
    assert job.last.step_message == "Waiting for an answer: Deploy 1.2?"


def test_an_approval_whose_question_cannot_be_put_fails() -> None:
    document = {"inputs": {"all": {}}, "steps": {"sure": {"wait": {"approval": "Deploy ${{ inputs.all[3] }}?"}}}}
    job = Driven(planned(document), {"all": []})
    job.start()
    assert job.state.outcome is not None
    assert job.state.outcome.code == "expression_failed"


@pytest.mark.parametrize("name", ["jobs", "compensate", "on-exit"])
def test_a_step_may_be_called_nearly_anything(name: str) -> None:
    job = Driven(planned({"steps": {name: {**NOOP, "compensate": NOOP}, "b": NOOP}, "on_exit": NOOP}))
    job.start()
    job.complete(name)
    job.fail("b")
    assert job.running == [f"compensate:{name}"]
    assert job.finish() is JobStatus.FAILED
    assert job.statuses["on_exit"] == "COMPLETED"


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ({"steps": {"a": {**NOOP, "compensate": {"wait": {"approval": "Undone?"}}}, "b": NOOP}}, "compensate.a"),
        ({"steps": {"b": NOOP}, "on_exit": {"wait": {"approval": "Seen?"}}}, "on_exit"),
    ],
)
def test_what_undoes_and_what_comes_last_can_be_approved(document: dict[str, Any], name: str) -> None:
    """No signal may be called `compensate:a`, so nobody could answer."""
    job = Driven(planned(document))
    job.start()
    for step in ("a", "b"):
        if step in job.running:
            job.complete("a") if step == "a" else job.fail("b")
    assert len(job.waiting) == 1
    job.signal(name, {"approved": True})
    assert job.state.status is JobStatus.FAILED


def test_a_clock_that_is_behind_makes_no_job_end_in_the_past() -> None:
    job = Driven(planned({"steps": {"a": NOOP}}))
    job.start()
    job.now -= timedelta(seconds=30)
    (event,) = job.tell(Progress(("a", None), 0.5))
    assert event.eta_seconds == 0


def test_progress_that_is_no_number_is_none() -> None:
    job = Driven(planned({"steps": {"a": NOOP}}))
    job.start()
    job.tell(Progress(("a", None), math.nan), Progress(("a", None), -1.0), Progress(("a", None), math.inf))
    assert job.last.progress_percent == 99


def test_events_stay_small_however_much_steps_give() -> None:
    """500 outputs of 32 kB were one event of 16 MB, for every subscriber."""
    job = Driven(planned({"steps": {"each": {**NOOP, "map": {"items": list(range(100)), "parallel": 100}}}}))
    job.start()
    events = job.tell(*[Completed(("each", item), 1, "x" * 30_000) for item in range(100)])
    assert max(len(event.encode()) for event in events[:-1]) < 300_000
    assert len(changes_of(events)) == 101


def test_what_is_said_of_a_failure_stays_short() -> None:
    job = Driven(planned({"steps": {"a": NOOP}}))
    job.start()
    job.tell(Progress(("a", None), 0.5, "x" * 1_000_000))
    assert len(job.last.encode()) < 2_000
    job.tell(Failed(("a", None), 1, "broken", "x" * 1_000_000))
    assert len(job.last.encode()) < 10_000


def test_nobody_waits_for_steps_that_run_nowhere() -> None:
    """A successor that gives one step up, as it has killed too many workers, waited for the others to be stopped,
    which it had never started."""
    job = Driven(planned({"steps": {"a": NOOP, "b": NOOP}}), limits=Limits(attempts=1))
    job.start()
    job.crash()
    assert job.statuses == {"a": "FAILED", "b": "CANCELLED"}
    assert job.state.status is JobStatus.FAILED


def test_nobody_waits_for_steps_that_run_nowhere_when_the_time_is_over() -> None:
    job = Driven(planned({"steps": {"a": NOOP}, "timeout": 10}))
    job.start()
    job.now += timedelta(seconds=11)
    job.crash()
    assert job.state.status is JobStatus.FAILED


def test_a_signal_that_nobody_waits_for_costs_nothing() -> None:
    """Every later event of the job looked at all that waits for anything."""
    document = {"steps": {"each": {"wait": {"signal": "go"}, "map": {"items": list(range(500)), "parallel": 500}}}}
    job = Driven(planned(document))
    job.start()
    job.signal("come", number=1)
    looked_at = _Counted(job.state.held_back)
    job.state.held_back = looked_at
    job._check = False
    job.signal("go", number=2)
    assert looked_at.looked < 20


class _Counted(dict[Any, Any]):
    looked = 0

    def items(self) -> Any:
        for pair in super().items():
            self.looked += 1
            yield pair

    def values(self) -> Any:
        for value in super().values():
            self.looked += 1
            yield value


def test_what_a_map_gave_is_put_together_once() -> None:
    """Each of the next map's items did it again: 10,000 times 10,000."""
    document = {
        "steps": {
            "one": {**NOOP, "map": {"items": [1, 2, 3]}},
            "two": {
                **NOOP,
                "depends": ["one"],
                "map": {"items": [1, 2, 3]},
                "with": {"before": "${{ steps.one.output[index] }}"},
            },
        }
    }
    job = Driven(planned(document))
    job.start()
    for item in range(3):
        job.complete("one", item, item=item)
    assert job.state.output_of(("one", None)) == [0, 1, 2]
    assert job.state.output_of(("one", None)) is job.state.output_of(("one", None))


def test_a_job_that_is_given_up_while_it_is_paused_ends() -> None:
    job = Driven(planned({"steps": {"a": {"wait": {"signal": "go"}}}}))
    job.start()
    job.pause()
    job.tell(GiveUp("job_crashed", "Four workers."))
    assert job.state.status is JobStatus.FAILED


def test_a_cancel_in_the_same_batch_as_a_signal_and_a_tick_is_not_lost() -> None:
    job = Driven(planned({"steps": {"a": {"wait": {"signal": "go"}}, "b": {**NOOP, "depends": ["a"]}}}))
    job.start()
    job.tell(Signal(job.id, "go"), Tick(), Cancel())
    assert job.running == ["b"]
    job.stopped("b")
    assert job.state.status is JobStatus.CANCELLED
