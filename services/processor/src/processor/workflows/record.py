"""From facts to events: what follows from some commands becomes as few events as can say it."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from events.envelope import encode_json
from events.jobs import (
    Change,
    ChangingJobEvent,
    JobAdvanced,
    JobCancelled,
    JobCancelRequested,
    JobClaimed,
    JobCompleted,
    JobEmitted,
    JobEvent,
    JobFailed,
    JobParked,
    JobPaused,
    JobProgressed,
    JobResumed,
    JobSignalled,
    JobStarted,
    JobStatus,
    StepStatus,
    SubStatus,
)
from processor.workflows.commands import Cancel, Command, Park, Pause, Resume, Signal, Tick
from processor.workflows.engine import advance, decide
from processor.workflows.facts import Began, Emitted, Ended, Fact, Progressed, TakenOver
from processor.workflows.fold import apply, say, tell
from processor.workflows.limits import Limits
from processor.workflows.plan import Kind
from processor.workflows.state import JobState, Phase

SECONDS_BETWEEN_MESSAGES = 5.0
# An event goes to every subscriber, so it must stay small; more becomes another event of the same append.
CHANGES_PER_EVENT = 500
OUTPUT_PER_EVENT = 128 * 1024  # bytes
LONGEST_MESSAGE = 500
# As expressions count it: some 20 ms, and the last evaluation. The leases of all jobs are renewed on the same loop.
WORK_PER_TURN = 40_000
WORK_PER_FACT = 64

_OWN_WORDS = frozenset({SubStatus.WAITING, SubStatus.RETRYING})  # their message is ours, and no step's

_TERMINAL: dict[JobStatus, type[JobEvent]] = {
    JobStatus.COMPLETED: JobCompleted,
    JobStatus.FAILED: JobFailed,
    JobStatus.CANCELLED: JobCancelled,
}


def record(state: JobState, commands: Iterable[Command], now: datetime, limits: Limits) -> list[JobEvent]:
    """Decide on the commands, one after the other, and let the state evolve. Returns all that the log is to hold,
    however long it takes."""
    events: list[JobEvent] = []
    while True:
        turn = Turn(state, now, limits)
        for _ in turn.decide(commands):
            pass
        events += turn.finish()
        if not turn.is_cut:
            return events
        commands = [Tick()]


class Turn:
    """What follows from some commands, as far as it does not take long: the rest is said in the next turn. It follows
    from what the log holds then, whoever has the job by that time."""

    def __init__(self, state: JobState, now: datetime, limits: Limits) -> None:
        self.is_cut = False  # there is more to say: a `Tick` lets it go on
        self._state = state
        self._now = now
        self._limits = limits
        self._rested_at = state.work  # when it last gave others the chance to do something
        self._events: list[JobEvent] = []
        self._type: type[JobEvent] | None = None  # of the event that is being made
        self._said: dict[str, Any] = {}  # what it says of its own
        self._changes: list[Change] = []
        self._output = 0  # bytes in the changes
        self._message: str | None = None
        self._message_of: str | None = None

    def decide(self, commands: Iterable[Command]) -> Iterator[None]:
        """One after the other. Stops now and then, so that it can be let go on after others have had their turn."""
        state, now, limits = self._state, self._now, self._limits
        for command in commands:
            if state.status.terminal:
                return  # what comes after the end comes too late
            for fact in decide(state, command, now, limits):
                self._take(fact)
                if self._is_tired:
                    yield
                    self._rested_at = state.work
            if self.is_cut:
                continue
            for fact in advance(state, now, limits):
                self._take(fact)
                if self._is_tired:
                    self.is_cut = not state.status.terminal
                    break

    @property
    def _is_tired(self) -> bool:
        return self._state.work - self._rested_at > WORK_PER_TURN

    def _take(self, fact: Fact) -> None:
        self._state.work += WORK_PER_FACT
        match fact:
            case dict():
                self._change(fact)
            case Progressed():
                self._message = None if fact.message is None else fact.message[:LONGEST_MESSAGE]
                self._message_of = fact.step
            case Began():
                self._open(JobStarted)
            case TakenOver():
                self._open(JobClaimed, crashed=fact.crashed)
            case Pause():
                self._open(JobPaused, by=fact.by, message=fact.message)
            case Resume():
                self._open(JobResumed, by=fact.by, message=fact.message)
            case Cancel():
                self._open(JobCancelRequested, by=fact.by, message=fact.message, reason=fact.reason)
            case Signal():
                self._open(JobSignalled, by=fact.by, message=fact.message, name=fact.name, data=fact.data)
            case Park():
                self._open(JobParked, missing=list(fact.missing))
            case Emitted():
                self._open(JobEmitted, step=fact.key[0], item=fact.key[1], data=fact.data)
            case Ended():
                self._end(fact)

    def finish(self) -> list[JobEvent]:
        self._flush()
        if not self._events and not self._state.status.terminal:
            self._progress()
        return self._events

    def _change(self, change: Change) -> None:
        if self._type is not None and not issubclass(self._type, ChangingJobEvent):
            self._flush()
        apply(self._state, change)
        if self._type is None:
            self._type = JobAdvanced
        self._changes.append(change)
        if change.get("output") or "artifacts" in change:
            encoded = len(encode_json([change.get("output"), change.get("artifacts")]))
            self._output += encoded
            self._state.work += encoded >> 6
        if len(self._changes) >= CHANGES_PER_EVENT or self._output >= OUTPUT_PER_EVENT:
            self._flush()

    def _open(self, type_: type[JobEvent], **said: Any) -> None:
        self._flush()
        self._type, self._said = type_, said
        # What the job as a whole becomes must be true before the next fact is decided.
        tell(self._state, type_.model_construct(**self._resulting(), **said, changes=[]), self._now)

    def _end(self, ended: Ended) -> None:
        if self._type is not JobAdvanced:
            self._flush()
        self._state.status = ended.status
        self._type = _TERMINAL[ended.status]
        self._said = {"result": ended.result} if ended.status is JobStatus.COMPLETED else {"error": self._state.outcome}
        self._flush()

    def _flush(self) -> None:
        if self._type is None:
            return
        said = self._said
        if "changes" in self._type.model_fields:
            said["changes"] = self._changes
        event = self._type.model_construct(**self._resulting(), **said)
        say(self._state, event, self._now)
        self._events.append(event)
        self._type, self._said, self._changes, self._output = None, {}, [], 0

    def _progress(self) -> None:
        state = self._state
        now = self._resulting()
        aged = state.message_at is None or (self._now - state.message_at).total_seconds() >= SECONDS_BETWEEN_MESSAGES
        moved = (now["progress_percent"], now["current_step"]) != (state.progress_percent, state.current_step)
        if moved or (aged and now["step_message"] != state.step_message):
            event = JobProgressed.model_construct(**now)
            say(state, event, self._now)
            self._events.append(event)

    def _resulting(self) -> dict[str, Any]:
        state = self._state
        step = _current_step(state)
        percent, sub_status = _percent(state), _sub_status(state)
        return {
            "status": state.status,
            "progress_percent": percent,
            "current_step": step,
            "step_message": self._message_now(step, sub_status),
            "sub_status": sub_status,
            "eta_seconds": None if sub_status or state.status.terminal else _eta(state, percent, self._now),
        }

    def _message_now(self, step: str | None, sub_status: SubStatus | None) -> str | None:
        state = self._state
        if state.status.terminal:
            return None if state.outcome is None else state.outcome.detail[:LONGEST_MESSAGE]
        if sub_status in _OWN_WORDS:
            return self._of_remote_worker(step, sub_status) or _what_it_waits_for(state)
        if self._message_of == step:
            return self._message
        said_of_it = step == state.current_step and state.sub_status not in _OWN_WORDS
        return state.step_message if said_of_it else None

    def _of_remote_worker(self, step: str | None, sub_status: SubStatus | None) -> str | None:
        """What it said last of the step that it has, for which the job waits."""
        state = self._state
        if step is None or state.plan.action(step).kind is not Kind.REMOTE:
            return None
        if self._message_of == step:
            return self._message
        stands = sub_status is SubStatus.WAITING and (step, sub_status) == (state.current_step, state.sub_status)
        return state.step_message if stands else None


def _current_step(state: JobState) -> str | None:
    """The one that was begun first, of those that are not finished."""
    for begun in (state.running, state.held_back):
        for name, _ in begun:
            return name
    return next(iter(state.maps), state.current_step)


def _percent(state: JobState) -> int:
    """It never goes back, and leaves 100 to the end."""
    if state.status is JobStatus.COMPLETED:
        return 100
    # What a sum of many shares lacks to a whole number is a matter of rounding.
    return max(state.progress_percent, min(99, int(100 * state.done_weight / state.plan.total_weight + 1e-6)))


def _sub_status(state: JobState) -> SubStatus | None:
    if state.status.terminal:
        return None
    if state.paused:
        return SubStatus.PAUSED
    if state.phase is Phase.COMPENSATING:
        return SubStatus.COMPENSATING  # also while it is parked: no cancel stops that
    if state.parked:
        return SubStatus.PARKED
    if state.phase is Phase.STOPPING:
        return SubStatus.CANCELLING
    if state.running or not state.held_back:
        return None
    waits = any(node.status is StepStatus.WAITING for node in state.held_back.values())
    return SubStatus.WAITING if waits else SubStatus.RETRYING


def _what_it_waits_for(state: JobState) -> str | None:
    key, node = next(iter(state.held_back.items()))
    if node.status is StepStatus.RETRYING and node.error is not None and node.due_at is not None:
        return f"Attempt {node.attempt} begins at {node.due_at:%Y-%m-%dT%H:%M:%SZ}: {node.error['detail']}"[
            :LONGEST_MESSAGE
        ]
    action = state.plan.action(key[0])
    match action.kind:
        case Kind.APPROVAL:
            return f"Waiting for an answer: {node.output['question']}"[:LONGEST_MESSAGE]
        case Kind.SIGNAL:
            return f"Waiting for the signal {action.uses}"
        case Kind.WORKFLOW:
            return f"Waiting for a job of the workflow {action.uses}"
        case Kind.REMOTE:
            return f"Waiting for a worker of {action.uses}"
        case _:
            return f"Waiting until {node.due_at:%Y-%m-%dT%H:%M:%SZ}"


def _eta(state: JobState, percent: int, now: datetime) -> int | None:
    if not 1 <= percent <= 99 or state.started_at is None:
        return None
    return max(0, round((now - state.started_at).total_seconds() * (100 - percent) / percent))
