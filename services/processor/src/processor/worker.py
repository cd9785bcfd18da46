"""Works on jobs: takes them from the queue, holds them by heartbeats, and lets them go.

The lease says who may work; the log says who may write: each append expects the job's exact version, and a takeover
appends `job.claimed`, so whatever a former holder still writes conflicts, and that is how it learns.
"""

import asyncio
from uuid import UUID

from opentelemetry.trace import Span
from structlog.stdlib import BoundLogger

from events.database import database_gone
from events.envelope import utc_now
from events.errors import Fenced, Unavailable
from events.jobs import JobStatus
from events.lifecycle import Parts
from events.log.append import Appender
from events.log.doorbell import Doorbell
from events.running.tasks import end
from events.traces.tracing import has_failed
from processor.attempts import Attempts
from processor.children import Children
from processor.execution import Execution
from processor.first_words import FirstWords
from processor.history import History
from processor.hold import Hold
from processor.job_metrics import JobMetrics
from processor.queue import JobQueue, Lease, Mail
from processor.remote.handed_out import HandedOut
from processor.remote.tasks import RemoteTasks
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.turns import Turns
from processor.unreadable import Unreadable
from processor.workflows.library import Library
from processor.workflows.limits import Limits
from processor.workflows.start import Starter
from processor.workflows.stream import JobStream, UnknownEvent

# Until somebody may be there who knows the handler.
_PARKED_SECONDS = 5.0
_GATHERING_SECONDS = 0.01
# A job that nobody can go on with is looked at again after 1, 2, 4 … 64 times as long.
_LONGEST_PAUSE = 6
# One whose history cannot be read, after as long as that has been so.
_SHORTEST_UNREAD_SECONDS, _LONGEST_UNREAD_SECONDS = 1.0, 60.0


class _Held:
    """A job that is held here. What is said to it before it was read waits for that."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self._early: list[Mail] = []
        self._execution: Execution | None = None

    @property
    def computes(self) -> bool:
        """Whether it needs a process now or soon."""
        return self.lease.computes and (self._execution is None or self._execution.computes)

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, and with it the lease, or ends with what the log is being told now."""
        return self._execution is not None and self._execution.state.status.terminal

    def deliver(self, mail: Mail) -> None:
        if self._execution is None:
            self._early.append(mail)
        else:
            self._execution.deliver(mail)

    def begin(self, execution: Execution) -> None:
        self._execution = execution
        for mail in self._early:
            execution.deliver(mail)


class Worker:
    """Works on up to `settings.jobs_at_once` jobs at once, with `settings.workers` processes for what computes."""

    def __init__(
        self,
        parts: Parts,
        settings: ProcessorSettings,
        appender: Appender,
        queue: JobQueue,
        slots: Slots,
        attempts: Attempts,
        library: Library,
        starter: Starter,
        remote: RemoteTasks,
        turns: Turns,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._telemetry = parts.telemetry
        self._appender = appender
        self._queue = queue
        self._slots = slots
        self._attempts = attempts
        self._starter = starter
        self._remote = remote
        self._turns = turns
        self._history = History(parts, library, turns)
        self._unreadable = Unreadable(parts.pool, appender)
        self._limits = Limits(
            attempts=settings.step_attempts, backoff=settings.step_retry_seconds, step_seconds=settings.step_seconds
        )
        self._first_words = FirstWords(self._history, library, starter, self._limits)
        self._at_work: dict[Lease, asyncio.Task[None]] = {}
        self._held: dict[tuple[str, UUID], _Held] = {}
        # What is collected is for jobs that we know: no claim is in flight then, which may have taken others.
        self._claiming = asyncio.Lock()
        self.wake = asyncio.Event()  # there may be a job
        self.mail = asyncio.Event()  # there may be mail for one that is held here
        self._metrics = JobMetrics(parts.telemetry.metrics)
        working = parts.telemetry.gauge("millrace_jobs_working", "Jobs that this process works on.")
        working.set_function(lambda: len(self._at_work))
        parts.telemetry.gauge("millrace_jobs_working_max", "How many there may be.").set(settings.jobs_at_once)

    async def listen(self, bell: Doorbell) -> None:
        """Look at once when somebody says that there is something, on whatever replica."""
        with bell.listening() as rung:
            while True:
                await rung.wait()
                rung.clear()
                self.wake.set()
                self.mail.set()

    async def claim_once(self) -> bool:
        """Begin as many jobs as there is room for. True if there may be more."""
        if self._queue.more and self._room() < self._settings.jobs_at_once // 4:
            await asyncio.sleep(_GATHERING_SECONDS)  # jobs end one by one, and a claim of several costs no more
        room = self._room()
        if room <= 0:
            return False  # the end of a job wakes us
        async with self._claiming:
            claimed = await self._queue.claim(room, computing=self._room_to_compute())
            for lease in claimed:
                held = self._held[lease.tenant, lease.job_id] = _Held(lease)
                self._at_work[lease] = asyncio.create_task(self._work(held), name=f"job:{lease.job_id}")
        return self._queue.more

    async def collect_once(self) -> bool:
        """Pass on what was said to the jobs that we hold."""
        if self._at_work:
            async with self._claiming:
                mail = await self._queue.collect()
                for one in mail:
                    held = self._held.get((one.tenant, one.job_id))
                    if held is not None:
                        held.deliver(one)
        return False

    async def renew_once(self) -> bool:
        """Keep what we hold, and drop what somebody else has taken."""
        held = dict(self._at_work)
        if held:
            still_ours = await self._queue.renew(list(held))
            for lease, task in held.items():
                if (lease.tenant, lease.job_id) not in still_ours and not task.done() and not self._is_over(lease):
                    self._metrics.lost.inc()
                    self._telemetry.log.warning("lease lost", tenant=lease.tenant, job_id=str(lease.job_id))
                    task.cancel()
        return False

    async def close(self) -> None:
        """Drop what we work on. Others may go on with it at once."""
        await end(*self._at_work.values())
        await self._slots.close()
        try:
            await self._queue.release_all()
        except Exception as error:
            if not database_gone(error):
                raise
            self._telemetry.log.warning("jobs not released: their leases run out by themselves", error=repr(error))

    def _is_over(self, lease: Lease) -> bool:
        held = self._held.get((lease.tenant, lease.job_id))
        return held is not None and held.lease is lease and held.is_over

    def _room(self) -> int:
        return self._settings.jobs_at_once - len(self._at_work)

    def _room_to_compute(self) -> int:
        """Each process has one job that it works on and one that comes next. More would wait here, in the place of
        others that need no process, or that another worker has a process for."""
        computing = sum(held.computes for held in self._held.values())
        return max(0, 2 * self._slots.count - computing)

    async def _work(self, held: "_Held") -> None:
        lease = held.lease
        about = {"millrace.tenant": lease.tenant, "millrace.job": str(lease.job_id)}
        try:
            with self._telemetry.span("job", traceparent=lease.traceparent, attributes=about) as span:
                await self._run_or_give_back(held, span)
        finally:
            name = (lease.tenant, lease.job_id)
            if self._held.get(name) is held:  # else it has been let go, and taken again
                del self._held[name]
            del self._at_work[lease]
            self.wake.set()

    async def _run_or_give_back(self, held: "_Held", span: Span) -> None:
        lease = held.lease
        try:
            await self._run(held, span)
        except Fenced as lost:
            has_failed(span, lost)
            self._metrics.lost.inc()
            self._logged(lease).warning("job taken over", reason=str(lost))
            # If the lease is ours all the same, it was a former holder's last word that we had not read.
            await self._give_back(lease, failures=0)
        except Exception as error:
            has_failed(span, error)
            somebody_is_away = _somebody_is_away(error)
            self._logged(lease).warning("job interrupted", error=repr(error), exc_info=not somebody_is_away)
            await self._give_back(lease, failures=0 if somebody_is_away else 1)

    def _logged(self, lease: Lease) -> BoundLogger:
        return self._telemetry.log.bind(tenant=lease.tenant, job_id=str(lease.job_id), token=lease.token)

    async def _run(self, held: "_Held", span: Span) -> None:
        lease = held.lease
        for one in await self._queue.collect_one(lease) if lease.mail else ():
            held.deliver(one)
        try:
            state, version = await self._history.read(lease)
            first = await self._first_words.to(lease, state)
        except Exception as error:
            if _somebody_is_away(error):
                raise
            self._logged(lease).error("job unreadable", error=repr(error), exc_info=True)
            await self._leave_unread(lease, for_good=not isinstance(error, UnknownEvent))
            return
        span.set_attribute("millrace.workflow", state.created.workflow)
        stream = JobStream(self._appender, lease.tenant, lease.job_id, version)
        hold = Hold(lease, state, self._turns)
        execution = Execution(
            hold,
            stream,
            self._attempts,
            Children(hold, self._starter, self.wake.set),
            HandedOut(hold, self._remote),
            self._queue,
            self._parts.blobs,
            self._limits,
        )
        held.begin(execution)
        released = await execution.run(first)
        if released is None:
            self._metrics.finished(state, utc_now())
            if state.created.parent is not None:
                self.mail.set()  # it has some from this one now, and may be held here
        else:
            due_in = _PARKED_SECONDS if state.parked else released.due_in
            await self._queue.let_go(lease, due_in=due_in, begun=state.status is not JobStatus.PENDING)

    async def _leave_unread(self, lease: Lease, *, for_good: bool) -> None:
        """No worker has failed: a release that was rolled back may come again, and go on with the job."""
        self._metrics.unreadable.inc()
        seconds = await self._unreadable.found(lease)
        if for_good and seconds >= self._settings.unreadable_seconds:
            await self._unreadable.end(lease)
        else:
            pause = min(max(seconds, _SHORTEST_UNREAD_SECONDS), _LONGEST_UNREAD_SECONDS)
            await self._queue.give_back(lease, retry_in=pause, failures=0)

    async def _give_back(self, lease: Lease, *, failures: int) -> None:
        """Until it succeeds: else the lease would run out, which counts as a failure."""
        pause = self._settings.step_retry_seconds * 2 ** min(lease.failures, _LONGEST_PAUSE)
        while True:
            try:
                return await self._queue.give_back(lease, retry_in=pause, failures=failures)
            except Exception as error:
                if not database_gone(error):
                    raise
            await asyncio.sleep(self._settings.claim_poll_seconds)


def _somebody_is_away(error: Exception) -> bool:
    return database_gone(error) or isinstance(error, Unavailable)
