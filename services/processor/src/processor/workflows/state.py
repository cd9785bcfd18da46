"""A job's state, as the fold of its events (`fold.py`) makes it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeAlias
from uuid import UUID

from events.jobs import Artifact, JobCreated, JobError, JobStatus, KeptBlob, StepError, StepStatus, SubStatus
from processor.workflows.plan import Plan

Key: TypeAlias = tuple[str, int | None]  # a step, and its item if it is a map

FINISHED = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})


class Phase(Enum):
    RUNNING = auto()
    STOPPING = auto()  # it has failed or was cancelled: what runs is told to end
    COMPENSATING = auto()  # what was begun is undone, last first
    EXITING = auto()
    DONE = auto()


@dataclass(slots=True)
class Node:
    """A step, or one item of a map."""

    status: StepStatus
    attempt: int = 1
    output: Any = None
    blob: KeptBlob | None = None
    artifacts: Sequence[Artifact] = ()
    error: StepError | None = None
    due_at: datetime | None = None
    child: UUID | None = None
    crashes: int = 0  # workers that died with it
    done: float = 0.0  # its share, 0 to 1
    map: "MapItems | None" = None


@dataclass(slots=True)
class MapItems:
    count: int
    begun: int = 0  # items before this one were begun
    open: int = 0  # begun and not finished
    finished: int = 0
    failed: int = 0
    error: StepError | None = None  # of the item that made it fail


@dataclass(slots=True)
class JobState:
    plan: Plan
    tenant: str
    id: UUID
    created: JobCreated
    status: JobStatus
    progress_percent: int
    current_step: str | None
    step_message: str | None
    sub_status: SubStatus | None = None
    phase: Phase = Phase.RUNNING
    outcome: JobError | None = None  # why it will not be completed …
    cancelled: bool = False  # … and whether somebody wanted that
    leaves: bool = False  # somebody does not want to wait for its exit
    paused: bool = False  # only while it is RUNNING: who wants it to end, wants it to go on
    parked: bool = False  # until a worker takes it that knows its handlers
    started_at: datetime | None = None
    nodes: dict[Key, Node] = field(default_factory=dict)
    running: dict[Key, Node] = field(default_factory=dict)  # in the order of their begin
    held_back: dict[Key, Node] = field(default_factory=dict)  # waiting or retrying
    maps: dict[str, MapItems] = field(default_factory=dict)  # that are not finished
    ready: dict[str, None] = field(default_factory=dict)  # steps whose dependencies are finished, in that order
    unsaid: dict[Key, None] = field(default_factory=dict)  # items whose turn it is to wait, which the log must say
    awaited: dict[str, int] = field(default_factory=dict)  # unfinished dependencies of each step
    unfinished: int = 0  # steps
    begun: dict[Key, None] = field(default_factory=dict)  # those with a compensation, in the order of their begin
    signals: dict[str, deque[tuple[Any, str | None]]] = field(default_factory=dict)  # that nobody has waited for yet
    awaiting: dict[str, dict[Key, None]] = field(default_factory=dict)  # who waits for a signal, by its name
    messages: set[UUID] = field(default_factory=set)  # that have had their effect
    loaded: dict[str, Any] = field(default_factory=dict)  # outputs that are kept as blobs, by key
    items: dict[str, list[Any]] = field(default_factory=dict)  # what maps go over, once it is known
    lists: dict[str, list[Any]] = field(default_factory=dict)  # what finished maps gave
    done_weight: float = 0.0
    changed: int = 0  # counts changes
    work: int = 0  # what evaluating its expressions has cost here so far
    message_at: datetime | None = None  # when the log last heard a step's message

    @property
    def deadline(self) -> datetime | None:
        seconds = self.plan.definition.timeout
        return None if seconds is None or self.started_at is None else self.started_at + timedelta(seconds=seconds)

    @property
    def begins(self) -> bool:
        """Whether steps may begin."""
        return self.phase is Phase.RUNNING and not self.paused and not self.parked

    def output_of(self, key: Key) -> Any:
        node, step = self.nodes[key], key[0]
        if node.map is None:
            return self.loaded[node.blob["blob"]] if node.blob is not None else node.output
        if step in self.lists:
            return self.lists[step]
        self.work += node.map.count
        outputs = [self.output_of((step, item)) for item in range(node.map.count) if (step, item) in self.nodes]
        if node.status in FINISHED:
            self.lists[step] = outputs
        return outputs
