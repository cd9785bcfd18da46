"""What happens to a job: `decide(state, command)` and `advance(state)` give facts, one by one; `state.py` takes them
in.

No I/O and no clock: the same command on the same state gives the same facts. Whoever drives it lets the state evolve
after each fact, so that the next one is decided on what is true by then.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from events.ids import derived_id
from events.jobs import Change, JobStatus, StepStatus
from processor.language import durations
from processor.language.definition import JOB, ON_EXIT, Retry
from processor.language.expressions import ExpressionError, as_text
from processor.workflows.commands import (
    Begin,
    Cancel,
    ChildEnded,
    Command,
    Completed,
    Failed,
    GiveUp,
    Park,
    Pause,
    Progress,
    Resume,
    Signal,
    Stopped,
    Tick,
)
from processor.workflows.plan import COMPENSATE, Kind, PlannedAction
from processor.workflows.scope import items_of, parameters_of, value_of
from processor.workflows.state import JobState, Key, Node, Phase, report

LONGEST_DETAIL = 2_000  # characters of what is said of a failure


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for steps that do not say otherwise."""

    attempts: int = 3  # of a step whose process, or whose worker, dies
    backoff: float = 1.0  # seconds before the second
    step_seconds: float = 3600.0  # that undoing something, or the exit, may wait for others
    largest_map: int = 100_000  # items


@dataclass(frozen=True, slots=True)
class Began:
    pass


@dataclass(frozen=True, slots=True)
class TakenOver:
    crashed: bool


@dataclass(frozen=True, slots=True)
class Progressed:
    message: str | None
    step: str


@dataclass(frozen=True, slots=True)
class Emitted:
    key: Key
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    status: JobStatus
    result: Any = None


Fact: TypeAlias = Change | Began | TakenOver | Progressed | Emitted | Ended | Pause | Resume | Cancel | Signal | Park


class Refused(Exception):
    """The command does not fit the job's state."""


def decide(state: JobState, command: Command, now: datetime, limits: Limits) -> Iterator[Fact]:
    """What the command itself says; nothing if it changes nothing. Then, `advance` gives what follows from it."""
    if state.status.terminal:
        raise Refused(f"The job is {state.status} already.")
    if getattr(command, "message", None) in state.messages:
        return  # it comes again
    yield from _command(state, command, now, limits)


def _command(state: JobState, command: Command, now: datetime, limits: Limits) -> Iterator[Fact]:
    match command:
        case Begin():
            yield from _begin(state, command, now, limits)
        case Completed():
            node = _current(state, command.key, command.attempt)
            if node is not None and _emits(state, command.key):
                yield from _emitted(command, node)
            elif node is not None:
                yield _change(command.key, StepStatus.COMPLETED, node, **_kept(command.output, command.blob))
        case Failed():
            node = _current(state, command.key, command.attempt)
            if node is not None:
                yield _failed(state, command, node, now, limits)
        case Stopped():
            node = _current(state, command.key, command.attempt)
            if node is not None and state.phase is Phase.STOPPING:
                yield _change(command.key, StepStatus.CANCELLED, node)
            elif node is not None:
                detail = f"The step ended in attempt {node.attempt}, and nobody had told it to."
                yield _failed(
                    state, Failed(command.key, command.attempt, "step_crashed", detail, crashed=True), node, now, limits
                )
        case Progress():
            node = _under_way(state, command.key)
            if node is not None and command.attempt in (None, node.attempt):
                report(state, command.key, command.done)
                yield Progressed(command.message, command.key[0])
        case Tick():
            yield from _due(state, now, limits)
        case Park():
            if not state.parked:
                yield command
        case GiveUp():
            if state.status is JobStatus.PENDING:
                yield Began()
            if state.outcome is None:
                yield _of_job(command.code, command.detail)
        case Cancel():
            if state.phase in (Phase.RUNNING, Phase.EXITING):
                yield command
                if state.status is JobStatus.PENDING:
                    yield Ended(JobStatus.CANCELLED)
        case Pause():
            if not state.paused and state.phase is Phase.RUNNING:
                yield command
        case Resume():
            if state.paused:
                yield command
                yield from _due(state, now, limits)
        case Signal():
            yield command
        case ChildEnded():
            yield from _child_ended(state, command, now, limits)


def _begin(state: JobState, command: Begin, now: datetime, limits: Limits) -> Iterator[Fact]:
    if state.status is JobStatus.PENDING:
        yield Began()
        yield from command.reused
        return
    if command.taken_over:
        yield TakenOver(command.crashed)
        for key, node in list(state.running.items()):
            if node.crashes >= limits.attempts and state.phase is not Phase.STOPPING:
                detail = f"The job was given up after its worker died {node.crashes} times with this step."
                yield _change(key, StepStatus.FAILED, node, error={"code": "step_crashed", "detail": detail})
    yield from _due(state, now, limits)
    if command.taken_over and state.phase is Phase.STOPPING:
        yield from _none_runs(state)


def advance(state: JobState, now: datetime, limits: Limits) -> Iterator[Fact]:
    """Whatever can follow now. Who stops in between, and begins again later, misses nothing."""
    while state.status is JobStatus.PROCESSING:
        before = (state.phase, state.changed)
        while state.ready and state.begins:
            yield from _begin_step(state, next(iter(state.ready)), now, limits)
        while state.unsaid and state.begins:
            key = next(iter(state.unsaid))
            yield _begun(state, key, state.plan.steps[key[0]].action, now, limits)
        if state.signals and state.awaiting:
            yield from _signalled(state)
        if state.maps and state.phase in (Phase.RUNNING, Phase.STOPPING):
            yield from _maps(state)
        if state.phase is Phase.STOPPING:
            for key, node in list(state.held_back.items()):
                if node.child is None or node.status is StepStatus.RETRYING:
                    yield _change(key, StepStatus.CANCELLED, node)
            if state.parked:
                yield from _none_runs(state)
        if state.phase is Phase.COMPENSATING and not state.running and not state.held_back and not state.parked:
            yield from _compensate(state, now, limits)
        if state.phase is Phase.EXITING and not state.running and not state.held_back:
            ended = yield from _exit(state, now, limits)
            if ended:
                return
        if (state.phase, state.changed) == before:
            return


def _none_runs(state: JobState) -> Iterator[Fact]:
    """Nobody has these steps, so nobody will say that they have stopped."""
    for key, node in list(state.running.items()):
        yield _change(key, StepStatus.CANCELLED, node)


def _emitted(command: Completed, node: Node) -> Iterator[Fact]:
    if command.blob is None:
        yield Emitted(command.key, command.output["data"])
        yield _change(command.key, StepStatus.COMPLETED, node, output={})
    else:
        detail = f"What is emitted goes to every subscriber: {command.blob['bytes']} bytes are too many."
        yield _change(command.key, StepStatus.FAILED, node, error={"code": "too_large", "detail": detail})


def _begin_step(state: JobState, name: str, now: datetime, limits: Limits) -> Iterator[Fact]:
    step = state.plan.steps[name]
    key = (name, None)
    try:
        if step.action.when is not None and not value_of(state, step.action.when):
            yield {"step": name, "became": StepStatus.SKIPPED}
            return
        if step.items is None:
            yield _begun(state, key, step.action, now, limits)
            return
        count = len(items_of(state, name))
    except ExpressionError as wrong:
        yield {"step": name, "became": StepStatus.FAILED, "error": _expression_failed(wrong)}
        return
    if count > limits.largest_map:
        detail = f"The map has {count} items; {limits.largest_map} are allowed."
        yield {"step": name, "became": StepStatus.FAILED, "error": {"code": "map_too_large", "detail": detail}}
        return
    yield {"step": name, "became": StepStatus.RUNNING, "items": count}


def _begun(state: JobState, key: Key, action: PlannedAction, now: datetime, limits: Limits, attempt: int = 1) -> Change:
    """An action's attempt begins: it works, or waits for a time or a message."""
    change: Change = {"step": key[0], "became": StepStatus.RUNNING}
    if key[1] is not None:
        change["item"] = key[1]
    if attempt > 1:
        change["attempt"] = attempt
    if action.kind.works:
        return change
    change["became"] = StepStatus.WAITING
    seconds = _longest_wait(state, key, action, limits)
    due = None if seconds is None else now + timedelta(seconds=seconds)
    try:
        if action.kind is Kind.TIMER:
            due = _in_seconds(now, parameters_of(state, key, action))
        elif action.kind is Kind.UNTIL:
            due = _at(parameters_of(state, key, action))
        elif action.kind is Kind.APPROVAL:
            change["output"] = {"question": as_text(parameters_of(state, key, action))}
    except ExpressionError as wrong:
        change["became"] = StepStatus.FAILED
        change["error"] = _expression_failed(wrong)
        return change
    if action.kind in (Kind.WORKFLOW, Kind.REMOTE):
        change["child"] = str(derived_id(state.id, f"{key[0]}:{key[1]}:{attempt}"))
    if due is not None:
        change["due_at"] = due.isoformat()
    return change


def _longest_wait(state: JobState, key: Key, action: PlannedAction, limits: Limits) -> float | None:
    """No cancel ends what undoes a step, so that it needs a time of its own."""
    return action.timeout or (None if key[0] in state.plan.steps else limits.step_seconds)


def _due(state: JobState, now: datetime, limits: Limits) -> Iterator[Fact]:
    if state.deadline is not None and now >= state.deadline and state.phase is Phase.RUNNING:
        seconds = state.plan.definition.timeout
        yield _of_job("job_timeout", f"The job was ended after {seconds:g} seconds.")
    if state.paused:
        return
    for key, node in list(state.held_back.items()):
        if node.due_at is None or node.due_at > now:
            continue
        action = state.plan.action(key[0])
        if node.status is StepStatus.RETRYING:
            if state.phase is not Phase.STOPPING and not state.parked:
                yield _begun(state, key, action, now, limits, node.attempt)
        elif action.kind in (Kind.TIMER, Kind.UNTIL):
            yield _change(key, StepStatus.COMPLETED, node, output={})
        else:
            seconds = _longest_wait(state, key, action, limits)
            code, detail = "wait_timeout", f"Nothing came within {seconds:g} seconds."
            if action.kind is Kind.REMOTE:
                code, detail = "step_timeout", f"The step was ended after {seconds:g} seconds."
            yield _failed(state, Failed(key, node.attempt, code, detail), node, now, limits)


def _signalled(state: JobState) -> Iterator[Fact]:
    """Each signal ends one wait, in the order in which they came and began."""
    for name in [name for name in state.signals if name in state.awaiting]:
        while name in state.signals and name in state.awaiting:
            key = next(iter(state.awaiting[name]))
            yield _answered(state, key, name)


def _answered(state: JobState, key: Key, name: str) -> Change:
    node = state.nodes[key]
    data, by = state.signals[name][0]
    if state.plan.action(key[0]).kind is Kind.SIGNAL:
        return _change(key, StepStatus.COMPLETED, node, signal=name, output=data)
    answer = data if isinstance(data, dict) else {}
    said = {"approved": answer.get("approved") is True, "by": by, "comment": answer.get("comment")}
    if said["approved"]:
        return _change(key, StepStatus.COMPLETED, node, signal=name, output=said)
    detail = f"{by or 'Somebody'} said no" + (f": {said['comment']}" if said["comment"] else ".")
    error = {"code": "rejected", "detail": detail[:LONGEST_DETAIL]}
    return _change(key, StepStatus.FAILED, node, signal=name, error=error)


def _maps(state: JobState) -> Iterator[Fact]:
    """Maps whose items are all finished, and those that are stopped."""
    for name, items in list(state.maps.items()):
        node = state.nodes[name, None]
        key = (name, None)
        if items.error is not None and not _open_items(state, name):
            yield _change(key, StepStatus.FAILED, node, error=items.error)
        elif items.finished == items.count:
            yield _change(key, StepStatus.COMPLETED, node)
        elif state.phase is Phase.STOPPING and not _open_items(state, name):
            yield _change(key, StepStatus.CANCELLED, node)


def _open_items(state: JobState, name: str) -> bool:
    return any(key[0] == name for held in (state.running, state.held_back) for key in held)


def _compensate(state: JobState, now: datetime, limits: Limits) -> Iterator[Fact]:
    """One at a time, the last that was begun first. One that fails does not keep the others from being undone."""
    if not state.begun:
        return
    name, item = next(reversed(state.begun))
    compensation = state.plan.steps[name].compensate
    assert compensation is not None
    yield from _begin_action(state, (COMPENSATE + name, item), compensation, now, limits)


def _exit(state: JobState, now: datetime, limits: Limits) -> Generator[Fact, None, bool]:
    """Whether that was the end."""
    result = None
    if state.outcome is None:
        try:
            result = _result(state)
        except ExpressionError as wrong:
            yield _of_job(**_expression_failed(wrong))
            return False
    if state.plan.on_exit is not None and (ON_EXIT, None) not in state.nodes and not state.leaves:
        if not state.parked:
            yield from _begin_action(state, (ON_EXIT, None), state.plan.on_exit, now, limits)
        return False
    if state.outcome is None:
        yield Ended(JobStatus.COMPLETED, result)
    else:
        yield Ended(JobStatus.CANCELLED if state.cancelled else JobStatus.FAILED)
    return True


def _begin_action(state: JobState, key: Key, action: PlannedAction, now: datetime, limits: Limits) -> Iterator[Fact]:
    skipped: Change = {"step": key[0], "became": StepStatus.SKIPPED}
    try:
        if action.when is not None and not value_of(state, action.when, key):
            yield _with_item(skipped, key)
            return
    except ExpressionError as wrong:
        yield _with_item({"step": key[0], "became": StepStatus.FAILED, "error": _expression_failed(wrong)}, key)
        return
    yield _begun(state, key, action, now, limits)


def _result(state: JobState) -> Any:
    plan = state.plan
    if plan.output is not None:
        return value_of(state, plan.output)
    outputs = {name: _as_kept(state, (name, None)) for name in plan.last}
    return outputs[plan.last[0]] if len(outputs) == 1 else outputs


def _as_kept(state: JobState, key: Key) -> Any:
    """An output, or where it is kept."""
    node = state.nodes[key]
    if node.map is None:
        return node.blob if node.blob is not None else node.output
    return [_as_kept(state, (key[0], item)) for item in range(node.map.count)]


def _failed(state: JobState, command: Failed, node: Node, now: datetime, limits: Limits) -> Change:
    error = {"code": command.code, "detail": command.detail[:LONGEST_DETAIL]}
    key = command.key
    if state.phase is Phase.STOPPING:
        return _change(key, StepStatus.CANCELLED, node, error=error)
    retry = state.plan.action(key[0]).retry
    if retry is None and command.crashed:
        retry = Retry(max=limits.attempts - 1, backoff=limits.backoff, factor=2.0, jitter=0.0)
    if retry is None or node.attempt > retry.max or (retry.on and command.code not in retry.on):
        return _change(key, StepStatus.FAILED, node, error=error)
    due = now + timedelta(seconds=pause_before(retry, node.attempt, state.id, key))
    return _change(key, StepStatus.RETRYING, node, attempt=node.attempt + 1, error=error, due_at=due.isoformat())


def pause_before(retry: Retry, failed: int, job: UUID, key: Key) -> float:
    """Seconds until the next attempt. The jitter is drawn from the attempt's name, so that a replay draws the same."""
    pause = min(retry.cap, retry.backoff * retry.factor ** min(failed - 1, 60))
    drawn = (derived_id(job, f"{key[0]}:{key[1]}:{failed}:jitter").int & 0xFFFF) / 0xFFFF
    return pause * (1 + retry.jitter * (2 * drawn - 1))


def _child_ended(state: JobState, command: ChildEnded, now: datetime, limits: Limits) -> Iterator[Fact]:
    node = state.held_back.get(command.key)
    if node is None or node.child != command.child or node.status is not StepStatus.WAITING:
        return
    if command.status is JobStatus.COMPLETED:
        yield _change(command.key, StepStatus.COMPLETED, node, **_kept(command.result, command.blob))
    elif state.phase is Phase.STOPPING:
        yield _change(command.key, StepStatus.CANCELLED, node)
    else:
        code, detail = command.error.get("code", "failed"), command.error.get("detail", "The job failed.")
        yield _failed(state, Failed(command.key, node.attempt, code, detail), node, now, limits)


def _current(state: JobState, key: Key, attempt: int) -> Node | None:
    """The step's node, if this attempt of it still runs; else somebody speaks too late."""
    node = _under_way(state, key)
    return node if node is not None and node.attempt == attempt else None


def _under_way(state: JobState, key: Key) -> Node | None:
    """A step that somebody works on: here, or a remote worker."""
    node = state.held_back.get(key)
    if node is not None and node.status is StepStatus.WAITING and state.plan.action(key[0]).kind is Kind.REMOTE:
        return node
    return state.running.get(key)


def _emits(state: JobState, key: Key) -> bool:
    action = state.plan.action(key[0])
    return action.kind is Kind.HERE and action.uses == "emit"


def _change(key: Key, became: StepStatus, node: Node, **more: Any) -> Change:
    """The newest change of a step says all that holds of it: who keeps track of it need not read the others."""
    change: Change = {"step": key[0], "became": became}
    if node.attempt > 1:
        change["attempt"] = node.attempt
    if node.child is not None:
        change["child"] = str(node.child)
    change.update(more)  # type: ignore[typeddict-item]  # the names are those of Change
    return _with_item(change, key)


def _with_item(change: Change, key: Key) -> Change:
    if key[1] is not None:
        change["item"] = key[1]
    return change


def _kept(output: Any, blob: Any) -> dict[str, Any]:
    return {"output": output} if blob is None else {"blob": blob}


def _of_job(code: str, detail: str) -> Change:
    return {"step": JOB, "became": StepStatus.FAILED, "error": {"code": code, "detail": detail}}


def _expression_failed(wrong: ExpressionError) -> Any:
    return {"code": "expression_failed", "detail": wrong.detail}


def _in_seconds(now: datetime, said: Any) -> datetime:
    seconds = durations.seconds(said)
    if seconds is None or not 0 <= seconds <= durations.LONGEST:
        raise ExpressionError("type", f"{said!r:.60} is no number of seconds, nor a time like 1h30m, up to a year.")
    return now + timedelta(seconds=seconds)


def _at(said: Any) -> datetime:
    try:
        at = datetime.fromisoformat(said)
    except (TypeError, ValueError):
        raise ExpressionError("type", f"{said!r:.60} is no time like 2026-01-31T12:00:00Z.") from None
    if at.tzinfo is None:
        raise ExpressionError("type", f"{said!r:.60} does not say its time zone.")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ExpressionError("type", f"{said!r:.60} is beyond the calendar.") from None
