"""A job's state: the fold of its events. What happens here happens again, exactly, whenever the log is read."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeAlias
from uuid import UUID

from events.jobs import (
    Artifact,
    Change,
    ChangingJobEvent,
    JobCancelRequested,
    JobClaimed,
    JobCreated,
    JobError,
    JobEvent,
    JobParked,
    JobPaused,
    JobResumed,
    JobSignalled,
    JobStarted,
    JobStatus,
    KeptBlob,
    StepError,
    StepStatus,
    SubStatus,
)
from processor.language.definition import JOB
from processor.workflows.plan import COMPENSATE, Plan, PlannedStep

Key: TypeAlias = tuple[str, int | None]  # a step, and its item if it is a map

FINISHED = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})
_HELD_BACK = frozenset({StepStatus.WAITING, StepStatus.RETRYING})


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


def begin(plan: Plan, tenant: str, id_: UUID, created: JobCreated) -> JobState:
    """The state after a job's first event."""
    state = JobState(
        plan, tenant, id_, created, created.status, created.progress_percent, created.current_step, created.step_message
    )
    state.awaited = {name: len(step.depends) for name, step in plan.steps.items()}
    state.ready = {name: None for name, awaited in state.awaited.items() if not awaited}
    state.unfinished = len(plan.steps)
    return state


def evolve(state: JobState, event: JobEvent, time: datetime) -> None:
    """What one event of the log makes of the state."""
    tell(state, event, time)
    if isinstance(event, ChangingJobEvent):
        for change in event.changes:
            apply(state, change)
    say(state, event, time)


def say(state: JobState, event: JobEvent, time: datetime) -> None:
    """Every event says the resulting state."""
    if event.step_message != state.step_message:
        state.message_at = time
    state.status = event.status
    state.progress_percent = event.progress_percent
    state.current_step = event.current_step
    state.step_message = event.step_message
    state.sub_status = event.sub_status
    if event.status.terminal:
        state.phase = Phase.DONE


def tell(state: JobState, event: JobEvent, time: datetime) -> None:
    """What an event says of the job as a whole."""
    match event:
        case JobStarted():
            state.started_at = time
            state.status = JobStatus.PROCESSING
            state.parked = False
        case JobClaimed():
            for node in state.running.values():
                node.crashes += event.crashed
            state.parked = False
            _go_on(state)
        case JobParked():
            state.parked = True
        case JobPaused():
            state.paused = True
        case JobResumed():
            state.paused = False
            _go_on(state)
        case JobCancelRequested() if state.phase is Phase.EXITING:
            # It has come to its end, and keeps it: only what is done at the exit is stopped.
            state.leaves = True
            state.phase = Phase.STOPPING
            _settle_phase(state)
        case JobCancelRequested():
            state.cancelled = True
            if state.outcome is None:
                reason = event.reason or "The job was cancelled."
                state.outcome = JobError(code="cancelled", detail=reason)
            _stop(state)
        case JobSignalled():
            state.signals.setdefault(event.name, deque()).append((event.data, event.by))
        case _:
            pass
    message: UUID | None = getattr(event, "message", None)
    if message is not None:
        state.messages.add(message)


def apply(state: JobState, change: Change) -> None:
    """What a change makes of a step, and of those that wait for it."""
    state.changed += 1
    name, item, became = change["step"], change.get("item"), change["became"]
    if name == JOB:
        error = change["error"]
        state.outcome = state.outcome or JobError(code=error["code"], detail=error["detail"])
        _stop(state)
        return
    key = (name, item)
    node = state.nodes.get(key)
    if node is None:
        node = state.nodes[key] = Node(became)
        if item is None:
            state.ready.pop(name, None)
        state.unsaid.pop(key, None)
        _undone(state, key)
    node.status = became
    node.attempt = change.get("attempt", node.attempt)
    node.error = change.get("error")
    due_at = change.get("due_at")
    node.due_at = None if due_at is None else datetime.fromisoformat(due_at)
    if "child" in change:
        node.child = UUID(change["child"])
    if "signal" in change:
        _taken(state, change["signal"])
    state.running.pop(key, None)
    if state.held_back.pop(key, None) is not None:
        _await(state, key, False)
    if "items" in change:
        _expand(state, name, node, change["items"])
    elif became is StepStatus.RUNNING:
        state.running[key] = node
        _compensable(state, key)
    elif became in _HELD_BACK:
        _report(state, key, node, 0.0)
        state.held_back[key] = node
        node.output = change.get("output")  # what is asked of whoever is to answer
        _await(state, key, became is StepStatus.WAITING)
        _compensable(state, key)
    else:
        node.output, node.blob = change.get("output"), change.get("blob")
        node.artifacts = change.get("artifacts", ())
        _finished(state, key, node)
    _settle_phase(state)


def _go_on(state: JobState) -> None:
    for name, items in state.maps.items():
        _begin_items(state, name, items)
    _settle_phase(state)


def _await(state: JobState, key: Key, waits: bool) -> None:
    """Whether it waits for a signal, if it ever does."""
    name = state.plan.action(key[0]).signal(key[1])
    if name is None:
        return
    if waits:
        state.awaiting.setdefault(name, {})[key] = None
    elif key in state.awaiting.get(name, ()):
        del state.awaiting[name][key]
        if not state.awaiting[name]:
            del state.awaiting[name]


def _taken(state: JobState, signal: str) -> None:
    waiting = state.signals[signal]
    waiting.popleft()
    if not waiting:
        del state.signals[signal]


def _expand(state: JobState, name: str, node: Node, count: int) -> None:
    """A map becomes its items. Those that a retried job had finished are there already."""
    items = node.map = state.maps[name] = MapItems(count)
    for item in range(count):
        reused = state.nodes.get((name, item))
        if reused is not None:
            items.finished += 1
            _report(state, (name, item), reused, 1.0)
    _begin_items(state, name, items)


def _finished(state: JobState, key: Key, node: Node) -> None:
    name, item = key
    if name not in state.plan.steps:
        return  # a compensation, or the exit
    step = state.plan.steps[name]
    if item is not None:
        if name in state.maps:
            _item_finished(state, key, node, state.maps[name], step)
        return
    state.maps.pop(name, None)
    _report(state, key, node, _counts(node, step))
    state.unfinished -= 1
    for after in step.dependents:
        state.awaited[after] -= 1
        if not state.awaited[after] and (after, None) not in state.nodes:
            state.ready[after] = None
    if node.status is StepStatus.FAILED and not step.continue_on_failure:
        _fail(state, node)


def _item_finished(state: JobState, key: Key, node: Node, items: MapItems, step: PlannedStep) -> None:
    _report(state, key, node, _counts(node, step))
    items.open -= 1
    items.finished += 1
    items.failed += node.status is StepStatus.FAILED
    if node.status is StepStatus.FAILED and not step.continue_on_failure:
        items.error = node.error
        _fail(state, node)
    _begin_items(state, key[0], items)


def _counts(node: Node, step: PlannedStep) -> float:
    """What the job got further by its end: a step that it fails with, or that is stopped, got it nowhere."""
    lost = node.status is StepStatus.CANCELLED or (node.status is StepStatus.FAILED and not step.continue_on_failure)
    return 0.0 if lost else 1.0


def _begin_items(state: JobState, name: str, items: MapItems) -> None:
    """As many as may be open at once. That an item runs is not worth a word in the log; that it waits is."""
    step = state.plan.steps[name]
    works = step.action.kind.works
    while items.begun < items.count and items.open < step.parallel and state.begins:
        key = (name, items.begun)
        items.begun += 1
        if key in state.nodes:
            continue
        items.open += 1
        if works:
            state.nodes[key] = state.running[key] = Node(StepStatus.RUNNING)
            _compensable(state, key)
        else:
            state.unsaid[key] = None


def _compensable(state: JobState, key: Key) -> None:
    step = state.plan.steps.get(key[0])
    if step is not None and step.compensate is not None:
        state.begun[key] = None


def _undone(state: JobState, key: Key) -> None:
    """A compensation that has begun is not begun again."""
    name, item = key
    if name.startswith(COMPENSATE):
        state.begun.pop((name.removeprefix(COMPENSATE), item), None)


def _report(state: JobState, key: Key, node: Node, done: float) -> None:
    """How much of a step, and so of the job, is done."""
    name, item = key
    if name not in state.plan.steps or (node.map is not None and node.map.count):
        return  # a map is done as its items are
    share = state.plan.steps[name].weight
    if item is not None:
        if name not in state.maps:
            return  # reused: counted when the map is expanded
        share /= state.maps[name].count
    state.done_weight += share * (done - node.done)
    node.done = done


def report(state: JobState, key: Key, done: float) -> None:
    """What a step says of itself; the log only keeps what it comes to in percent."""
    node = state.running.get(key) or state.held_back.get(key)
    if node is not None:
        _report(state, key, node, min(max(node.done, done), 1.0))  # in this order, no number is the former one


def _fail(state: JobState, node: Node) -> None:
    error = node.error or {"code": "failed", "detail": "A step failed."}
    state.outcome = state.outcome or JobError(code=error["code"], detail=error["detail"])
    _stop(state)


def _stop(state: JobState) -> None:
    if state.phase is Phase.RUNNING or (state.phase is Phase.EXITING and state.outcome is not None):
        state.phase = Phase.STOPPING
        state.paused = False
        state.ready.clear()
        state.unsaid.clear()
        _settle_phase(state)


def _settle_phase(state: JobState) -> None:
    quiet = not state.running and not state.held_back and not state.maps
    if state.phase is Phase.RUNNING and not state.unfinished and not state.paused:
        state.phase = Phase.EXITING
    if state.phase is Phase.STOPPING and quiet:
        state.phase = Phase.EXITING if state.outcome is None else Phase.COMPENSATING
    if state.phase is Phase.COMPENSATING and quiet and not state.begun:
        state.phase = Phase.EXITING
