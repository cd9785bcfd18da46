"""What a remote worker is given to do, and what it says of it.

A worker's words are events of the stream `job:<id>` on their way to the intake. None of them gets into the log as it
is: whoever holds the job decides what follows from it.
"""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import Field

from events.catalog import Payload, event

LARGEST_BYTES = 1024 * 1024  # of a task's parameters, and of its output

STOPPED = "stopped"  # the code of what ended because it was told to
CRASHED = "step_crashed"  # of what ended in a way that nobody had foreseen


class RemoteTask(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of one step, on its way to a worker."""

    task_id: UUID  # of this attempt
    tenant: str
    job_id: UUID
    step: str
    item: int | None  # its place in the list, in a map
    attempt: int  # 1, 2, 3 …
    effect_id: UUID  # the same for every attempt: whoever gets it twice does it once
    parameters: Any
    until: str | None  # when the attempt times out (RFC 3339)
    beat_seconds: float  # how often a worker that has taken it says so
    lost_seconds: float  # after so long a silence, it is somebody else's


class StopTask(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody wants it any more; or nobody wants it of this worker."""

    task_id: UUID
    worker: str | None = None  # None: whoever has it


# PostgreSQL's text holds no NUL.
Worker = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]


class SaidOfTask(Payload):
    task_id: UUID
    worker: Worker = ""  # whoever takes a task without a name shares it with all others that have none


@event("step.beat")
class StepBeat(SaidOfTask):
    """It has the task, and lives."""


@event("step.progressed")
class StepProgressed(SaidOfTask):
    done: float = Field(ge=0, le=1, allow_inf_nan=False)
    message: str | None = None


@event("step.completed")
class StepCompleted(SaidOfTask):
    output: Any = None


@event("step.failed")
class StepFailed(SaidOfTask):
    code: Code
    detail: str
    crashed: bool = False  # it has not failed by its own judgement: tried again as a dead process is


@event("step.released")
class StepReleased(SaidOfTask):
    """It gives the task back, for somebody else to take."""


SAID: Mapping[str, type[SaidOfTask]] = {
    said.event_type: said for said in (StepBeat, StepProgressed, StepCompleted, StepFailed, StepReleased)
}
