"""Moves one job on: gives its steps to whoever runs them, and what becomes of them to the log.

What may happen is decided elsewhere (`workflows/engine.py`); here it is only done. Nothing is begun before the log
holds the decision, and what the log refuses ends everything here: then somebody else has the job.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from events.blobs.blobs import Blobs
from events.envelope import encode_json, utc_now
from events.jobs import JobCompleted, JobEvent, JobStatus
from processor.attempts import Assignment, Attempts, Stop
from processor.children import Children
from processor.hold import Hold
from processor.language.expressions import LARGEST_RESULT
from processor.progress import Pace
from processor.queue import JobQueue, Mail
from processor.remote.handed_out import HandedOut
from processor.remote.reports import command_of
from processor.results import keep_result, may_refer, refers, whole_result
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
from processor.workflows.limits import Limits
from processor.workflows.plan import Kind
from processor.workflows.record import Turn
from processor.workflows.state import Key, Phase
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
        hold: Hold,
        stream: JobStream,
        attempts: Attempts,
        children: Children,
        handed_out: HandedOut,
        queue: JobQueue,
        blobs: Blobs,
        limits: Limits,
    ) -> None:
        self._hold = hold
        self._lease = hold.lease
        self.state = hold.state
        self._stream = stream
        self._attempts = attempts
        self._children = children
        self._handed_out = handed_out
        self._queue = queue
        self._blobs = blobs
        self._limits = limits
        self._mail: list[UUID] = []  # whose effect is among the commands
        self._begun: set[tuple[Key, int]] = set()  # attempts whose end was not decided on yet
        self._stops: dict[tuple[Key, int], Stop] = {}
        self._pace = Pace(hold.some.set)

    @property
    def computes(self) -> bool:
        """Whether it needs a process now, or may in a moment."""
        running = self.state.running
        return not running or any(self._hold.kind(key) is Kind.PROCESS for key in running)

    def deliver(self, mail: Mail) -> None:
        """What somebody says to the job."""
        command = _said(mail)
        if isinstance(command, Completed) or (isinstance(command, ChildEnded) and may_refer(command.result)):
            if ("take in", mail.id) not in self._hold.tasks:
                self._hold.spawn(("take in", mail.id), self._take_in(mail.id, command))
            return
        self._mail.append(mail.id)
        if command is not None:
            self._hold.put(command)

    async def run(self, first: Sequence[Command]) -> Release | None:
        """Until the job is finished (None), or only waits. Raises `Fenced` if somebody else has taken it."""
        try:
            self._hold.commands[:0] = first
            if self.state.status is not JobStatus.PENDING:
                await self._children.remember()
                await self._handed_out.remember()
            await self._tell()
            while not self.state.status.terminal:
                if self.state.status is JobStatus.PENDING or (
                    self.state.parked and self.state.phase is not Phase.STOPPING
                ):
                    await self._take_in_all()
                    if not self._hold.commands:
                        return Release(None)
                else:
                    self._follow()
                    released = await self._wait()
                    if released is not None:
                        return released
                await self._tell()
            await self._handed_out.forget_all()
            return None
        finally:
            self._pace.close()
            await self._hold.end_tasks()

    async def _tell(self) -> None:
        """Decide on what has come, and let the log hold it."""
        commands, self._hold.commands = self._hold.commands, []
        mail, self._mail = self._mail, []
        now = utc_now()
        awaited = self._children.awaited()
        turn = Turn(self.state, now, self._limits)
        await self._hold.turns.through(turn.decide(commands), self._lease.job_id)
        events = turn.finish()
        self._begun -= {(end.key, end.attempt) for end in commands if isinstance(end, Completed | Failed | Stopped)}
        if events:
            await self._children.end_unwanted(awaited, commands)
            await self._store_result(events)
            await self._stream.append(events, now)
        if turn.is_cut:
            self._hold.put(Tick())
        if mail:
            await self._queue.discard(self._lease, mail)

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
                self._hold.put(Stopped(key, node.attempt))  # it was to begin, and something came between
            else:
                self._begin(key, node.attempt)
        if state.phase is Phase.STOPPING:
            for name, stop in self._stops.items():
                if not stop.is_set():
                    stop.set()
                    if not stop.gently:
                        self._hold.tasks[name].cancel()
        self._children.follow()
        self._handed_out.follow()

    def _begin(self, key: Key, attempt: int) -> None:
        self._begun.add((key, attempt))
        stop = self._stops[key, attempt] = Stop()
        # It may be cancelled before it has begun to run.
        self._hold.spawn((key, attempt), self._attempt(key, attempt, stop), if_cancelled=Stopped(key, attempt))

    async def _attempt(self, key: Key, attempt: int, stop: Stop) -> None:
        try:
            assignment = Assignment(self.state, self._lease, key, attempt, stop, self._pace.report)
            self._hold.put(await self._attempts.run(assignment))
        finally:
            self._stops.pop((key, attempt), None)
            self._pace.forget(key)

    async def _take_in_all(self) -> None:
        """A job with mail is taken again at once, so that nothing of it may be left when it is let go."""
        await self._hold.after(list(self._hold.tasks))
        if self._hold.failure is not None:
            raise self._hold.failure

    async def _take_in(self, mail: UUID, command: Completed | ChildEnded) -> None:
        """What somebody else has done may be too large for an event, and the result of a job may be elsewhere."""
        if isinstance(command, Completed):
            command = await self._stored(command.key, command.attempt, command.output)
        elif (node := self.state.nodes.get(command.key)) is not None:
            command = await self._with_result(command, node.attempt)
        self._mail.append(mail)
        self._hold.put(command)

    async def _with_result(self, ended: ChildEnded, attempt: int) -> ChildEnded:
        """With what it has given, if that is not too large for an expression: to decode it would keep the loop."""
        tenant = self._lease.tenant
        said = await whole_result(self._blobs, tenant, encode_json(ended.result), most=LARGEST_RESULT)
        async with self._hold.turns.turn(self._lease.job_id):
            result = msgspec.json.decode(said)
        if ended.key[0] in self.state.plan.read and refers(result, tenant):
            detail = f"The job's result is read by an expression, and has more than {LARGEST_RESULT} bytes."
            return replace(ended, status=JobStatus.FAILED, error={"code": "too_large", "detail": detail})
        stored = await self._stored(ended.key, attempt, result)
        return replace(ended, result=stored.output, blob=stored.blob)

    async def _stored(self, key: Key, attempt: int, output: Any) -> Completed:
        return await self._attempts.completed(self.state, self._lease, key, attempt, output)

    async def _wait(self) -> Release | None:
        """Until something has come, or the time for something."""
        hold, clock = self._hold, asyncio.get_running_loop()
        began = clock.time()
        while True:
            if hold.failure is not None:
                raise hold.failure
            hold.commands += self._pace.due(clock.time())
            due_in = self._due_in(utc_now())
            if due_in is not None and due_in <= 0:
                hold.commands.append(Tick())
            if hold.commands:
                return None
            if self.state.running and not hold.tasks:
                raise RuntimeError(f"Nobody has the steps that run: {[*self.state.running][:3]}.")
            lingered = clock.time() - began
            if not hold.tasks and lingered >= LINGER_SECONDS and (due_in is None or due_in > LINGER_SECONDS):
                return Release(due_in)
            ends = [pause for pause in (due_in, self._pace.due_in(clock.time())) if pause is not None]
            if not hold.tasks:
                ends.append(LINGER_SECONDS - lingered)
            await hold.some_or(min(ends, default=None))

    def _due_in(self, now: datetime) -> float | None:
        """Seconds until a wait, a pause before an attempt, or the job itself has run out."""
        state = self.state
        times = [] if state.phase is not Phase.RUNNING or state.deadline is None else [state.deadline]
        if not (state.paused and state.phase is Phase.RUNNING):
            times += [node.due_at for node in state.held_back.values() if node.due_at is not None]
        return (min(times) - now).total_seconds() if times else None


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
