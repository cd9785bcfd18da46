"""The fold of a job's events. What happens here happens again, exactly, whenever the log is read."""

from collections import deque
from datetime import datetime
from uuid import UUID

from events.jobs import (
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
    StepStatus,
)
from processor.language.definition import JOB
from processor.workflows.plan import COMPENSATE, Plan, PlannedStep
from processor.workflows.shares import gained, reach
from processor.workflows.state import JobState, Key, MapItems, Node, Phase

_HELD_BACK = frozenset({StepStatus.WAITING, StepStatus.RETRYING})


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
        reach(state, key, node, 0.0)
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
            reach(state, (name, item), reused, 1.0)
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
    reach(state, key, node, gained(node, step))
    state.unfinished -= 1
    for after in step.dependents:
        state.awaited[after] -= 1
        if not state.awaited[after] and (after, None) not in state.nodes:
            state.ready[after] = None
    if node.status is StepStatus.FAILED and not step.continue_on_failure:
        _fail(state, node)


def _item_finished(state: JobState, key: Key, node: Node, items: MapItems, step: PlannedStep) -> None:
    reach(state, key, node, gained(node, step))
    items.open -= 1
    items.finished += 1
    items.failed += node.status is StepStatus.FAILED
    if node.status is StepStatus.FAILED and not step.continue_on_failure:
        items.error = node.error
        _fail(state, node)
    _begin_items(state, key[0], items)


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
