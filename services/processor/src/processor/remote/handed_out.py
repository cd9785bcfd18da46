"""The tasks of a job that remote workers have, or shall have: sent, and called back when nobody wants them any more."""

from datetime import datetime
from uuid import UUID

from events.jobs import StepStatus
from processor.hold import Hold
from processor.language.expressions import ExpressionError
from processor.remote.tasks import RemoteTasks
from processor.workflows.commands import Failed, Stopped
from processor.workflows.plan import Kind
from processor.workflows.state import Key, Node, Phase


class HandedOut:
    def __init__(self, hold: Hold, remote: RemoteTasks) -> None:
        self._hold = hold
        self._remote = remote
        self._may_be = hold.has_any(Kind.REMOTE)
        self._out: set[UUID] = set()
        self._told_to_end: set[UUID] = set()

    async def remember(self) -> None:
        """What former holders of the job have sent."""
        if self._may_be:
            self._out = await self._remote.known(self._hold.lease.tenant, self._hold.lease.job_id)

    def follow(self) -> None:
        """Send what is to be done now, or call it back."""
        if not self._may_be:
            return
        wanted = set()
        for key, node in self._hold.state.held_back.items():
            if node.child is not None and self._hold.kind(key) is Kind.REMOTE and node.status is StepStatus.WAITING:
                wanted.add(node.child)
                self._hand_out(key, node, node.child)
        if unwanted := self._out - wanted:
            self._out &= wanted
            self._hold.spawn(("forget", min(unwanted)), self._forget(unwanted))

    async def forget_all(self) -> None:
        """The job is over."""
        if self._out:
            await self._forget(self._out)

    def _hand_out(self, key: Key, node: Node, task: UUID) -> None:
        if self._hold.state.phase is not Phase.STOPPING:
            if task not in self._out:
                self._out.add(task)
                self._hold.spawn(("send", task), self._send(key, node.attempt, task, node.due_at))
        elif task not in self._told_to_end:
            self._told_to_end.add(task)
            self._hold.spawn(("end", task), self._end(key, node.attempt, task))

    async def _send(self, key: Key, attempt: int, task: UUID, until: datetime | None) -> None:
        try:
            parameters = await self._hold.parameters(key)
        except ExpressionError as wrong:
            self._hold.put(Failed(key, attempt, "expression_failed", wrong.detail))
            return
        refused = await self._remote.send(self._hold.state, key, attempt, task, parameters, until)
        if refused is not None:
            self._hold.put(refused)

    async def _end(self, key: Key, attempt: int, task: UUID) -> None:
        await self._recall({task})
        await self._remote.end(task)
        self._hold.put(Stopped(key, attempt))

    async def _forget(self, tasks: set[UUID]) -> None:
        await self._recall(tasks)
        await self._remote.forget(tasks)

    async def _recall(self, tasks: set[UUID]) -> None:
        """Send none of them from now on: else one may be sent after we have found that it was not."""
        await self._hold.after([("send", task) for task in tasks], cancelled=True)
