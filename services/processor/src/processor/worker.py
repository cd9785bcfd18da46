"""Works on jobs: claims one under a lease, runs its step in a process of its own, and appends what happens.

The lease says who may work; the log says who may write: each append expects the job's exact version, and a takeover
appends `job.claimed`, so whatever a former holder still writes conflicts, and that is how it learns.
"""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import Counter, Gauge

from events.append import Appended, Appender, AppendRequest, Duplicate
from events.blobs import Blobs
from events.database import Pool, database_gone, load_queries
from events.envelope import encode_json, new_event, stream_name
from events.errors import Fenced, NotFound, Unavailable
from events.ids import new_id
from events.jobs import JobError, JobStatus
from events.lifecycle import Parts
from events.telemetry import current_traceparent
from processor.intake import SOURCE
from processor.settings import ProcessorSettings
from processor.step_process import StepCrashed, StepProcess
from processor.steps import STEPS, StepError
from processor.workflows.engine import Claim, Command, Complete, Fail, Job, Progress, decide, evolve

# A larger result becomes a blob, and the event names it.
INLINE_RESULT_BYTES = 32 * 1024
# At most ten progress events a second of one job.
PROGRESS_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Lease:
    tenant: str
    job_id: UUID
    token: int


class Worker:
    """Works on up to `settings.workers` jobs at once."""

    def __init__(
        self, parts: Parts, settings: ProcessorSettings, appender: Appender, work_waits: asyncio.Event
    ) -> None:
        self._pool: Pool = parts.pool
        self._blobs: Blobs = parts.blobs
        self._telemetry = parts.telemetry
        self._settings = settings
        self._appender = appender
        self._wake = work_waits
        self._holder = new_id()
        self._queries = load_queries("processor", "workflows/queries.sql")
        self._idle = [StepProcess() for _ in range(settings.workers)]
        self._at_work: set[asyncio.Task[None]] = set()
        registry = parts.telemetry.registry
        self._working = Gauge("millrace_jobs_working", "Jobs that this processor works on.", registry=registry)
        self._finished = Counter("millrace_jobs_finished_total", "Jobs by outcome.", ["outcome"], registry=registry)

    async def run_once(self) -> bool:
        """Claim one job and begin it. True if there may be more to claim, and somebody free for it."""
        if not self._idle:
            return False
        row = await self._pool.fetchrow(self._queries["claim"], self._holder, self._settings.lease_seconds)
        if row is None:
            return False
        lease = Lease(row["tenant"], row["job_id"], row["token"])
        process = self._idle.pop()
        task = asyncio.create_task(self._work(lease, process), name=f"job:{lease.job_id}")
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return bool(self._idle)

    async def warm_up(self) -> None:
        for process in self._idle:
            await process.warm_up()

    async def close(self) -> None:
        """Drop what we work on, and release it, so that another processor takes it over at once."""
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)
        await asyncio.gather(*(process.kill() for process in self._idle))

    async def _work(self, lease: Lease, process: StepProcess) -> None:
        log = self._telemetry.log.bind(job_id=str(lease.job_id), tenant=lease.tenant, token=lease.token)
        self._working.inc()
        try:
            row = await self._pool.fetchrow(self._queries["job"], lease.tenant, lease.job_id)
            assert row is not None
            if JobStatus(row["status"]).terminal:  # its holder was killed between the last event and the lease's end
                await self._pool.execute(self._queries["forget"], lease.tenant, lease.job_id, lease.token)
                return
            run = JobRun(lease, row["version"], _job(row), self._appender)
            async with self._keeping(lease):
                outcome = await self._run(run, row["workflow"], json.loads(row["input"]), process)
            self._finished.labels(outcome).inc()
            await self._pool.execute(self._queries["forget"], lease.tenant, lease.job_id, lease.token)
        except Fenced as taken:
            log.info("job taken over", reason=str(taken))
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await asyncio.shield(
                    self._pool.execute(self._queries["release"], lease.tenant, lease.job_id, lease.token)
                )
            raise
        except Exception as error:
            # The lease runs out, and whoever claims the job next starts it over.
            known = database_gone(error) or isinstance(error, Unavailable)
            log.log(30 if known else 40, "job interrupted", error=repr(error), exc_info=not known)
        finally:
            self._working.dec()
            self._idle.append(process)
            self._wake.set()

    async def _run(self, run: "JobRun", workflow: str, given: dict[str, Any], process: StepProcess) -> str:
        with self._telemetry.span("job", attributes={"millrace.workflow": workflow}):
            await run.append(Claim(workflow))
            try:
                if workflow not in STEPS:
                    raise StepError("unknown_workflow", f"There is no workflow {workflow!r}.")
                async with self._local_file(given["blob"]) as path:
                    result = await self._run_step(run, workflow, path, process)
            except StepError as failed:
                await run.append(Fail(JobError(code=failed.code, detail=failed.detail)))
                return "failed"
            await run.append(Complete(await self._storable(run.lease, result)))
            return "completed"

    async def _run_step(self, run: "JobRun", step: str, path: Path, process: StepProcess) -> dict[str, Any]:
        for attempt in range(1, self._settings.step_attempts + 1):
            reporter = Reporter(run)
            try:
                async with reporter.reporting():
                    return await process.run(step, path, reporter.report)
            except StepCrashed as crashed:
                self._telemetry.log.warning(
                    "step crashed", job_id=str(run.lease.job_id), attempt=attempt, error=str(crashed)
                )
        raise StepError("step_crashed", f"The step's process died {self._settings.step_attempts} times.")

    @asynccontextmanager
    async def _keeping(self, lease: Lease) -> AsyncIterator[None]:
        """Renew the lease while the block runs; if it is lost, the block is cancelled and `Fenced` raised."""
        work = asyncio.current_task()
        assert work is not None
        lost = False

        async def renew() -> None:
            nonlocal lost
            arguments = (lease.tenant, lease.job_id, lease.token, self._settings.lease_seconds)
            while not lost:
                await asyncio.sleep(self._settings.lease_seconds / 3)
                try:
                    lost = await self._pool.fetchval(self._queries["renew"], *arguments) is None
                except Exception as error:
                    if not database_gone(error):
                        raise
            work.cancel()

        renewing = asyncio.create_task(renew())
        try:
            yield
        except asyncio.CancelledError:
            if lost:
                work.uncancel()
                raise Fenced("The lease ran out.") from None
            raise
        finally:
            renewing.cancel()

    @asynccontextmanager
    async def _local_file(self, blob: str) -> AsyncIterator[Path]:
        """The blob as a file that a step can read: in place if it lies on this disk, else a copy."""
        local = self._blobs.local_path(blob)
        if local is not None and local.exists():
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="millrace-") as folder:
            path = Path(folder) / "input"
            try:
                with path.open("wb") as file:
                    async for chunk in self._blobs.read(blob):
                        await asyncio.to_thread(file.write, chunk)
            except NotFound:
                raise StepError("input_missing", "The upload's bytes are not there any more.") from None
            yield path

    async def _storable(self, lease: Lease, result: dict[str, Any]) -> dict[str, Any]:
        encoded = encode_json(result)
        if len(encoded) <= INLINE_RESULT_BYTES:
            return result
        # Named by the token: a zombie cannot overwrite what its successor has stored.
        key = f"results/{lease.tenant}/{lease.job_id}/{lease.token}.json"
        await self._blobs.put(key, encoded)
        return {"blob": key, "bytes": len(encoded)}


class JobRun:
    """One holder's work on one job: its state as we wrote it, and the way to write more."""

    def __init__(self, lease: Lease, version: int, job: Job, appender: Appender) -> None:
        self.lease = lease
        self._version = version
        self._job = job
        self._appender = appender
        self._stream = stream_name("job", lease.job_id)

    async def append(self, command: Command) -> None:
        """Append what the command leads to. Raise `Fenced` if somebody else has written to the job."""
        payload = decide(self._job, command)
        if payload is None:
            return
        event = new_event(
            type=payload.event_type,
            stream=self._stream,
            tenant=self.lease.tenant,
            source=SOURCE,
            data=payload.encode(),
            traceparent=current_traceparent(),
        )
        request = AppendRequest(self.lease.tenant, self._stream, (event,), self._version)
        outcome = await self._appender.append(request)
        if not isinstance(outcome, Appended | Duplicate):
            raise Fenced(f"Somebody else has written to {self._stream}: {outcome}")
        self._version = outcome.version
        self._job = evolve(self._job, payload)


class Reporter:
    """Turns what a step says of its progress into events: the newest counts, ten a second at most, the last always."""

    def __init__(self, run: JobRun) -> None:
        self._run = run
        self._newest: Progress | None = None
        self._news = asyncio.Event()
        self._done = asyncio.Event()

    def report(self, done: float, size: int) -> None:
        message = f"read {_megabytes(done * size)} of {_megabytes(size)} MB"
        self._newest = Progress(int(done * 100), message)
        self._news.set()

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Append reports while the block runs; if that fails, the block is cancelled and the failure raised."""
        work = asyncio.current_task()
        assert work is not None
        appending = asyncio.create_task(self._append_news())
        appending.add_done_callback(lambda task: task.exception() is None or self._done.is_set() or work.cancel())
        try:
            yield
        except asyncio.CancelledError:
            if appending.done():
                work.uncancel()
                appending.result()
            raise
        finally:
            self._done.set()
            self._news.set()
            # Never cancelled: an append that is under way decides the version that the next one expects.
            await asyncio.wait((appending,))
        appending.result()

    async def _append_news(self) -> None:
        while not self._done.is_set():
            await self._news.wait()
            self._news.clear()
            newest, self._newest = self._newest, None
            if newest is not None:
                await self._run.append(newest)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._done.wait(), PROGRESS_SECONDS)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f}"


def _job(row: Any) -> Job:
    return Job(JobStatus(row["status"]), row["progress_percent"], row["current_step"], row["step_message"])
