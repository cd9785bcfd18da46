"""What a retry of a job does again, and what it does not."""

from typing import Any

import pytest

from events.jobs import Artifact, JobStatus, KeptBlob
from fixtures.engine import Driven, planned
from processor.workflows.commands import Begin, Completed
from processor.workflows.reuse import reusable

NOOP: dict[str, Any] = {"uses": "noop"}


def after(*names: str, **more: Any) -> dict[str, Any]:
    return {**NOOP, "depends": list(names), **more}


def started(steps: dict[str, Any], **more: Any) -> Driven:
    job = Driven(planned({"steps": steps, **more}))
    job.start()
    return job


def retried(former: Driven) -> Driven:
    job = Driven(former.plan)
    job.tell(Begin(reused=reusable(former.state)))
    return job


def test_what_was_finished_is_not_done_again() -> None:
    former = started({"a": NOOP, "b": after("a"), "c": after("b"), "d": after("a")})
    former.complete("a", {"n": 1})
    former.complete("b", {"n": 2})
    former.fail("c")
    former.stopped("d")
    job = retried(former)
    assert job.running == ["d", "c"]
    assert job.state.output_of(("b", None)) == {"n": 2}
    assert [change["step"] for change in job.changes if change.get("reused")] == ["a", "b"]
    assert job.finish() is JobStatus.COMPLETED


def test_a_retry_is_as_far_as_what_it_takes_over() -> None:
    former = started({"a": {**NOOP, "weight": 3}, "b": after("a")})
    former.complete("a")
    former.fail("b")
    assert retried(former).last.progress_percent == 75


def test_a_retry_of_a_retry_takes_over_what_that_took_over() -> None:
    former = started({"a": NOOP, "b": after("a")})
    former.complete("a", "once")
    former.fail("b")
    again = retried(former)
    again.fail("b")
    last = retried(again)
    assert last.running == ["b"]
    assert last.state.output_of(("a", None)) == "once"


@pytest.mark.parametrize("done", [0, 1, 5, 9])
def test_finished_items_are_not_done_again(done: int) -> None:
    step = {**NOOP, "map": {"items": list(range(10)), "parallel": 3}}
    former = started({"each": step, "b": after("each")})
    for item in range(done):
        former.complete("each", f"item {item}", item=item)
    former.fail("each", item=done)
    former.finish()
    job = retried(former)
    assert job.running == [("each", item) for item in range(done, min(done + 3, 10))]
    assert job.last.progress_percent == done * 5
    while job.running[0] != "b":
        job.complete("each", f"item {job.running[0][1]}", item=job.running[0][1])
    assert job.state.output_of(("each", None)) == [f"item {item}" for item in range(10)]


def test_a_finished_map_is_not_done_again() -> None:
    former = started({"each": {**NOOP, "map": {"items": [1, 2]}}, "b": after("each")})
    former.complete("each", "x", item=0)
    former.complete("each", "y", item=1)
    former.fail("b")
    job = retried(former)
    assert job.running == ["b"]
    assert job.state.output_of(("each", None)) == ["x", "y"]


def test_items_that_a_map_could_do_without_are_tried_again_and_so_is_what_comes_after() -> None:
    step = {**NOOP, "map": {"items": [1, 2]}, "continue_on_failure": True}
    former = started({"each": step, "b": after("each"), "c": after("b")})
    former.complete("each", item=0)
    former.fail("each", item=1)
    former.complete("b")
    former.fail("c")
    job = retried(former)
    assert job.running == [("each", 1)]


def test_what_was_undone_is_done_again_and_what_comes_after_it_too() -> None:
    former = started({"a": {**NOOP, "compensate": NOOP}, "b": after("a"), "c": after("b"), "free": NOOP})
    for name in ("a", "b", "free"):
        former.complete(name)
    former.fail("c")
    former.complete("compensate:a")
    job = retried(former)
    assert job.statuses == {"free": "COMPLETED", "a": "RUNNING"}


def test_a_step_that_could_not_be_undone_is_done_again() -> None:
    """Nobody knows how far it was undone."""
    former = started({"a": {**NOOP, "compensate": NOOP}, "b": after("a")})
    former.complete("a")
    former.fail("b")
    former.fail("compensate:a")
    assert retried(former).running == ["a"]


def test_what_comes_after_something_that_failed_is_done_again() -> None:
    former = started({"a": {**NOOP, "continue_on_failure": True}, "b": after("a"), "c": after("b")})
    former.fail("a")
    former.complete("b")
    former.fail("c")
    assert retried(former).running == ["a"]


def test_waits_and_sub_workflows_that_are_over_are_not_waited_for_again() -> None:
    steps: dict[str, Any] = {
        "signal": {"wait": {"signal": "go"}},
        "sub": {"workflow": "other", "depends": ["signal"]},
        "say": {"uses": "emit", "with": {"data": {}}, "depends": ["sub"]},
        "last": after("say"),
    }
    former = started(steps)
    former.signal("go", "told")
    former.child_ended("sub", JobStatus.COMPLETED, {"n": 1})
    former.complete("say", {"data": {}})
    former.fail("last")
    job = retried(former)
    assert job.running == ["last"]
    assert "emitted" not in job.types, "it was said before"
    assert job.state.output_of(("signal", None)) == "told"


def test_outputs_that_are_kept_elsewhere_stay_there() -> None:
    former = started({"a": NOOP, "b": after("a")})
    blob = KeptBlob(blob="results/1", bytes=50_000)
    former.tell(Completed(("a", None), 1, blob=blob))
    former.fail("b")
    assert retried(former).node("a").blob == blob


def test_what_finished_steps_have_made_is_the_retrys_too() -> None:
    former = started({"a": NOOP, "each": {**NOOP, "map": {"items": [1, 2]}}, "b": after("a", "each")})
    made = [Artifact(name="a.csv", blob="artifacts/1", bytes=50, content_type="text/csv")]
    former.tell(Completed(("a", None), 1, {}, artifacts=made), Completed(("each", 1), 1, {}, artifacts=made))
    former.fail("each", item=0)
    again = retried(former)
    assert [change["artifacts"] for change in again.changes if "artifacts" in change] == [made, made]
    assert [retried(again).node(*key).artifacts for key in (("a",), ("each", 1))] == [made, made]


def test_a_job_that_was_cancelled_before_it_began_has_nothing_to_take_over() -> None:
    former = Driven(planned({"steps": {"a": NOOP}}))
    former.cancel()
    job = retried(former)
    assert (job.types, job.running) == (["started"], ["a"])


def test_all_can_be_taken_over() -> None:
    former = started({"a": NOOP}, output={"n": "${{ steps.a.output.n }}"})
    former.complete("a", {})
    assert former.state.status is JobStatus.FAILED
    job = retried(former)
    assert job.types == ["started", "failed"], "it fails at once, where the former one did"


def test_much_is_taken_over_in_events_of_a_bearable_size() -> None:
    former = started({"each": {**NOOP, "map": {"items": list(range(1_200)), "parallel": 1000}}, "b": after("each")})
    former.tell(*[Completed(("each", item), 1) for item in range(1_200)])
    former.fail("b")
    job = retried(former)
    assert job.types == ["started", "advanced", "advanced"]
    assert job.running == ["b"]
