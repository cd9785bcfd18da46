"""Moves one job on: gives its steps to whoever runs them, and what becomes of them to the log.

What may happen is decided elsewhere (`workflows/engine.py`); here it is only done. Nothing is begun before the log
holds the decision, and what the log refuses ends everything here: then somebody else has the job.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from events.blobs import Blobs
from events.envelope import utc_now
from events.jobs import JobCompleted, JobEvent, JobStatus, StepStatus
from processor.attempts import Assignment, Attempts, Stop
from processor.language.expressions import ExpressionError
from processor.progress import Pace
from processor.queue import JobQueue, Lease, Mail
from processor.remote.reports import command_of
from processor.remote.tasks import RemoteTasks
from processor.results import keep_result
from processor.turns import Turns
from processor.workflows.commands import (
    Cancel,
    ChildEnded,
    Command,
    Completed,
    Failed,
    Pause,
    Resume,
    Signal,
    Stopped,
    Tick,
)
from processor.workflows.engine import Limits
from processor.workflows.plan import Kind
from processor.workflows.record import Turn
from processor.workflows.scope import parameters_of
from processor.workflows.start import Starter
from processor.workflows.state import JobState, Key, Node, Phase
from processor.workflows.stream import JobStream

# A job that only waits is held for so long, in case that what it waits for comes soon.
LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Release:
    """The job has nothing to do here for so many seconds, or until it has mail."""

    due_in: float | None


class Execution:
    def __init__(
        self,
        lease: Lease,
        state: JobState,
        stream: JobStream,
        attempts: Attempts,
        queue: JobQueue,
        starter: Starter,
        remote: RemoteTasks,
        blobs: Blobs,
        limits: Limits,
        turns: Turns,
        announce_work: Callable[[], None],
    ) -> None:
        self._lease = lease
        self.state = state
        self._stream = stream
        self._attempts = attempts
        self._queue = queue
        self._starter = starter
        self._remote = remote
        self._blobs = blobs
        self._limits = limits
        self._turns = turns
        self._announce_work = announce_work
        kinds = {action.kind for action in state.plan.actions()}
        self._has_children = Kind.WORKFLOW in kinds
        self._hands_out = Kind.REMOTE in kinds
        self._commands: list[Command] = []
        self._mail: list[UUID] = []  # whose effect is among the commands
        self._some = asyncio.Event()
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._begun: set[tuple[Key, int]] = set()  # attempts whose end was not decided on yet
        self._stops: dict[tuple[Key, int], Stop] = {}
        self._children: set[UUID] = set()
        self._out: set[UUID] = set()  # tasks that remote workers have, or shall have
        self._told_to_end: set[UUID] = set()
        self._pace = Pace(self._some.set)
        self._failure: BaseException | None = None

    @property
    def computes(self) -> bool:
        """Whether it needs a process now, or may in a moment."""
        running, plan = self.state.running, self.state.plan
        return not running or any(plan.action(name).kind is Kind.PROCESS for name, _ in running)

    def deliver(self, mail: Mail) -> None:
        """What somebody says to the job."""
        command = _said(mail)
        if isinstance(command, Completed):
            if ("take in", mail.id) not in self._tasks:
                self._spawn(("take in", mail.id), self._take_in(mail.id, command))
            return
        self._mail.append(mail.id)
        if command is not None:
            self._put(command)

    async def run(self, first: Sequence[Command]) -> Release | None:
        """Until the job is finished (None), or only waits. Raises `Fenced` if somebody else has taken it."""
        try:
            self._commands[:0] = first
            if self.state.status is not JobStatus.PENDING and self._hands_out:
                self._out = await self._remote.known(self._lease.tenant, self._lease.job_id)
            await self._tell()
            while not self.state.status.terminal:
                if self.state.status is JobStatus.PENDING or (
                    self.state.parked and self.state.phase is not Phase.STOPPING
                ):
                    return Release(None)
                self._follow()
                released = await self._wait()
                if released is not None:
                    return released
                await self._tell()
            if self._out:
                await self._forget(self._out)
            return None
        finally:
            self._pace.close()
            await self._end_tasks()

    def _put(self, command: Command) -> None:
        self._commands.append(command)
        self._some.set()

    async def _tell(self) -> None:
        """Decide on what has come, and let the log hold it."""
        commands, self._commands = self._commands, []
        mail, self._mail = self._mail, []
        now = utc_now()
        awaited = self._awaited_children()
        turn = Turn(self.state, now, self._limits)
        await self._turns.through(turn.decide(commands), self._lease.job_id)
        events = turn.finish()
        self._begun -= {(end.key, end.attempt) for end in commands if isinstance(end, Completed | Failed | Stopped)}
        if events:
            await self._store_result(events)
            await self._stream.append(events, now)
        if turn.is_cut:
            self._put(Tick())
        ended = {command.child for command in commands if isinstance(command, ChildEnded)}
        for child in awaited.keys() - self._awaited_children().keys() - ended:
            # Its time has run out: nobody wants it any more.
            await self._starter.end_child(self.state, awaited[child], child)
        if mail:
            await self._queue.discard(self._lease, mail)

    def _awaited_children(self) -> dict[UUID, Key]:
        """The jobs that steps wait for."""
        if not self._has_children:
            return {}
        return {
            node.child: key
            for key, node in self.state.held_back.items()
            if node.child is not None and node.status is StepStatus.WAITING and self._kind(key) is Kind.WORKFLOW
        }

    def _kind(self, key: Key) -> Kind:
        return self.state.plan.action(key[0]).kind

    async def _store_result(self, events: list[JobEvent]) -> None:
        last = events[-1]
        if isinstance(last, JobCompleted):
            # Named by the token: a zombie cannot overwrite what its successor has stored.
            key = f"results/{self._lease.tenant}/{self._lease.job_id}/{self._lease.token}.json"
            events[-1] = last.model_copy(update={"result": await keep_result(self._blobs, key, last.result)})

    def _follow(self) -> None:
        """Let run what is to run, and stop what is not."""
        state = self.state
        for key, node in state.running.items():
            if (key, node.attempt) in self._begun:
                continue
            if state.phase is Phase.STOPPING:
                self._put(Stopped(key, node.attempt))  # it was to begin, and something came between
            else:
                self._begin(key, node.attempt)
        if state.phase is Phase.STOPPING:
            for name, stop in self._stops.items():
                if not stop.is_set():
                    stop.set()
                    if not stop.gently:
                        self._tasks[name].cancel()
        for child, key in self._awaited_children().items():
            if state.phase is Phase.STOPPING:
                if child not in self._told_to_end:
                    self._told_to_end.add(child)
                    self._spawn(("end", child), self._end_child(key, child))
            elif child not in self._children:
                self._children.add(child)
                self._spawn(("start", child), self._start_child(key, child))
        wanted = set()
        for key, node in state.held_back.items() if self._hands_out else ():
            if node.child is not None and self._kind(key) is Kind.REMOTE and node.status is StepStatus.WAITING:
                wanted.add(node.child)
                self._hand_out(key, node, node.child)
        if unwanted := self._out - wanted:
            self._out &= wanted
            self._spawn(("forget", min(unwanted)), self._forget(unwanted))

    def _hand_out(self, key: Key, node: Node, task: UUID) -> None:
        if self.state.phase is not Phase.STOPPING:
            if task not in self._out:
                self._out.add(task)
                self._spawn(("send", task), self._send(key, node.attempt, task, node.due_at))
        elif task not in self._told_to_end:
            self._told_to_end.add(task)
            self._spawn(("end", task), self._end_remote(key, node.attempt, task))

    def _begin(self, key: Key, attempt: int) -> None:
        self._begun.add((key, attempt))
        stop = self._stops[key, attempt] = Stop()
        self._spawn((key, attempt), self._attempt(key, attempt, stop))

    async def _attempt(self, key: Key, attempt: int, stop: Stop) -> None:
        try:
            traceparent = self._stream.traceparent
            assignment = Assignment(self.state, self._lease, key, attempt, stop, self._pace.report, traceparent)
            self._put(await self._attempts.run(assignment))
        finally:
            self._stops.pop((key, attempt), None)
            self._pace.forget(key)

    def _spawn(self, name: Hashable, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks[name] = asyncio.create_task(work)
        task.add_done_callback(lambda done: self._done(name, done))

    def _done(self, name: Hashable, task: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)
        if not task.cancelled():
            self._failure = self._failure or task.exception()
        elif name in self._begun:
            self._put(Stopped(*name))  # before it had begun to run, say
        elif not task.cancelling():
            self._failure = RuntimeError(f"{name} ended cancelled, and we had not cancelled it.")
        self._some.set()  # else a job that only waits from now on would be held for ever

    async def _wait(self) -> Release | None:
        """Until something has come, or the time for something."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        while True:
            if self._failure is not None:
                raise self._failure  # no step's fault: the job as a whole is tried again
            self._commands += self._pace.due(clock.time())
            due_in = self._due_in(utc_now())
            if due_in is not None and due_in <= 0:
                self._commands.append(Tick())
            if self._commands:
                return None
            if self.state.running and not self._tasks:
                raise RuntimeError(f"Nobody has the steps that run: {[*self.state.running][:3]}.")
            lingered = clock.time() - began
            if not self._tasks and lingered >= LINGER_SECONDS and (due_in is None or due_in > LINGER_SECONDS):
                return Release(due_in)
            ends = [pause for pause in (due_in, self._pace.due_in(clock.time())) if pause is not None]
            if not self._tasks:
                ends.append(LINGER_SECONDS - lingered)
            await self._some_or(min(ends, default=None))

    async def _some_or(self, seconds: float | None) -> None:
        handle = None
        if seconds is not None:
            handle = asyncio.get_running_loop().call_later(max(seconds, 0), self._some.set)
        try:
            await self._some.wait()
        finally:
            if handle is not None:
                handle.cancel()
        self._some.clear()

    def _due_in(self, now: datetime) -> float | None:
        """Seconds until a wait, a pause before an attempt, or the job itself has run out."""
        state = self.state
        times = [] if state.phase is not Phase.RUNNING or state.deadline is None else [state.deadline]
        if not (state.paused and state.phase is Phase.RUNNING):
            times += [node.due_at for node in state.held_back.values() if node.due_at is not None]
        return (min(times) - now).total_seconds() if times else None

    async def _start_child(self, key: Key, child: UUID) -> None:
        try:
            parameters = await self._parameters(key)
        except ExpressionError as wrong:
            error = {"code": "expression_failed", "detail": wrong.detail}
            self._put(ChildEnded(child, key, JobStatus.FAILED, error=error))
            return
        refused = await self._starter.start_child(self.state, key, child, parameters)
        if refused is None:
            self._announce_work()
        else:
            self._put(refused)

    async def _end_child(self, key: Key, child: UUID) -> None:
        starting = self._tasks.get(("start", child))
        if starting is not None:
            await asyncio.wait({starting})  # else it may begin after we have found that there is none
        ended = await self._starter.end_child(self.state, key, child)
        if ended is not None:
            self._put(ended)

    async def _send(self, key: Key, attempt: int, task: UUID, until: datetime | None) -> None:
        try:
            parameters = await self._parameters(key)
        except ExpressionError as wrong:
            self._put(Failed(key, attempt, "expression_failed", wrong.detail))
            return
        refused = await self._remote.send(self.state, key, attempt, task, parameters, until)
        if refused is not None:
            self._put(refused)

    async def _parameters(self, key: Key) -> Any:
        async with self._turns.turn(self._lease.job_id):
            return parameters_of(self.state, key, self.state.plan.action(key[0]))

    async def _end_remote(self, key: Key, attempt: int, task: UUID) -> None:
        await self._recall({task})
        await self._remote.end(task)
        self._put(Stopped(key, attempt))

    async def _forget(self, tasks: set[UUID]) -> None:
        await self._recall(tasks)
        await self._remote.forget(tasks)

    async def _recall(self, tasks: set[UUID]) -> None:
        """Send none of them from now on: else one may be sent after we have found that it was not."""
        sending = [self._tasks[name] for task in tasks if (name := ("send", task)) in self._tasks]
        for one in sending:
            one.cancel()
        if sending:
            await asyncio.wait(sending)

    async def _take_in(self, mail: UUID, completed: Completed) -> None:
        """What a remote worker gives may be too large for an event."""
        key, attempt = completed.key, completed.attempt
        kept = await self._attempts.completed(self.state, self._lease, key, attempt, completed.output)
        self._mail.append(mail)
        self._put(kept)

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def _said(mail: Mail) -> Command | None:
    said = mail.data
    match mail.kind:
        case "cancel":
            return Cancel(mail.id, said.get("by"), said.get("reason"))
        case "pause":
            return Pause(mail.id, said.get("by"))
        case "resume":
            return Resume(mail.id, said.get("by"))
        case "signal":
            return Signal(mail.id, said["name"], said.get("data"), said.get("by"))
        case "child":
            return ChildEnded(
                UUID(said["child"]),
                (said["step"], said["item"]),
                JobStatus(said["status"]),
                said.get("result"),
                said.get("error") or {},
            )
        case "remote":
            return command_of(said)
        case _:
            return None
