"""What a worker has to say to a job that it has just taken."""

from events.jobs import JobStatus
from processor.handlers import missing_handlers
from processor.history import History
from processor.queue import Lease
from processor.workflows.commands import Begin, Cancel, Command, GiveUp, Park
from processor.workflows.library import NOTHING, Library
from processor.workflows.limits import Limits
from processor.workflows.start import UNWANTED, Starter
from processor.workflows.state import JobState


class FirstWords:
    def __init__(self, history: History, library: Library, starter: Starter, limits: Limits) -> None:
        self._history = history
        self._library = library
        self._starter = starter
        self._limits = limits

    async def to(self, lease: Lease, state: JobState) -> list[Command]:
        if state.plan is NOTHING:
            there_are = ", ".join(await self._library.names(lease.tenant))
            detail = f"There is no workflow {state.created.workflow}. There are: {there_are}."
            return [GiveUp("unknown_workflow", detail)]
        if state.status is JobStatus.PENDING and not lease.under_way:
            return []  # only mail has brought us here; its turn comes
        parent = state.created.parent
        began = state.status is not JobStatus.PENDING
        if not (began or parent is None or await self._starter.is_awaited(lease.tenant, lease.job_id, parent)):
            return [Cancel(reason=UNWANTED)]
        if not await self._history.load_outputs(state):
            return [GiveUp("output_missing", "What a step has given is not there any more.")]
        if lease.failures > self._limits.attempts and not state.running:
            detail = f"The job was given up after {lease.failures} workers had failed with it."
            return [GiveUp("job_crashed", detail)]
        missing = missing_handlers(state.created.handlers)
        if missing:
            return [Park(tuple(missing))]
        taken_over = state.status is JobStatus.PROCESSING and (lease.lost or state.parked or bool(state.running))
        begun = Begin(taken_over, crashed=lease.lost or lease.failures > 0)
        if state.status is JobStatus.PENDING and state.created.retry_of is not None:
            begun = Begin(reused=await self._history.reusable(lease, state))
        return [begun]
