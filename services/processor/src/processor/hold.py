"""A job while a worker holds it: its state, what is to be decided on next, and the tasks that work for it."""

import asyncio
import contextlib
from collections.abc import Collection, Coroutine, Hashable
from typing import Any

from processor.queue import Lease
from processor.turns import Turns
from processor.workflows.commands import Command
from processor.workflows.plan import Kind
from processor.workflows.scope import parameters_of
from processor.workflows.state import JobState, Key


class Hold:
    def __init__(self, lease: Lease, state: JobState, turns: Turns) -> None:
        self.lease = lease
        self.state = state
        self.turns = turns
        self.commands: list[Command] = []
        self.tasks: dict[Hashable, asyncio.Task[None]] = {}
        self.failure: BaseException | None = None  # no step's fault: the job as a whole is tried again
        self.some = asyncio.Event()  # set when something has come

    def has_any(self, kind: Kind) -> bool:
        return any(action.kind is kind for action in self.state.plan.actions())

    def kind(self, key: Key) -> Kind:
        return self.state.plan.action(key[0]).kind

    def put(self, command: Command) -> None:
        self.commands.append(command)
        self.some.set()

    async def parameters(self, key: Key) -> Any:
        async with self.turns.turn(self.lease.job_id):
            return parameters_of(self.state, key, self.state.plan.action(key[0]))

    def spawn(self, name: Hashable, work: Coroutine[Any, Any, None], *, if_cancelled: Command | None = None) -> None:
        task = self.tasks[name] = asyncio.create_task(work)
        task.add_done_callback(lambda done: self._done(name, done, if_cancelled))

    def _done(self, name: Hashable, task: asyncio.Task[None], if_cancelled: Command | None) -> None:
        self.tasks.pop(name, None)
        if not task.cancelled():
            self.failure = self.failure or task.exception()
        elif if_cancelled is not None:
            self.put(if_cancelled)
        elif not task.cancelling():
            self.failure = RuntimeError(f"{name} ended cancelled, and we had not cancelled it.")
        self.some.set()  # else a job that only waits from now on would be held for ever

    async def after(self, names: Collection[Hashable], *, cancelled: bool = False) -> None:
        """When none of these is under way any more."""
        tasks = [self.tasks[name] for name in names if name in self.tasks]
        for task in tasks if cancelled else ():
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def some_or(self, seconds: float | None) -> None:
        handle = None
        if seconds is not None:
            handle = asyncio.get_running_loop().call_later(max(seconds, 0), self.some.set)
        try:
            await self.some.wait()
        finally:
            if handle is not None:
                handle.cancel()
        self.some.clear()

    async def end_tasks(self) -> None:
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
