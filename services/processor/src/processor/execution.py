"""Runs the steps of one job, from wherever it is to its end."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from events.blobs import Blobs
from events.errors import NotFound
from events.jobs import JobError
from processor import step_protocol
from processor.leases import Lease
from processor.progress import Pacer
from processor.results import keep_result
from processor.scratch import folder_for
from processor.settings import ProcessorSettings
from processor.step import StepError, Task
from processor.step_process import StepProcess
from processor.workflows.definition import WORKFLOWS, Workflow
from processor.workflows.engine import Claim, Complete, Fail, Progress
from processor.workflows.stream import JobStream


class Execution:
    def __init__(self, blobs: Blobs, settings: ProcessorSettings, scratch: Path) -> None:
        self._blobs = blobs
        self._settings = settings
        self._scratch = scratch

    async def run(self, job: JobStream, lease: Lease, process: StepProcess) -> None:
        """Raises `StepCrashed` if another attempt may go well, and `Fenced` if somebody else has taken the job."""
        workflow = WORKFLOWS.get(job.workflow)
        await job.tell(Claim(workflow.steps[0] if workflow else job.workflow))
        try:
            if workflow is None:
                there_are = ", ".join(sorted(WORKFLOWS))
                raise StepError("unknown_workflow", f"There is no workflow {job.workflow}. There are: {there_are}.")
            if lease.failures >= self._settings.step_attempts:
                raise StepError("step_crashed", f"The job was given up after its step died {lease.failures} times.")
            result = await self._run_steps(job, workflow, process)
        except StepError as failed:
            await job.tell(Fail(JobError(code=failed.code, detail=failed.detail)))
        else:
            # Named by the token: a zombie cannot overwrite what its successor has stored.
            key = f"results/{job.tenant}/{job.id}/{lease.token}.json"
            await job.tell(Complete(await keep_result(self._blobs, key, result)))

    async def _run_steps(self, job: JobStream, workflow: Workflow, process: StepProcess) -> bytes:
        result = b"{}"
        for index, step in enumerate(workflow.steps):

            def as_command(progress: step_protocol.Progress, index: int = index, step: str = step) -> Progress:
                """The step's progress is a part of the job's."""
                return Progress(int((index + progress.done) / len(workflow.steps) * 100), progress.message, step)

            result = await self._run_step(job, step, process, as_command)
        return result

    async def _run_step(
        self,
        job: JobStream,
        step: str,
        process: StepProcess,
        as_command: Callable[[step_protocol.Progress], Progress],
    ) -> bytes:
        pacer = Pacer[Progress](job.tell)
        try:
            # Should the log refuse the progress, we have lost the job: the group then ends the step.
            async with asyncio.TaskGroup() as group:
                group.create_task(pacer.run())
                result: bytes | None = None
                try:
                    result = await self._ask(job, step, process, lambda said: pacer.report(as_command(said)))
                finally:
                    pacer.close(superseded=result is not None)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        assert result is not None
        return result

    async def _ask(
        self, job: JobStream, step: str, process: StepProcess, on_progress: Callable[[step_protocol.Progress], None]
    ) -> bytes:
        with folder_for(self._scratch, str(job.id)) as folder:
            task = Task(
                step=step,
                input=str(await self._local_file(job.input["blob"], folder)),
                options=job.input["options"],
                scratch=str(folder),
                memory_mb=self._settings.step_memory_mb,
                threads=self._settings.step_threads,
            )
            try:
                async with asyncio.timeout(self._settings.step_seconds):
                    return await process.run(task, on_progress)
            except TimeoutError:
                seconds = f"{self._settings.step_seconds:g}"
                raise StepError("step_timeout", f"The step was ended after {seconds} seconds.") from None

    async def _local_file(self, blob: str, folder: Path) -> Path:
        """Where a step can read the blob: where it lies, or a copy if that is not on this machine."""
        try:
            await self._blobs.stat(blob)
            lies_at = self._blobs.local_path(blob)
            if lies_at is not None:
                return lies_at
            copy = folder / "input"
            with copy.open("wb") as file:
                async for chunk in self._blobs.read(blob):
                    await asyncio.to_thread(file.write, chunk)
            return copy
        except NotFound:
            raise StepError("input_missing", "The upload's bytes are not there any more.") from None
