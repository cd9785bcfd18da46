"""Works on jobs: claims them, holds them by heartbeats, and lets them go.

The lease says who may work; the log says who may write: each append expects the job's exact version, and a takeover
appends `job.claimed`, so whatever a former holder still writes conflicts, and that is how it learns.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Gauge

from events.append import Appender
from events.database import Pool, database_gone
from events.errors import Fenced, Unavailable
from events.lifecycle import Parts
from events.tasks import end
from processor.execution import Execution
from processor.leases import Lease, Leases
from processor.settings import ProcessorSettings
from processor.step_process import STEP_COMMAND, StepCrashed, StepProcess
from processor.workflows.stream import JobStream


class Worker:
    """Works on up to `settings.workers` jobs at once."""

    def __init__(
        self,
        parts: Parts,
        settings: ProcessorSettings,
        appender: Appender,
        leases: Leases,
        scratch: Path,
        *,
        step_command: Sequence[str] = STEP_COMMAND,
    ) -> None:
        self._pool: Pool = parts.pool
        self._telemetry = parts.telemetry
        self._settings = settings
        self._appender = appender
        self._leases = leases
        self._execution = Execution(parts.blobs, settings, scratch)
        self._idle = [StepProcess(step_command) for _ in range(settings.workers)]
        self._at_work: dict[Lease, asyncio.Task[None]] = {}
        self.wake = asyncio.Event()  # there may be a job for somebody idle
        registry = parts.telemetry.registry
        working = Gauge("millrace_jobs_working", "Jobs that this processor works on.", registry=registry)
        working.set_function(lambda: len(self._at_work))
        self._finished = parts.telemetry.counter(
            "millrace_jobs_finished_total", "Jobs that ended here.", ["workflow", "outcome"]
        )

    async def claim_once(self) -> bool:
        """Begin as many jobs as there is somebody idle for. True if there may be more."""
        idle = len(self._idle)
        if not idle:
            return False  # the end of a job wakes us
        claimed = await self._leases.claim(idle)
        for lease in claimed:
            process = self._idle.pop()
            self._at_work[lease] = asyncio.create_task(self._work(lease, process), name=f"job:{lease.job_id}")
        return len(claimed) == idle

    async def renew_once(self) -> bool:
        """Keep what we hold, and drop what somebody else has taken."""
        held = dict(self._at_work)
        if held:
            still_ours = await self._leases.renew(list(held))
            for lease, task in held.items():
                if (lease.tenant, lease.job_id) not in still_ours:
                    self._telemetry.log.warning("lease lost", tenant=lease.tenant, job_id=str(lease.job_id))
                    task.cancel()
        return False

    async def warm_up(self) -> None:
        await asyncio.gather(*(process.warm_up() for process in self._idle))

    async def close(self) -> None:
        """Drop what we work on. Others may go on with it at once."""
        await end(*self._at_work.values())
        await asyncio.gather(*(process.kill() for process in self._idle))
        with contextlib.suppress(Exception):  # then the leases expire by themselves
            await self._leases.release_all()

    async def _work(self, lease: Lease, process: StepProcess) -> None:
        log = self._telemetry.log.bind(tenant=lease.tenant, job_id=str(lease.job_id), token=lease.token)
        try:
            await self._run(lease, process)
        except Fenced as lost:
            log.warning("job taken over", reason=str(lost))
        except StepCrashed as crash:
            log.error("step crashed", failures=lease.failures + 1, error=str(crash))
            await self._give_back(lease, failures=1)
        except Exception as error:
            somebody_is_away = database_gone(error) or isinstance(error, Unavailable)
            log.warning("job interrupted", error=repr(error), exc_info=not somebody_is_away)
            await self._give_back(lease, failures=0 if somebody_is_away else 1)
        finally:
            del self._at_work[lease]
            self._idle.append(process)
            self.wake.set()

    async def _run(self, lease: Lease, process: StepProcess) -> None:
        job = await JobStream.load(self._pool, self._appender, lease.tenant, lease.job_id)
        if not job.job.status.terminal:
            with self._telemetry.span("job", attributes={"millrace.workflow": job.workflow}):
                await self._execution.run(job, lease, process)
            self._finished.labels(job.workflow, job.job.status.lower()).inc()
        await self._leases.end(lease)

    async def _give_back(self, lease: Lease, *, failures: int) -> None:
        """Until it succeeds: else the lease would run out, which counts as a failure."""
        while True:
            try:
                return await self._leases.give_back(
                    lease, retry_in=self._settings.step_retry_seconds, failures=failures
                )
            except Exception as error:
                if not database_gone(error):
                    raise
            await asyncio.sleep(self._settings.claim_poll_seconds)
