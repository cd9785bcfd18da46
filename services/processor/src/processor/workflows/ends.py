"""How what has begun ends: by what its worker says, by a signal, another job or its time; or it is tried again."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from events.ids import derived_id
from events.jobs import Change, JobStatus, StepStatus
from processor.language.definition import Retry
from processor.workflows.begins import begun, longest_wait
from processor.workflows.commands import ChildEnded, Completed, Failed
from processor.workflows.facts import Emitted, Fact, change_of, kept_as, of_job
from processor.workflows.limits import Limits
from processor.workflows.plan import Kind
from processor.workflows.state import JobState, Key, Node, Phase

LONGEST_DETAIL = 2_000  # characters of what is said of a failure


def current_node(state: JobState, key: Key, attempt: int) -> Node | None:
    """The step's node, if this attempt of it still runs; else somebody speaks too late."""
    node = node_under_way(state, key)
    return node if node is not None and node.attempt == attempt else None


def node_under_way(state: JobState, key: Key) -> Node | None:
    """A step that somebody works on: here, or a remote worker."""
    node = state.held_back.get(key)
    if node is not None and node.status is StepStatus.WAITING and state.plan.action(key[0]).kind is Kind.REMOTE:
        return node
    return state.running.get(key)


def emits(state: JobState, key: Key) -> bool:
    action = state.plan.action(key[0])
    return action.kind is Kind.HERE and action.uses == "emit"


def emitted(command: Completed, node: Node) -> Iterator[Fact]:
    if command.blob is None:
        yield Emitted(command.key, command.output["data"])
        yield change_of(command.key, StepStatus.COMPLETED, node, output={})
    else:
        detail = f"What is emitted goes to every subscriber: {command.blob['bytes']} bytes are too many."
        yield change_of(command.key, StepStatus.FAILED, node, error={"code": "too_large", "detail": detail})


def failure(state: JobState, command: Failed, node: Node, now: datetime, limits: Limits) -> Change:
    error = {"code": command.code, "detail": command.detail[:LONGEST_DETAIL]}
    key = command.key
    if state.phase is Phase.STOPPING:
        return change_of(key, StepStatus.CANCELLED, node, error=error)
    retry = state.plan.action(key[0]).retry
    if retry is None and command.crashed:
        retry = Retry(max=limits.attempts - 1, backoff=limits.backoff, factor=2.0, jitter=0.0)
    if retry is None or node.attempt > retry.max or (retry.on and command.code not in retry.on):
        return change_of(key, StepStatus.FAILED, node, error=error)
    due = now + timedelta(seconds=pause_before(retry, node.attempt, state.id, key))
    return change_of(key, StepStatus.RETRYING, node, attempt=node.attempt + 1, error=error, due_at=due.isoformat())


def pause_before(retry: Retry, failed: int, job: UUID, key: Key) -> float:
    """Seconds until the next attempt. The jitter is drawn from the attempt's name, so that a replay draws the same."""
    pause = min(retry.cap, retry.backoff * retry.factor ** min(failed - 1, 60))
    drawn = (derived_id(job, f"{key[0]}:{key[1]}:{failed}:jitter").int & 0xFFFF) / 0xFFFF
    return pause * (1 + retry.jitter * (2 * drawn - 1))


def child_ended(state: JobState, command: ChildEnded, now: datetime, limits: Limits) -> Iterator[Fact]:
    node = state.held_back.get(command.key)
    if node is None or node.child != command.child or node.status is not StepStatus.WAITING:
        return
    if command.status is JobStatus.COMPLETED:
        yield change_of(command.key, StepStatus.COMPLETED, node, **kept_as(command.result, command.blob))
    elif state.phase is Phase.STOPPING:
        yield change_of(command.key, StepStatus.CANCELLED, node)
    else:
        code, detail = command.error.get("code", "failed"), command.error.get("detail", "The job failed.")
        yield failure(state, Failed(command.key, node.attempt, code, detail), node, now, limits)


def what_is_due(state: JobState, now: datetime, limits: Limits) -> Iterator[Fact]:
    if state.deadline is not None and now >= state.deadline and state.phase is Phase.RUNNING:
        seconds = state.plan.definition.timeout
        yield of_job("job_timeout", f"The job was ended after {seconds:g} seconds.")
    if state.paused:
        return
    for key, node in list(state.held_back.items()):
        if node.due_at is None or node.due_at > now:
            continue
        action = state.plan.action(key[0])
        if node.status is StepStatus.RETRYING:
            if state.phase is not Phase.STOPPING and not state.parked:
                yield begun(state, key, action, now, limits, node.attempt)
        elif action.kind in (Kind.TIMER, Kind.UNTIL):
            yield change_of(key, StepStatus.COMPLETED, node, output={})
        else:
            seconds = longest_wait(state, key, action, limits)
            code, detail = "wait_timeout", f"Nothing came within {seconds:g} seconds."
            if action.kind is Kind.REMOTE:
                code, detail = "step_timeout", f"The step was ended after {seconds:g} seconds."
            yield failure(state, Failed(key, node.attempt, code, detail), node, now, limits)


def signalled(state: JobState) -> Iterator[Fact]:
    """Each signal ends one wait, in the order in which they came and began."""
    for name in [name for name in state.signals if name in state.awaiting]:
        while name in state.signals and name in state.awaiting:
            key = next(iter(state.awaiting[name]))
            yield _answered(state, key, name)


def _answered(state: JobState, key: Key, name: str) -> Change:
    node = state.nodes[key]
    data, by = state.signals[name][0]
    if state.plan.action(key[0]).kind is Kind.SIGNAL:
        return change_of(key, StepStatus.COMPLETED, node, signal=name, output=data)
    answer = data if isinstance(data, dict) else {}
    said = {"approved": answer.get("approved") is True, "by": by, "comment": answer.get("comment")}
    if said["approved"]:
        return change_of(key, StepStatus.COMPLETED, node, signal=name, output=said)
    detail = f"{by or 'Somebody'} said no" + (f": {said['comment']}" if said["comment"] else ".")
    error = {"code": "rejected", "detail": detail[:LONGEST_DETAIL]}
    return change_of(key, StepStatus.FAILED, node, signal=name, error=error)


def finished_maps(state: JobState) -> Iterator[Fact]:
    """Maps whose items are all finished, and those that are stopped."""
    for name, items in list(state.maps.items()):
        node = state.nodes[name, None]
        key = (name, None)
        if items.error is not None and not _open_items(state, name):
            yield change_of(key, StepStatus.FAILED, node, error=items.error)
        elif items.finished == items.count:
            yield change_of(key, StepStatus.COMPLETED, node)
        elif state.phase is Phase.STOPPING and not _open_items(state, name):
            yield change_of(key, StepStatus.CANCELLED, node)


def _open_items(state: JobState, name: str) -> bool:
    return any(key[0] == name for held in (state.running, state.held_back) for key in held)


def none_runs(state: JobState) -> Iterator[Fact]:
    """Nobody has these steps, so nobody will say that they have stopped."""
    for key, node in list(state.running.items()):
        yield change_of(key, StepStatus.CANCELLED, node)
