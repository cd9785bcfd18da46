"""What is said of jobs. Streams are `job:<id>`.

Every event says the resulting status, percent, step and message: projections copy them, and the notifier
splices an event's bytes into a frame without decoding them.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from events.catalog import Payload, event


class JobStatus(StrEnum):
    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def terminal(self) -> bool:
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class JobError(BaseModel):
    """Why a job failed: a stable code, and a sentence for the person who sent the input."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str


class JobEvent(Payload):
    status: JobStatus
    progress_percent: int
    current_step: str | None
    step_message: str | None


@event("job.created")
class JobCreated(JobEvent):
    workflow: str
    input: dict[str, Any]


@event("job.started")
class JobStarted(JobEvent):
    """A worker has taken the job for the first time."""


@event("job.claimed")
class JobClaimed(JobEvent):
    """Another worker has taken the job over; whatever its former worker still writes conflicts."""


@event("job.progressed")
class JobProgressed(JobEvent):
    pass


@event("job.completed")
class JobCompleted(JobEvent):
    result: dict[str, Any]


@event("job.failed")
class JobFailed(JobEvent):
    error: JobError
