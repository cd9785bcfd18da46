"""The jobs that steps of a job are: started, and ended when nobody wants them any more."""

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from events.jobs import JobStatus, StepStatus
from processor.hold import Hold
from processor.language.expressions import ExpressionError
from processor.workflows.commands import ChildEnded, Command
from processor.workflows.plan import Kind
from processor.workflows.start import Starter
from processor.workflows.state import Key, Phase


class Children:
    def __init__(self, hold: Hold, starter: Starter, announce_work: Callable[[], None]) -> None:
        self._hold = hold
        self._starter = starter
        self._announce_work = announce_work
        self._may_be = hold.has_any(Kind.WORKFLOW)
        self._started: set[UUID] = set()
        self._told_to_end: set[UUID] = set()

    def awaited(self) -> Mapping[UUID, Key]:
        if not self._may_be:
            return {}
        return {
            node.child: key
            for key, node in self._hold.state.held_back.items()
            if node.child is not None and node.status is StepStatus.WAITING and self._hold.kind(key) is Kind.WORKFLOW
        }

    async def remember(self) -> None:
        """What former holders have started is not judged again: its workflow may be retired by now."""
        if awaited := self.awaited():
            self._started = await self._starter.started(self._hold.state.tenant, [*awaited])

    def follow(self) -> None:
        """Start those that are awaited now, or end them."""
        for child, key in self.awaited().items():
            if self._hold.state.phase is Phase.STOPPING:
                if child not in self._told_to_end:
                    self._told_to_end.add(child)
                    self._hold.spawn(("end", child), self._end(key, child))
            elif child not in self._started:
                self._started.add(child)
                self._hold.spawn(("start", child), self._start(key, child))

    async def end_unwanted(self, awaited_before: Mapping[UUID, Key], commands: Sequence[Command]) -> None:
        """Those whose time has run out: they have not ended by themselves. Told before the log says so: whoever has the
        job after us would not know of them any more. One that begins later finds out by itself."""
        ended = {command.child for command in commands if isinstance(command, ChildEnded)}
        unwanted = awaited_before.keys() - self.awaited().keys() - ended
        await self._hold.after([("start", child) for child in unwanted])
        for child in unwanted:
            await self._starter.end_child(self._hold.state, awaited_before[child], child)

    async def _start(self, key: Key, child: UUID) -> None:
        try:
            parameters = await self._hold.parameters(key)
        except ExpressionError as wrong:
            error = {"code": "expression_failed", "detail": wrong.detail}
            self._hold.put(ChildEnded(child, key, JobStatus.FAILED, error=error))
            return
        refused = await self._starter.start_child(self._hold.state, key, child, parameters)
        if refused is None:
            self._announce_work()
        else:
            self._hold.put(refused)

    async def _end(self, key: Key, child: UUID) -> None:
        await self._hold.after([("start", child)])  # else it may begin after we have found that there is none
        ended = await self._starter.end_child(self._hold.state, key, child)
        if ended is not None:
            self._hold.put(ended)
