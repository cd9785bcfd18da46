"""What a job is and may become. No I/O: `decide(state, command)` gives the payload of the next event, or refuses."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from events.jobs import (
    JobClaimed,
    JobCompleted,
    JobCreated,
    JobError,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobStarted,
    JobStatus,
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job's state: the fold of its events."""

    status: JobStatus
    progress_percent: int
    current_step: str | None
    step_message: str | None


@dataclass(frozen=True, slots=True)
class Create:
    workflow: str
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker takes the job: for the first time, or over from another."""

    step: str


@dataclass(frozen=True, slots=True)
class Progress:
    percent: int
    message: str | None
    step: str | None = None  # None: still the same one


@dataclass(frozen=True, slots=True)
class Complete:
    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fail:
    error: JobError


Command: TypeAlias = Create | Claim | Progress | Complete | Fail


class Refused(Exception):
    """The command does not fit the job's state."""


def decide(job: Job | None, command: Command) -> JobEvent | None:
    """The event that the command leads to; None if it changes nothing."""
    match job, command:
        case None, Create():
            return JobCreated(
                status=JobStatus.PENDING,
                progress_percent=0,
                current_step=None,
                step_message=None,
                workflow=command.workflow,
                input=command.input,
            )
        case Job(status=JobStatus.PENDING), Claim():
            return JobStarted(**_state(job, status=JobStatus.PROCESSING, current_step=command.step))
        case Job(status=JobStatus.PROCESSING), Claim():
            return JobClaimed(**_state(job, current_step=command.step))
        case Job(status=JobStatus.PROCESSING), Progress():
            # A worker that starts over begins at 0 again; its clients do not.
            percent = min(99, max(job.progress_percent, command.percent))
            step = command.step or job.current_step
            if (percent, step) == (job.progress_percent, job.current_step):
                return None
            progressed = _state(job, progress_percent=percent, current_step=step, step_message=command.message)
            return JobProgressed(**progressed)
        case Job(status=JobStatus.PROCESSING), Complete():
            done = _state(job, status=JobStatus.COMPLETED, progress_percent=100, step_message=None)
            return JobCompleted(**done, result=command.result)
        case Job(status=JobStatus.PENDING | JobStatus.PROCESSING), Fail():
            failed = _state(job, status=JobStatus.FAILED, step_message=command.error.detail)
            return JobFailed(**failed, error=command.error)
        case _:
            raise Refused(f"{type(command).__name__} does not fit a job that is {job.status if job else 'not there'}.")


def evolve(job: Job | None, event: JobEvent) -> Job:
    """Every event says the resulting state."""
    return Job(event.status, event.progress_percent, event.current_step, event.step_message)


def _state(job: Job, **changes: Any) -> dict[str, Any]:
    changed = replace(job, **changes)
    return {
        "status": changed.status,
        "progress_percent": changed.progress_percent,
        "current_step": changed.current_step,
        "step_message": changed.step_message,
    }
