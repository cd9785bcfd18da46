"""What happens to a job: `decide(state, command)` and `advance(state)` give facts, one by one; `fold.py` takes them
in.

No I/O and no clock: the same command on the same state gives the same facts. Whoever drives it lets the state evolve
after each fact, so that the next one is decided on what is true by then.
"""

from collections.abc import Iterator
from datetime import datetime

from events.jobs import JobStatus, StepStatus
from processor.workflows.begins import begin_step, begun
from processor.workflows.closing import compensate, leave
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
from processor.workflows.ends import (
    child_ended,
    current_node,
    emits,
    emitted,
    failure,
    finished_maps,
    node_under_way,
    none_runs,
    signalled,
    what_is_due,
)
from processor.workflows.facts import Began, Ended, Fact, Progressed, TakenOver, change_of, kept_as, of_job
from processor.workflows.limits import Limits
from processor.workflows.shares import report
from processor.workflows.state import JobState, Phase


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
            node = current_node(state, command.key, command.attempt)
            if node is not None and emits(state, command.key):
                yield from emitted(command, node)
            elif node is not None:
                kept = kept_as(command.output, command.blob, command.artifacts)
                yield change_of(command.key, StepStatus.COMPLETED, node, **kept)
        case Failed():
            node = current_node(state, command.key, command.attempt)
            if node is not None:
                yield failure(state, command, node, now, limits)
        case Stopped():
            node = current_node(state, command.key, command.attempt)
            if node is not None and state.phase is Phase.STOPPING:
                yield change_of(command.key, StepStatus.CANCELLED, node)
            elif node is not None:
                detail = f"The step ended in attempt {node.attempt}, and nobody had told it to."
                yield failure(
                    state, Failed(command.key, command.attempt, "step_crashed", detail, crashed=True), node, now, limits
                )
        case Progress():
            node = node_under_way(state, command.key)
            if node is not None and command.attempt in (None, node.attempt):
                report(state, command.key, command.done)
                yield Progressed(command.message, command.key[0])
        case Tick():
            yield from what_is_due(state, now, limits)
        case Park():
            if not state.parked:
                yield command
        case GiveUp():
            if state.status is JobStatus.PENDING:
                yield Began()
            if state.outcome is None:
                yield of_job(command.code, command.detail)
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
                yield from what_is_due(state, now, limits)
        case Signal():
            yield command
        case ChildEnded():
            yield from child_ended(state, command, now, limits)


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
                yield change_of(key, StepStatus.FAILED, node, error={"code": "step_crashed", "detail": detail})
    yield from what_is_due(state, now, limits)
    if command.taken_over and state.phase is Phase.STOPPING:
        yield from none_runs(state)


def advance(state: JobState, now: datetime, limits: Limits) -> Iterator[Fact]:
    """Whatever can follow now. Who stops in between, and begins again later, misses nothing."""
    while state.status is JobStatus.PROCESSING:
        before = (state.phase, state.changed)
        while state.ready and state.begins:
            yield from begin_step(state, next(iter(state.ready)), now, limits)
        while state.unsaid and state.begins:
            key = next(iter(state.unsaid))
            yield begun(state, key, state.plan.steps[key[0]].action, now, limits)
        if state.signals and state.awaiting:
            yield from signalled(state)
        if state.maps and state.phase in (Phase.RUNNING, Phase.STOPPING):
            yield from finished_maps(state)
        if state.phase is Phase.STOPPING:
            for key, node in list(state.held_back.items()):
                if node.child is None or node.status is StepStatus.RETRYING:
                    yield change_of(key, StepStatus.CANCELLED, node)
            if state.parked:
                yield from none_runs(state)
        if state.phase is Phase.COMPENSATING and not state.running and not state.held_back and not state.parked:
            yield from compensate(state, now, limits)
        if state.phase is Phase.EXITING and not state.running and not state.held_back:
            ended = yield from leave(state, now, limits)
            if ended:
                return
        if (state.phase, state.changed) == before:
            return
