"""What waits: for a time, a signal, an answer, another job."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from events.jobs import JobStatus, SubStatus
from fixtures.engine import BEGAN, Driven, message, planned
from processor.workflows.commands import ChildEnded, Signal

NOOP: dict[str, Any] = {"uses": "noop"}


def started(action: dict[str, Any], given: dict[str, Any] | None = None, **more: Any) -> Driven:
    inputs: dict[str, Any] = {name: {} for name in given or {}}
    job = Driven(planned({"steps": {"a": action}, "inputs": inputs, **more}), given)
    job.start()
    return job


@pytest.mark.parametrize(
    ("wait", "given", "seconds"),
    [
        ({"timer": 90}, None, 90),
        ({"timer": "1m30s"}, None, 90),
        ({"timer": 0}, None, 0),
        ({"timer": "${{ inputs.n * 2 }}"}, {"n": 1.5}, 3),
        ({"timer": "${{ inputs.n }}"}, {"n": "1m30s"}, 90),
        ({"until": "2027-01-01T00:05:00Z"}, None, 300),
        ({"until": "${{ inputs.at }}"}, {"at": "2027-01-01T02:05:00+02:00"}, 300),
        ({"until": "${{ inputs.at }}"}, {"at": "2026-01-01T00:00:00Z"}, -31_536_000),
    ],
)
def test_a_timer_ends_when_its_time_has_come(wait: dict[str, Any], given: Any, seconds: float) -> None:
    job = started({"wait": wait}, given)
    assert job.node("a").due_at == BEGAN + timedelta(seconds=seconds)
    assert job.sub_status is SubStatus.WAITING
    if seconds > 0:
        assert job.after(seconds - 0.001) == []
        job.after(0.001)
    else:
        job.after(0)
    assert job.state.status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("wait", "given"),
    [
        *[({"timer": "${{ inputs.x }}"}, x) for x in ("soon", -1, 1e9, None, True, [1], "5 minutes")],
        *[({"until": "${{ inputs.x }}"}, x) for x in ("soon", 7, None, "2027-01-01", "2027-13-01T00:00:00Z")],
        ({"until": "${{ inputs.x }}"}, "2027-01-01T00:00:00"),
    ],
)
def test_a_time_that_is_none_fails_its_step(wait: dict[str, Any], given: Any) -> None:
    job = started({"wait": wait, "continue_on_failure": True}, {"x": given})
    assert job.node("a").error["code"] == "expression_failed"
    assert job.state.status is JobStatus.COMPLETED


def test_a_restart_does_not_begin_a_timer_anew() -> None:
    job = started({"wait": {"timer": 100}})
    job.after(60)
    job.crash()
    job.after(40)
    assert job.state.status is JobStatus.COMPLETED


def test_a_time_that_came_while_nobody_worked_is_noticed_at_once() -> None:
    job = started({"wait": {"timer": 100}})
    job.now += timedelta(seconds=1000)
    job.crash()
    assert job.state.status is JobStatus.COMPLETED


def test_a_signal_ends_a_wait_and_gives_its_data() -> None:
    job = started({"wait": {"signal": "delivered"}})
    assert job.last.step_message == "Waiting for the signal delivered"
    job.signal("other", 1, number=1)
    assert job.waiting == ["a"]
    job.signal("delivered", {"to": "me"}, number=2)
    assert job.last.result == {"to": "me"}


def test_a_signal_that_comes_early_is_kept() -> None:
    job = Driven(planned({"steps": {"a": NOOP, "b": {"wait": {"signal": "go"}, "depends": ["a"]}}}))
    job.signal("go", "early")
    job.start()
    job.crash()
    job.complete("a")
    assert job.last.result == "early"


def test_each_signal_ends_one_wait_in_the_order_in_which_they_came() -> None:
    job = Driven(planned({"steps": {name: {"wait": {"signal": "go"}} for name in "abc"}}))
    job.signal("go", 1, number=1)
    job.start()
    job.signal("go", 2, number=2)
    job.tell(Signal(message(3), "go", 3), Signal(message(4), "go", 4))
    assert job.last.result == {"a": 1, "b": 2, "c": 3}


def test_a_signal_that_comes_twice_ends_one_wait() -> None:
    job = Driven(planned({"steps": {name: {"wait": {"signal": "go"}} for name in "ab"}}))
    job.start()
    job.signal("go", 1, number=1)
    assert job.signal("go", 1, number=1) == []
    assert job.waiting == ["b"]


@pytest.mark.parametrize("wait", [{"signal": "go"}, {"approval": "Go?"}])
def test_who_waits_too_long_gives_up(wait: dict[str, Any]) -> None:
    job = started({"wait": wait, "timeout": 60})
    assert job.after(59) == []
    job.after(1)
    assert job.last.error.code == "wait_timeout"
    assert job.last.error.detail == "Nothing came within 60 seconds."


def test_who_may_wait_for_ever_does() -> None:
    job = started({"wait": {"signal": "go"}})
    assert job.node("a").due_at is None
    assert job.after(1e8) == []


@pytest.mark.parametrize(
    ("data", "output"),
    [
        ({"approved": True}, {"approved": True, "by": "key:1", "comment": None}),
        ({"approved": True, "comment": "Fine."}, {"approved": True, "by": "key:1", "comment": "Fine."}),
    ],
)
def test_a_yes_ends_an_approval(data: Any, output: Any) -> None:
    job = started({"wait": {"approval": "Go?"}})
    job.signal("a", data, by="key:1")
    assert job.last.result == output


@pytest.mark.parametrize(
    ("data", "by", "detail"),
    [
        ({"approved": False}, "key:1", "key:1 said no."),
        ({"approved": False, "comment": "Too late"}, None, "Somebody said no: Too late"),
        ({"approved": "true"}, None, "Somebody said no."),
        ({}, None, "Somebody said no."),
        (None, None, "Somebody said no."),
        (True, None, "Somebody said no."),
    ],
)
def test_anything_but_a_yes_is_a_no_and_is_not_asked_again(data: Any, by: str | None, detail: str) -> None:
    job = started({"wait": {"approval": "Go?"}, "retry": {"max": 3}})
    job.signal("a", data, by=by)
    assert (job.last.error.code, job.last.error.detail) == ("rejected", detail)


def test_each_item_of_a_map_is_approved_by_its_own_name() -> None:
    job = started({"wait": {"approval": "Send ${{ item }}?"}, "map": {"items": ["x", "y"]}})
    assert job.last.step_message == "Waiting for an answer: Send x?"
    job.signal("a.1", {"approved": True}, number=1)
    assert job.waiting == [("a", 0)]
    job.signal("a", {"approved": True}, number=2)
    assert job.waiting == [("a", 0)], "nobody has asked this"
    job.signal("a.0", {"approved": True}, number=3)
    assert job.state.status is JobStatus.COMPLETED


def test_the_handlers_that_only_wait_are_waits() -> None:
    job = Driven(
        planned(
            {
                "steps": {
                    "a": {"uses": "sleep", "with": {"seconds": 5}},
                    "b": {"uses": "approve", "with": {"question": "Go?"}},
                }
            }
        )
    )
    job.start()
    assert job.waiting == ["a", "b"]
    job.after(5)
    job.signal("b", {"approved": True})
    assert job.state.status is JobStatus.COMPLETED


# Other jobs.

SUB: dict[str, Any] = {"workflow": "other"}


def test_a_sub_workflow_gives_its_result() -> None:
    job = started(SUB)
    assert job.last.step_message == "Waiting for a job of the workflow other"
    job.child_ended("a", JobStatus.COMPLETED, {"rows": 3})
    assert job.last.result == {"rows": 3}


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_sub_workflow_that_fails_fails_its_step(status: JobStatus) -> None:
    job = started(SUB)
    job.child_ended("a", status, code="upstream_gone")
    assert (job.state.status, job.last.error.code) == (JobStatus.FAILED, "upstream_gone")


def test_the_child_has_the_same_id_whoever_begins_it() -> None:
    one, other = started(SUB), started(SUB)
    assert one.node("a").child == other.node("a").child
    child = one.node("a").child
    one.crash()
    assert one.node("a").child == child


def test_another_child_says_nothing() -> None:
    job = started(SUB)
    assert job.tell(ChildEnded(UUID(int=9), ("a", None), JobStatus.COMPLETED)) == []


@pytest.mark.parametrize(
    ("status", "became"),
    [(JobStatus.CANCELLED, "CANCELLED"), (JobStatus.FAILED, "CANCELLED"), (JobStatus.COMPLETED, "COMPLETED")],
)
def test_a_cancelled_job_ends_when_its_child_has(status: JobStatus, became: str) -> None:
    job = started(SUB)
    job.cancel()
    assert job.sub_status is SubStatus.CANCELLING
    job.child_ended("a", status)
    assert job.statuses == {"a": became}
    assert job.state.status is JobStatus.CANCELLED


def test_a_cancelled_job_waits_for_its_child_no_longer_than_for_the_step() -> None:
    job = started({**SUB, "timeout": 60})
    job.cancel()
    job.after(60)
    assert job.state.status is JobStatus.CANCELLED


def test_items_are_children_of_their_own() -> None:
    job = started({**SUB, "map": {"items": [1, 2, 3], "parallel": 2}})
    children = {job.node("a", item).child for item in range(2)}
    job.child_ended("a", JobStatus.COMPLETED, "one", item=0)
    children.add(job.node("a", 2).child)
    assert len(children) == 3
    job.child_ended("a", JobStatus.COMPLETED, "three", item=2)
    job.child_ended("a", JobStatus.COMPLETED, "two", item=1)
    assert job.last.result == ["one", "two", "three"]
