"""In which order steps and the items of maps begin, and what is skipped."""

from typing import Any

import pytest

from events.jobs import JobStatus
from fixtures.engine import Driven, planned
from processor.workflows.limits import Limits

NOOP: dict[str, Any] = {"uses": "noop"}


def after(*names: str, **more: Any) -> dict[str, Any]:
    return {**NOOP, "depends": list(names), **more}


def started(steps: dict[str, Any], given: dict[str, Any] | None = None, **more: Any) -> Driven:
    document: dict[str, Any] = {"steps": steps, "inputs": {name: {} for name in given or {}}, **more}
    job = Driven(planned(document), given)
    job.start()
    return job


def test_steps_begin_as_soon_as_those_before_them_are_over_and_no_sooner() -> None:
    job = started({"a": NOOP, "b": NOOP, "c": after("a"), "d": after("b", "c")})
    assert job.running == ["a", "b"]
    job.complete("a")
    assert job.running == ["b", "c"]
    job.complete("c")
    assert job.running == ["b"]
    job.complete("b")
    assert job.running == ["d"]
    assert job.finish() is JobStatus.COMPLETED


def test_a_diamond_joins_once() -> None:
    job = started({"a": NOOP, **{f"b{n}": after("a") for n in range(5)}, "z": after(*[f"b{n}" for n in range(5)])})
    job.complete("a")
    assert len(job.running) == 5
    assert job.finish() is JobStatus.COMPLETED
    assert job.began() == ["a", "b0", "b1", "b2", "b3", "b4", "z"]


@pytest.mark.parametrize(
    ("when", "given", "expected"),
    [
        ("inputs.go", True, "RUNNING"),
        ("inputs.go", False, "SKIPPED"),
        ("inputs.go", None, "SKIPPED"),
        ("inputs.go", 0, "SKIPPED"),
        ("inputs.go > 3", 4, "RUNNING"),
        ("inputs.go > 3", 3, "SKIPPED"),
        ("inputs.go > 3", "four", "FAILED"),
        ("inputs.go.far", {}, "FAILED"),
    ],
)
def test_a_condition_decides_whether_a_step_runs(when: str, given: Any, expected: str) -> None:
    job = started({"a": {**NOOP, "when": when}}, {"go": given})
    assert job.statuses == {"a": expected}
    assert job.state.status is {
        "RUNNING": JobStatus.PROCESSING, "SKIPPED": JobStatus.COMPLETED, "FAILED": JobStatus.FAILED
    }[expected]  # fmt: skip


def test_what_comes_after_a_skipped_step_runs_all_the_same_and_can_ask_about_it() -> None:
    steps = {
        "a": {**NOOP, "when": "inputs.go"},
        "b": after("a"),
        "c": after("a", when="steps.a.status == 'SKIPPED'"),
        "d": after("a", when="steps.a.status == 'COMPLETED'"),
    }
    job = started(steps, {"go": False})
    assert job.statuses == {"a": "SKIPPED", "b": "RUNNING", "c": "RUNNING", "d": "SKIPPED"}


def test_a_chain_of_skipped_steps_is_over_at_once() -> None:
    steps = {f"s{n}": after(*([f"s{n - 1}"] if n else []), when="inputs.go") for n in range(50)}
    assert started(steps, {"go": False}).state.status is JobStatus.COMPLETED


def test_a_job_goes_on_without_a_step_that_it_can_do_without() -> None:
    job = started({"a": {**NOOP, "continue_on_failure": True}, "b": after("a", when="steps.a.error.code == 'broken'")})
    job.fail("a")
    assert job.statuses == {"a": "FAILED", "b": "RUNNING"}
    assert job.finish() is JobStatus.COMPLETED


def test_a_failure_stops_what_else_runs() -> None:
    job = started({"a": NOOP, "b": NOOP, "c": {"wait": {"timer": 9}}, "d": after("a")})
    job.fail("a")
    assert job.statuses == {"a": "FAILED", "b": "RUNNING", "c": "CANCELLED"}
    job.complete("b", "just in time")
    assert job.statuses == {"a": "FAILED", "b": "COMPLETED", "c": "CANCELLED"}
    assert job.state.status is JobStatus.FAILED


def test_a_second_failure_does_not_change_why_the_job_failed() -> None:
    job = started({"a": NOOP, "b": NOOP})
    job.fail("a", "first")
    job.fail("b", "second")
    assert job.statuses["b"] == "CANCELLED"
    assert job.last.error.code == "first"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, {"b": {"of": "b"}, "c": {"of": "c"}}),
        ({"one": "${{ steps.a.output.of }}", "two": [2]}, {"one": "a", "two": [2]}),
        ("${{ steps.b.status }}", "COMPLETED"),
    ],
)
def test_a_job_gives_what_its_output_says_or_what_its_last_steps_gave(output: Any, expected: Any) -> None:
    job = started({"a": NOOP, "b": after("a"), "c": after("a")}, **({} if output is None else {"output": output}))
    job.finish()
    assert job.last.result == expected


def test_a_single_last_steps_output_is_the_result() -> None:
    job = started({"a": NOOP, "b": after("a")})
    job.finish()
    assert job.last.result == {"of": "b"}


# Maps.


def mapped(count: int, parallel: int, **more: Any) -> dict[str, Any]:
    return {**NOOP, "map": {"items": list(range(count)), "parallel": parallel}, **more}


@pytest.mark.parametrize(("count", "parallel", "open_"), [(1, 1, 1), (5, 1, 1), (5, 2, 2), (5, 5, 5), (5, 16, 5)])
def test_no_more_items_are_open_than_may_be(count: int, parallel: int, open_: int) -> None:
    job = started({"each": mapped(count, parallel)})
    most = 0
    while job.running:
        most = max(most, len(job.running))
        job.complete("each", job.running[-1][1], item=job.running[-1][1])
    assert most == open_
    assert job.last.result == list(range(count)), "in their order, whichever came first"


@pytest.mark.parametrize("action", [NOOP, {"wait": {"signal": "go"}}, {"workflow": "other"}])
def test_a_map_of_nothing_is_over_at_once(action: dict[str, Any]) -> None:
    job = started({"each": {**action, "map": {"items": []}}, "b": after("each")})
    assert job.statuses == {"each": "COMPLETED", "b": "RUNNING"}
    assert job.state.output_of(("each", None)) == []


@pytest.mark.parametrize(
    ("items", "code"),
    [*[(none, "expression_failed") for none in (7, {"a": 1}, None, "abc")], ([1, 2, 3, 4], "map_too_large")],
)
def test_a_map_of_what_is_no_list_or_too_long_a_one_fails(items: Any, code: str) -> None:
    document = {"inputs": {"all": {}}, "steps": {"each": {**NOOP, "map": {"items": "${{ inputs.all }}"}}}}
    job = Driven(planned(document), {"all": items}, limits=Limits(largest_map=3))
    job.start()
    assert job.state.status is JobStatus.FAILED
    assert job.last.error.code == code


def test_a_map_goes_over_what_a_step_before_it_gave() -> None:
    steps = {"a": NOOP, "each": after("a", map={"items": "${{ steps.a.output.all }}", "parallel": 1})}
    job = started(steps)
    job.complete("a", {"all": ["x", "y"]})
    assert job.node("each").map.count == 2


def test_an_item_that_fails_stops_the_others_and_fails_the_map() -> None:
    job = started({"each": mapped(10, 3)})
    job.complete("each", item=1)
    job.fail("each", "bad_row", item=2)
    assert job.running == [("each", 0), ("each", 3)], "no other begins"
    job.stopped("each", item=0)
    assert job.state.status is JobStatus.PROCESSING
    job.stopped("each", item=3)
    assert job.statuses == {
        "each": "FAILED", ("each", 0): "CANCELLED", ("each", 1): "COMPLETED", ("each", 2): "FAILED",
        ("each", 3): "CANCELLED",
    }  # fmt: skip
    assert job.last.error.code == "bad_row"


def test_a_map_goes_on_without_items_that_it_can_do_without_and_says_how_many_failed() -> None:
    failing = {
        "b": after("each", when="steps.each.failed == 1"),
        "c": after("b", when="steps.b.failed + steps.each.failed > 1"),
    }
    job = started({"each": mapped(3, 1, continue_on_failure=True), **failing})
    job.complete("each", "zero", item=0)
    job.fail("each", item=1)
    job.complete("each", "two", item=2)
    assert job.statuses["each"] == "COMPLETED"
    assert job.state.output_of(("each", None)) == ["zero", None, "two"]
    assert job.running == ["b"], "it was told nowhere that one of them failed"
    job.complete("b")
    assert job.statuses["c"] == "SKIPPED"
    assert job.finish() is JobStatus.COMPLETED


@pytest.mark.parametrize("action", [NOOP, {"wait": {"signal": "go"}}, {"workflow": "other"}, {"uses": "remote/gpu"}])
def test_a_pause_in_the_middle_of_a_map_begins_no_item(action: dict[str, Any]) -> None:
    job = started({"each": {**action, "map": {"items": [1, 2, 3, 4], "parallel": 2}}})

    def open_items() -> list[Any]:
        return [*job.running, *job.waiting]

    def end(item: int) -> None:
        if "wait" in action:
            job.signal("go", number=item)
        elif action == NOOP:
            job.complete("each", item=item)
        else:
            job.child_ended("each", JobStatus.COMPLETED, item=item)

    end(0)
    assert open_items() == [("each", 1), ("each", 2)]
    job.pause()
    end(1)
    assert open_items() == [("each", 2)]
    job.crash(crashed=False)
    assert open_items() == [("each", 2)]
    job.resume()
    assert open_items() == [("each", 2), ("each", 3)]
    end(2)
    end(3)
    assert job.state.status is JobStatus.COMPLETED


@pytest.mark.parametrize("action", [NOOP, {"wait": {"signal": "go"}}, {"workflow": "other"}])
def test_a_cancel_in_the_middle_of_a_map_begins_no_item(action: dict[str, Any]) -> None:
    job = started({"each": {**action, "map": {"items": [1, 2, 3, 4], "parallel": 2}}})
    job.cancel()
    for item in (0, 1):
        if action == NOOP:
            job.stopped("each", item=item)
        elif "workflow" in action:
            job.child_ended("each", JobStatus.CANCELLED, item=item)
    assert job.state.status is JobStatus.CANCELLED
    assert job.statuses == {"each": "CANCELLED", ("each", 0): "CANCELLED", ("each", 1): "CANCELLED"}


def test_an_item_that_is_tried_again_keeps_its_place() -> None:
    job = started({"each": mapped(3, 1, retry={"max": 1, "backoff": 5, "jitter": 0})})
    job.fail("each", item=0)
    assert job.running == [], "none other takes its place"
    job.after(5)
    assert job.running == [("each", 0)]
    job.finish()
    assert job.state.status is JobStatus.COMPLETED


def test_items_are_given_themselves_and_their_places() -> None:
    from processor.workflows.scope import parameters_of

    steps = {"each": {**NOOP, "map": {"items": ["x", "y"]}, "with": {"what": "${{ item }}", "where": "${{ index }}"}}}
    job = started(steps)
    action = job.plan.steps["each"].action
    assert parameters_of(job.state, ("each", 1), action) == {"what": "y", "where": 1}


def test_of_an_items_begin_the_log_only_says_what_waits() -> None:
    """10,000 items that run are no 10,000 words."""
    job = started({"each": mapped(3, 3), "wait": {"wait": {"signal": "go"}, "map": {"items": [1, 2]}}})
    assert job.began() == ["each", "wait", ("wait", 0), ("wait", 1)]
