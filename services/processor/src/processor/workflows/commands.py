"""What can be asked of a job: by its worker, as its steps end, and by people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from events.jobs import Artifact, Change, JobStatus, KeptBlob
from processor.workflows.state import Key


@dataclass(frozen=True, slots=True)
class Begin:
    """A worker has the job: for the first time, after a wait, or in place of another."""

    taken_over: bool = False
    crashed: bool = False  # whoever had it died
    reused: Sequence[Change] = ()  # what the job that this one retries had finished


@dataclass(frozen=True, slots=True)
class Completed:
    key: Key
    attempt: int
    output: Any = None
    blob: KeptBlob | None = None
    artifacts: Sequence[Artifact] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    key: Key
    attempt: int
    code: str
    detail: str
    crashed: bool = False  # it did not say so: its process died


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was told to end, and did. If nobody had told it to, that is a failure."""

    key: Key
    attempt: int


@dataclass(frozen=True, slots=True)
class Progress:
    key: Key
    done: float  # 0 to 1
    message: str | None = None
    attempt: int | None = None  # None: the one that is under way


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Park:
    missing: Sequence[str]  # handlers


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It cannot be worked on at all."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Cancel:
    message: UUID | None = None
    by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    message: UUID | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    message: UUID | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    message: UUID
    name: str
    data: Any = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """A sub-workflow's job is finished."""

    child: UUID
    key: Key
    status: JobStatus
    result: Any = None
    error: dict[str, str] = field(default_factory=dict)
    blob: KeptBlob | None = None  # where the result is, if it is large


Command: TypeAlias = (
    Begin
    | Completed
    | Failed
    | Stopped
    | Progress
    | Tick
    | Park
    | GiveUp
    | Cancel
    | Pause
    | Resume
    | Signal
    | ChildEnded
)
