"""How a job moves: what happens on each command, in each state."""

import pytest

from events.jobs import JobClaimed, JobCompleted, JobCreated, JobError, JobFailed, JobProgressed, JobStarted, JobStatus
from processor.workflows.engine import Claim, Command, Complete, Create, Fail, Job, Progress, Refused, decide, evolve

CREATE = Create("csv-profile", {"blob": "b"})
CLAIM = Claim("profile")
FAIL = Fail(JobError(code="not_csv", detail="It is a picture."))


def after(*commands: Command) -> Job:
    job: Job | None = None
    for command in commands:
        event = decide(job, command)
        if event is not None:
            job = evolve(job, event)
    assert job is not None
    return job


def test_a_job_goes_from_pending_over_processing_to_its_end() -> None:
    assert after(CREATE).status is JobStatus.PENDING
    assert isinstance(decide(None, CREATE), JobCreated)
    assert isinstance(decide(after(CREATE), CLAIM), JobStarted)
    assert after(CREATE, CLAIM) == Job(JobStatus.PROCESSING, 0, "profile", None)
    assert isinstance(decide(after(CREATE, CLAIM), Complete({"rows": 1})), JobCompleted)
    assert after(CREATE, CLAIM, Complete({"rows": 1})) == Job(JobStatus.COMPLETED, 100, "profile", None)
    assert isinstance(decide(after(CREATE, CLAIM), FAIL), JobFailed)
    assert after(CREATE, CLAIM, FAIL) == Job(JobStatus.FAILED, 0, "profile", "It is a picture.")


def test_whoever_takes_a_job_over_goes_on_where_it_was() -> None:
    former = after(CREATE, CLAIM, Progress(60, "read"))
    taken = decide(former, CLAIM)
    assert isinstance(taken, JobClaimed)
    assert evolve(former, taken) == former


def test_progress_never_goes_back_and_leaves_100_to_the_end() -> None:
    job = after(CREATE, CLAIM, Progress(60, None))
    assert decide(job, Progress(10, "starting over")) is None
    assert after(CREATE, CLAIM, Progress(100, None)).progress_percent == 99


def test_progress_is_an_event_when_percent_or_step_changes_and_only_then() -> None:
    job = after(CREATE, CLAIM, Progress(60, "one"))
    assert decide(job, Progress(60, "two")) is None
    assert isinstance(decide(job, Progress(61, "two")), JobProgressed)
    other = decide(job, Progress(60, "two", "report"))
    assert isinstance(other, JobProgressed)
    assert other.current_step == "report"


@pytest.mark.parametrize("end", [Complete({}), FAIL])
@pytest.mark.parametrize("late", [CREATE, CLAIM, Progress(50, None), Complete({}), FAIL])
def test_nothing_happens_to_a_finished_job(end: Command, late: Command) -> None:
    with pytest.raises(Refused):
        decide(after(CREATE, CLAIM, end), late)


@pytest.mark.parametrize("early", [CLAIM, Progress(50, None), Complete({}), FAIL])
def test_nothing_happens_to_a_job_that_is_not_there(early: Command) -> None:
    with pytest.raises(Refused):
        decide(None, early)
