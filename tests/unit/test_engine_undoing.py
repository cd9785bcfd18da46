"""How a job ends that does not go well: what was begun is undone, and what is done at the end."""

from typing import Any

import pytest

from events.jobs import JobStatus, SubStatus
from fixtures.engine import Driven, planned
from processor.workflows.commands import Park
from processor.workflows.limits import Limits
from processor.workflows.scope import parameters_of

NOOP: dict[str, Any] = {"uses": "noop"}
UNDOABLE: dict[str, Any] = {**NOOP, "compensate": NOOP}


def started(steps: dict[str, Any], **more: Any) -> Driven:
    job = Driven(planned({"steps": steps, **more}))
    job.start()
    return job


def test_what_was_begun_is_undone_last_first_and_one_by_one() -> None:
    steps = {"a": UNDOABLE, "b": {**UNDOABLE, "depends": ["a"]}, "c": NOOP, "d": {**UNDOABLE, "depends": ["b"]}}
    job = started(steps)
    job.complete("a")
    job.complete("b")
    job.fail("d")
    job.stopped("c")
    for name in ("d", "b", "a"):
        assert job.running == [f"compensate:{name}"]
        assert (job.sub_status, job.state.current_step) == (SubStatus.COMPENSATING, f"compensate:{name}")
        job.complete(f"compensate:{name}")
    assert job.state.status is JobStatus.FAILED


def test_a_step_can_be_undone_from_its_begin_on() -> None:
    """It may have had its effect, whether we heard of its end or not."""
    job = started({"charge": UNDOABLE})
    job.crash()
    job.cancel()
    job.stopped("charge")
    assert job.running == ["compensate:charge"]


@pytest.mark.parametrize("how", ["retrying", "waiting"])
def test_what_was_begun_and_is_held_back_is_undone_too(how: str) -> None:
    step = {**UNDOABLE, "retry": {"max": 3}} if how == "retrying" else {"wait": {"signal": "go"}, "compensate": NOOP}
    job = started({"a": step})
    if how == "retrying":
        job.fail("a")
    job.cancel()
    assert job.running == ["compensate:a"]


def test_what_never_began_is_not_undone() -> None:
    steps = {
        "skipped": {**UNDOABLE, "when": "steps.before.status == 'FAILED'", "depends": ["before"]},
        "later": {**UNDOABLE, "depends": ["a"]},
        "before": NOOP,
        "a": NOOP,
    }
    job = started(steps)
    job.complete("before")
    job.fail("a")
    assert job.state.status is JobStatus.FAILED


def test_a_job_that_goes_well_undoes_nothing() -> None:
    assert started({"a": UNDOABLE}).finish() is JobStatus.COMPLETED


def test_a_failure_that_a_job_can_do_without_undoes_nothing() -> None:
    job = started({"a": {**UNDOABLE, "continue_on_failure": True}, "b": {**UNDOABLE, "depends": ["a"]}})
    job.fail("a")
    assert job.running == ["b"]
    job.fail("b")
    assert job.running == ["compensate:b"]
    job.complete("compensate:b")
    assert job.running == ["compensate:a"], "now it is"


def test_items_are_undone_one_by_one_with_what_they_were_given() -> None:
    step = {"compensate": {**NOOP, "with": {"what": "${{ item }}", "why": "${{ job.error.code }}"}}}
    steps = {"each": {**NOOP, **step, "map": {"items": ["x", "y", "z"], "parallel": 2}}}
    job = Driven(planned({"steps": steps}))
    job.start()
    job.complete("each", item=0)
    job.fail("each", item=2)
    job.stopped("each", item=1)
    for item, what in ((2, "z"), (1, "y"), (0, "x")):
        key = ("compensate:each", item)
        assert job.running == [key]
        action = job.plan.action("compensate:each")
        assert parameters_of(job.state, key, action) == {"what": what, "why": "broken"}
        job.complete("compensate:each", item=item)
    assert job.state.status is JobStatus.FAILED


def test_a_cancel_does_not_reach_what_undoes() -> None:
    job = started({"a": UNDOABLE, "b": UNDOABLE})
    job.fail("b")
    job.stopped("a")
    assert job.cancel() == []
    assert job.pause() == []
    assert job.running == ["compensate:b"]
    assert job.finish() is JobStatus.FAILED


def test_one_that_cannot_be_undone_does_not_keep_the_others_from_it() -> None:
    job = started(dict.fromkeys("abc", UNDOABLE))
    job.fail("c")
    job.stopped("a")
    job.stopped("b")
    job.fail("compensate:c")
    job.complete("compensate:b")
    job.fail("compensate:a")
    assert job.state.status is JobStatus.FAILED
    assert job.last.error.code == "broken"
    assert [job.statuses[f"compensate:{name}"] for name in "abc"] == ["FAILED", "COMPLETED", "FAILED"]


def test_undoing_is_tried_again_and_survives_its_worker() -> None:
    job = started({"a": {**NOOP, "compensate": {**NOOP, "retry": {"max": 1, "backoff": 1, "jitter": 0}}}})
    job.fail("a")
    job.fail("compensate:a")
    job.crash()
    job.after(1)
    assert job.node("compensate:a").attempt == 2
    job.crash()
    assert job.running == ["compensate:a"]
    assert job.finish() is JobStatus.FAILED


@pytest.mark.parametrize(
    ("when", "became"),
    [
        ("job.status == 'FAILED'", "RUNNING"),
        ("job.status == 'CANCELLED'", "SKIPPED"),
        ("steps.a.output.x", "FAILED"),
    ],
)
def test_undoing_has_its_condition(when: str, became: str) -> None:
    job = started({"a": {**NOOP, "compensate": {**NOOP, "when": when}}})
    job.fail("a")
    assert job.statuses["compensate:a"] == became


def test_what_undoes_may_wait_or_be_a_job_of_its_own() -> None:
    steps = {
        "a": {**NOOP, "compensate": {"wait": {"signal": "go"}}},
        "b": {**NOOP, "compensate": {"workflow": "other"}},
    }
    job = started(steps)
    job.fail("b")
    job.stopped("a")
    assert job.waiting == ["compensate:b"]
    job.child_ended("compensate:b", JobStatus.COMPLETED)
    assert job.waiting == ["compensate:a"]
    job.signal("go")
    assert job.state.status is JobStatus.FAILED


WAITS: list[tuple[dict[str, Any], str]] = [
    ({"wait": {"signal": "go"}}, "wait_timeout"),
    ({"wait": {"approval": "Now?"}}, "wait_timeout"),
    ({"uses": "remote/nobody"}, "step_timeout"),
    ({"workflow": "other"}, "wait_timeout"),
]


@pytest.mark.parametrize(("action", "code"), WAITS)
@pytest.mark.parametrize(("timeout", "seconds"), [(None, 60.0), (600.0, 600.0)])
def test_undoing_and_the_exit_do_not_wait_for_ever(
    action: dict[str, Any], code: str, timeout: float | None, seconds: float
) -> None:
    """No cancel ends what undoes a step, and nobody may come: it has a time, whether it says so or not."""
    action = action if timeout is None else {**action, "timeout": timeout}
    plan = planned({"steps": {"a": {**NOOP, "compensate": action}}, "on_exit": action})
    job = Driven(plan, limits=Limits(step_seconds=60.0))
    job.start()
    job.fail("a")
    for name in ("compensate:a", "on_exit"):
        assert job.waiting == [name]
        job.after(seconds - 1)
        assert job.waiting == [name]
        job.after(1)
        assert (job.statuses[name], job.node(name).error["code"]) == ("FAILED", code)
    assert job.state.status is JobStatus.FAILED


# At the end.


@pytest.mark.parametrize("exit_goes_well", [True, False])
@pytest.mark.parametrize("end", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_what_is_done_at_the_end_is_done_however_it_went_and_changes_nothing(
    end: JobStatus, exit_goes_well: bool
) -> None:
    on_exit = {**NOOP, "with": {"how": "${{ job.status }}"}}
    job = started({"a": UNDOABLE}, on_exit=on_exit)
    if end is JobStatus.COMPLETED:
        job.complete("a", {"rows": 3})
    elif end is JobStatus.FAILED:
        job.fail("a")
        job.complete("compensate:a")
    else:
        job.cancel()
        job.stopped("a")
        job.complete("compensate:a")
    assert job.running == ["on_exit"]
    assert parameters_of(job.state, ("on_exit", None), job.plan.action("on_exit")) == {"how": end.value}
    job.crash()
    job.complete("on_exit") if exit_goes_well else job.fail("on_exit")
    assert job.state.status is end
    if end is JobStatus.COMPLETED:
        assert job.last.result == {"rows": 3}


@pytest.mark.parametrize(("when", "became"), [("job.status == 'FAILED'", "SKIPPED"), ("job.error.code", "FAILED")])
def test_the_exit_has_its_condition(when: str, became: str) -> None:
    job = started({"a": NOOP}, on_exit={**NOOP, "when": when})
    job.complete("a")
    assert job.statuses["on_exit"] == became
    assert job.state.status is JobStatus.COMPLETED


def test_an_output_that_cannot_be_told_fails_the_job_and_undoes_it() -> None:
    job = started({"a": UNDOABLE}, output={"x": "${{ steps.a.output.nothing }}"}, on_exit=NOOP)
    job.complete("a", {})
    assert job.running == ["compensate:a"]
    job.complete("compensate:a")
    assert job.running == ["on_exit"]
    job.complete("on_exit")
    assert (job.state.status, job.last.error.code) == (JobStatus.FAILED, "expression_failed")


@pytest.mark.parametrize("action", [action for action, _ in WAITS] + [NOOP])
@pytest.mark.parametrize("fails", [False, True])
def test_a_cancel_ends_the_exit_and_leaves_the_end_as_it_is(action: dict[str, Any], fails: bool) -> None:
    job = started({"a": UNDOABLE}, on_exit=action)
    if fails:
        job.fail("a")
        job.complete("compensate:a")
    else:
        job.complete("a", {"rows": 3})
    job.cancel()
    node = job.node("on_exit")
    if node.child is not None and "workflow" in action:  # it is told, and ends
        assert job.sub_status is SubStatus.CANCELLING
        job.child_ended("on_exit", JobStatus.CANCELLED)
    elif node.status in ("RUNNING", "WAITING"):
        assert job.sub_status is SubStatus.CANCELLING
        job.stopped("on_exit")
    assert (node.status, job.state.status) == ("CANCELLED", JobStatus.FAILED if fails else JobStatus.COMPLETED)
    if not fails:
        assert job.last.result == {"rows": 3}


def test_a_parked_job_leaves_without_an_exit() -> None:
    job = started({"a": NOOP}, on_exit=NOOP)
    job.pause()
    job.complete("a")
    job.tell(Park(["noop@2"]))
    job.resume()
    assert job.running == []
    job.cancel()
    assert job.state.status is JobStatus.COMPLETED


@pytest.mark.parametrize("death", ["die", "crash"])
def test_an_exit_that_kills_its_workers_is_given_up(death: str) -> None:
    job = started({"a": NOOP}, on_exit=NOOP)
    job.complete("a")
    for _ in range(3):
        if death == "die":
            job.fail("on_exit", crashed=True)
            job.after(600)
        else:
            job.crash()
    assert job.state.status is JobStatus.COMPLETED
