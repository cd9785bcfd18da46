"""What is said of jobs. Streams are `job:<id>`.

Every event says the resulting status, percent, step and message: projections copy them, and the notifier
splices an event's bytes into a frame without decoding them. What became of single steps stands in `changes`.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Required
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

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


class SubStatus(StrEnum):
    """Why a job does not go on, or what else it does."""

    WAITING = "waiting"  # for a time, a signal, an approval, another job
    PAUSED = "paused"
    RETRYING = "retrying"  # a step has failed, and is tried again soon
    PARKED = "parked"  # nobody here can run one of its steps
    CANCELLING = "cancelling"  # its steps are told to stop
    COMPENSATING = "compensating"  # what was done is undone


class StepStatus(StrEnum):
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    RETRYING = "RETRYING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


class JobError(BaseModel):
    """Why a job failed: a stable code, and a sentence for the person who sent the input."""

    model_config = ConfigDict(frozen=True)

    code: str
    detail: str


class StepError(TypedDict):
    code: str
    detail: str


class KeptBlob(TypedDict):
    """Where an output is that is too large for an event."""

    blob: str
    bytes: int


class Artifact(TypedDict):
    """A file that a step has left for whoever has started the job."""

    name: str
    blob: str
    bytes: int
    content_type: str


class Change(TypedDict, total=False):
    """What became of a step, or of one item of a map."""

    step: Required[str]
    item: int  # its place in the list
    became: Required[StepStatus]
    attempt: int  # 1 if not said
    output: Any
    blob: KeptBlob  # in place of an output
    artifacts: list[Artifact]  # that it has made
    error: StepError
    due_at: str  # when a wait ends, or the next attempt begins (RFC 3339)
    items: int  # how many a map has
    child: str  # the job that a sub-workflow is
    signal: str  # the one that it waited for
    reused: bool  # from the job that this one retries


class Parent(BaseModel):
    """The step of another job that waits for this one."""

    model_config = ConfigDict(frozen=True)

    job_id: UUID
    step: str
    item: int | None = None
    attempt: int = 1
    depth: int = 1  # how many jobs are above this one


class JobEvent(Payload):
    status: JobStatus
    progress_percent: int
    current_step: str | None
    step_message: str | None
    sub_status: SubStatus | None = None
    eta_seconds: int | None = None


@event("job.created")
class JobCreated(JobEvent):
    in_frames: ClassVar[Mapping[str, str]] = {"version": "workflow_version"}

    workflow: str
    version: int = 1
    input: dict[str, Any]
    handlers: dict[str, int] = Field(default_factory=dict)  # the versions that its steps were written for
    priority: int = 0  # more is earlier
    start_at: datetime | None = None
    key: str | None = None  # jobs with the same one share a limit
    workflow_limit: int | None = None  # how many of the workflow may be under way
    key_limit: int | None = None
    unique: str | None = None  # no second unfinished job has it
    computes: bool = True  # it has a step that runs in a process of its own
    parent: Parent | None = None
    retry_of: UUID | None = None
    schedule: UUID | None = None
    fired_for: datetime | None = None  # the time that the schedule has named


class ChangingJobEvent(JobEvent):
    changes: list[Change] = Field(default_factory=list)


@event("job.started")
class JobStarted(ChangingJobEvent):
    """A worker has taken the job for the first time."""


@event("job.claimed")
class JobClaimed(ChangingJobEvent):
    """Another worker has taken the job over; whatever its former worker still writes conflicts."""

    crashed: bool = False  # the former one died with it


@event("job.advanced")
class JobAdvanced(ChangingJobEvent):
    """Steps have ended, begun, or wait."""


@event("job.progressed", conflatable=True)
class JobProgressed(JobEvent):
    pass


@event("job.emitted")
class JobEmitted(ChangingJobEvent):
    """A step has something to say: exactly once, with its end."""

    step: str
    item: int | None = None
    data: dict[str, Any]


@event("job.paused")
class JobPaused(JobEvent):
    by: str | None = None
    message: UUID | None = None


@event("job.resumed")
class JobResumed(ChangingJobEvent):
    by: str | None = None
    message: UUID | None = None


@event("job.parked")
class JobParked(JobEvent):
    """A step's handler, in the version that the job needs, is not known here."""

    missing: list[str]


@event("job.signalled")
class JobSignalled(ChangingJobEvent):
    name: str
    data: Any = None
    by: str | None = None
    message: UUID


@event("job.cancel_requested")
class JobCancelRequested(ChangingJobEvent):
    reason: str | None = None
    by: str | None = None
    message: UUID | None = None


@event("job.completed")
class JobCompleted(ChangingJobEvent):
    result: Any


@event("job.failed")
class JobFailed(ChangingJobEvent):
    error: JobError


@event("job.cancelled")
class JobCancelled(ChangingJobEvent):
    error: JobError
