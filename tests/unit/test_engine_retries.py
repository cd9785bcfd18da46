"""When a step is tried again, and how long it pauses before."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.jobs import JobStatus, SubStatus
from fixtures.engine import Driven, planned
from processor.language.definition import Retry
from processor.workflows.ends import pause_before
from processor.workflows.limits import Limits

JOB = UUID(int=1)


def started(retry: dict[str, Any] | None, *, limits: Limits | None = None) -> Driven:
    step = {"uses": "noop"} | ({} if retry is None else {"retry": {"jitter": 0, **retry}})
    job = Driven(planned({"steps": {"a": step}}), limits=limits)
    job.start()
    return job


def pauses(job: Driven, code: str = "broken", *, crashed: bool = False) -> list[float]:
    """It fails until it is not tried again."""
    found = []
    while job.state.running:
        job.fail("a", code, crashed=crashed)
        if job.state.held_back:
            pause = (job.node("a").due_at - job.now).total_seconds()
            found.append(pause)
            assert job.after(pause - 0.001) == [], "not before its time"
            job.after(0.001)
    return found


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (None, []),
        ({"max": 0}, []),
        ({"max": 1}, [1]),
        ({}, [1, 2, 4]),
        ({"max": 5, "backoff": 2, "factor": 3}, [2, 6, 18, 54, 162]),
        ({"max": 4, "backoff": 2, "factor": 3, "cap": 10}, [2, 6, 10, 10]),
        ({"max": 3, "backoff": 7, "factor": 1}, [7, 7, 7]),
        ({"max": 2, "backoff": 0}, [0, 0]),
        ({"max": 2, "on": ["broken"]}, [1, 2]),
        ({"max": 2, "on": ["other", "timeout"]}, []),
    ],
)
def test_a_step_is_tried_again_after_longer_and_longer_pauses(retry: Any, expected: list[float]) -> None:
    job = started(retry)
    assert pauses(job) == expected
    assert job.state.status is JobStatus.FAILED
    assert job.node("a").attempt == len(expected) + 1


def test_a_code_that_is_not_to_be_tried_again_ends_it_in_any_attempt() -> None:
    job = started({"on": ["flaky"]})
    job.fail("a", "flaky")
    job.after(1)
    job.fail("a", "broken")
    assert job.last.error.code == "broken"


def test_a_step_that_says_nothing_of_retries_is_tried_again_after_a_crash() -> None:
    job = started(None, limits=Limits(attempts=3, backoff=2.0))
    assert pauses(job, crashed=True) == [2, 4]
    assert started(None, limits=Limits(attempts=1)).fail("a", crashed=True)[-1].status is JobStatus.FAILED


def test_what_a_step_says_of_retries_holds_for_crashes_too() -> None:
    assert pauses(started({"max": 1, "backoff": 9}), crashed=True) == [9]
    assert pauses(started({"max": 1, "on": ["other"]}), crashed=True) == []


def test_while_a_step_pauses_the_job_says_so() -> None:
    job = started({"backoff": 90})
    job.fail("a")
    assert job.sub_status is SubStatus.RETRYING
    assert job.last.step_message == "Attempt 2 begins at 2027-01-01T00:01:30Z: It is broken."
    job.after(90)
    assert job.last.sub_status is None
    assert not job.last.step_message


def test_attempts_are_counted_without_a_gap_over_crashes() -> None:
    job = started({"max": 9})
    for attempt in range(2, 6):
        job.fail("a")
        job.crash()
        job.after(600)
        assert job.node("a").attempt == attempt
    assert [change.get("attempt", 1) for change in job.changes] == [1, 2, 2, 3, 3, 4, 4, 5, 5]


@given(
    st.builds(
        Retry,
        backoff=st.floats(0, 1e6),
        factor=st.floats(1, 100),
        jitter=st.floats(0, 1),
        cap=st.floats(0, 31_622_400),
    ),
    st.integers(1, 101),
)
def test_a_pause_is_within_its_jitter_and_the_same_whoever_draws_it(retry: Retry, failed: int) -> None:
    pause = pause_before(retry, failed, JOB, ("a", None))
    middle = min(retry.cap, retry.backoff * retry.factor ** min(failed - 1, 60))
    assert middle * (1 - retry.jitter) * 0.999 <= pause <= middle * (1 + retry.jitter) * 1.001
    assert pause == pause_before(retry, failed, JOB, ("a", None))
    timedelta(seconds=pause)


def test_jitter_spreads_the_items_of_a_map() -> None:
    retry = Retry(backoff=100, jitter=0.5)
    drawn = {pause_before(retry, 1, JOB, ("each", item)) for item in range(100)}
    assert len(drawn) > 90
    assert min(drawn) < 60
    assert max(drawn) > 140


@pytest.mark.parametrize("action", [{"workflow": "other"}, {"wait": {"signal": "x"}}])
def test_what_waits_is_tried_again_too(action: dict[str, Any]) -> None:
    step = {**action, "retry": {"max": 1, "backoff": 1, "jitter": 0}, "timeout": 10}
    job = Driven(planned({"steps": {"a": step}}))
    job.start()
    first = job.node("a").child
    if "workflow" in action:
        job.child_ended("a", JobStatus.FAILED)
    else:
        job.after(10)
    assert job.sub_status is SubStatus.RETRYING
    job.after(1)
    assert (job.sub_status, job.node("a").attempt) == (SubStatus.WAITING, 2)
    assert job.node("a").due_at == job.now + timedelta(seconds=10), "each attempt has its time"
    assert first is None or job.node("a").child != first, "another attempt is another job"
    job.after(10)
    assert job.last.error.code == "wait_timeout"
