"""Jobs whose history cannot be read here. Another release may know it, so they wait; but none keeps its place in every
limit for ever."""

from events.database import Pool, load_queries
from events.envelope import utc_now
from events.ids import derived_id
from events.jobs import Change, JobAdvanced, JobError, JobEvent, JobFailed, JobStatus, StepStatus
from events.log.append import Appender
from processor.queue import Lease, Postbox
from processor.workflows.record import CHANGES_PER_EVENT
from processor.workflows.start import UNWANTED
from processor.workflows.stream import JobStream

CODE = "unreadable"


class Unreadable:
    def __init__(self, pool: Pool, appender: Appender) -> None:
        self._pool = pool
        self._appender = appender
        self._postbox = Postbox(pool)
        self._queries = load_queries("processor", "unreadable.sql")

    async def found(self, lease: Lease) -> float:
        """Seconds since when."""
        await self._pool.execute(self._queries["forget"])
        seconds: float = await self._pool.fetchval(self._queries["found"], lease.tenant, lease.job_id, lease.version)
        return seconds

    async def end(self, lease: Lease) -> None:
        """Without its state: all that is known is what the projections say. Raises `Fenced` if somebody moved it."""
        job = await self._pool.fetchrow(self._queries["where_it_stands"], lease.tenant, lease.job_id)
        steps = await self._pool.fetch(self._queries["open_steps"], lease.tenant, lease.job_id)
        changes = [_cancelled(row["step"], row["item"], row["attempt"]) for row in steps]
        percent, step = (0, None) if job is None else (job["progress_percent"], job["current_step"])
        detail = "What has happened to the job can not be read any more."
        for child in [row["child"] for row in steps if row["child"] is not None]:
            await self._postbox.post(derived_id(child, "end"), lease.tenant, child, "cancel", {"reason": UNWANTED})
        last = len(changes) // CHANGES_PER_EVENT * CHANGES_PER_EVENT
        events: list[JobEvent] = [
            JobAdvanced(
                status=JobStatus.PROCESSING,
                progress_percent=percent,
                current_step=step,
                step_message=None,
                changes=changes[first : first + CHANGES_PER_EVENT],
            )
            for first in range(0, last, CHANGES_PER_EVENT)
        ]
        failed = JobFailed(
            status=JobStatus.FAILED,
            progress_percent=percent,
            current_step=step,
            step_message=detail,
            changes=changes[last:],
            error=JobError(code=CODE, detail=detail),
        )
        stream = JobStream(self._appender, lease.tenant, lease.job_id, lease.version)
        await stream.append([*events, failed], utc_now())


def _cancelled(step: str, item: int, attempt: int) -> Change:
    change: Change = {"step": step, "became": StepStatus.CANCELLED, "attempt": attempt}
    return change if item < 0 else {**change, "item": item}
