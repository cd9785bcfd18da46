"""One attempt of one step: run where its handler runs, within its time, and told as a command."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from structlog.stdlib import BoundLogger

from events.blobs.blobs import Blobs
from events.blobs.keys import ARTIFACTS, STAGED
from events.database import database_gone
from events.envelope import encode_json
from events.errors import Unavailable
from events.ids import derived_id
from events.jobs import Artifact, KeptBlob
from events.lifecycle import Parts
from events.telemetry import current_traceparent
from events.traces.tracing import has_failed
from processor import step_protocol
from processor.builtin.handler import Attempt, Here
from processor.handlers import HANDLERS
from processor.job_files import Noted
from processor.job_metrics import StepMetrics
from processor.language.expressions import ExpressionError
from processor.language.json_schemas import compiled, problems
from processor.queue import Lease
from processor.results import INLINE_BYTES
from processor.scratch import folder_for
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.step import StepError, StepStopped, Task
from processor.step_files import StepFiles
from processor.step_process import StepCrashed, StepProcess
from processor.turns import Turns
from processor.workflows.commands import Command, Completed, Failed, Progress, Stopped
from processor.workflows.plan import Kind, PlannedAction
from processor.workflows.scope import parameters_of
from processor.workflows.state import JobState, Key

Report = Callable[[Progress], None]


class Stop(asyncio.Event):
    """Set when a step is not wanted any more."""

    gently = False  # it notices by itself; else its task is to be cancelled


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt of one step: what it has to know of its job, and how they hear of each other."""

    state: JobState
    lease: Lease
    key: Key
    number: int
    stop: Stop
    report: Report

    @property
    def action(self) -> PlannedAction:
        return self.state.plan.action(self.key[0])

    @property
    def output_name(self) -> str:
        return _name(self.key, self.number, self.lease)

    @property
    def seen_by_handler(self) -> Attempt:
        key, lease, report = self.key, self.lease, self.report
        return Attempt(
            tenant=lease.tenant,
            job_id=lease.job_id,
            step=key[0],
            item=key[1],
            number=self.number,
            effect_id=derived_id(lease.job_id, f"{key[0]}:{key[1]}"),
            output_name=self.output_name,
            report=lambda done, message: report(Progress(key, done, message)),
            traceparent=current_traceparent(),
        )

    def failed(self, code: str, detail: str) -> Failed:
        return Failed(self.key, self.number, code, detail)

    def crashed(self, detail: str) -> Failed:
        return Failed(self.key, self.number, "step_crashed", detail, crashed=True)


class Attempts:
    def __init__(
        self,
        parts: Parts,
        settings: ProcessorSettings,
        noted: Noted,
        slots: Slots,
        here: Mapping[str, Here],
        scratch: Path,
        turns: Turns,
    ) -> None:
        self._blobs: Blobs = parts.blobs
        self._telemetry = parts.telemetry
        self._log = parts.telemetry.log
        self._settings = settings
        self._noted = noted
        self._slots = slots
        self._here = here
        self._scratch = scratch
        self._turns = turns
        self._metrics = StepMetrics(parts.telemetry.metrics)
        self._validators = {name: compiled(handler.parameters) for name, handler in HANDLERS.items()}

    async def run(self, it: Assignment) -> Command:
        """What became of it. Raises what is not the step's fault: then the job is tried again as a whole."""
        about: dict[str, str | int] = {"millrace.step": it.key[0], "millrace.attempt": it.number}
        with self._telemetry.span(f"step {it.action.uses}", attributes=about) as span:
            became = await self._run(it)
            if isinstance(became, Failed):
                has_failed(span, became.code)
            return became

    async def _run(self, it: Assignment) -> Command:
        action = it.action
        seconds = self._settings.step_seconds if action.timeout is None else action.timeout
        try:
            with ExitStack() as folder:
                async with self._process_for(it) as process, asyncio.timeout(seconds) as limit:
                    files = None if process is None else folder.enter_context(self._files_for(it))
                    output, artifacts = await self._output(it, process, files)
                if files is not None:  # while the process is another's already
                    it.stop.gently = False
                    artifacts = await files.keep()
            ended = await self.completed(it.state, it.lease, it.key, it.number, output)
            return replace(ended, artifacts=artifacts)
        except StepStopped:
            return Stopped(it.key, it.number)
        except asyncio.CancelledError:
            if _is_cancelled() and not it.stop.is_set():
                raise
            return Stopped(it.key, it.number)
        except ExpressionError as wrong:
            return it.failed("expression_failed", wrong.detail)
        except StepError as failed:
            return it.failed(failed.code, failed.detail)
        except TimeoutError:
            if not limit.expired():
                raise
            return it.failed("step_timeout", f"The step was ended after {seconds:g} seconds.")
        except StepCrashed as crash:
            self._logged(it).error("step crashed", error=str(crash))
            return it.crashed(f"The step died in attempt {it.number}.")
        except Exception as error:
            if database_gone(error) or isinstance(error, Unavailable):
                raise
            self._logged(it).error("step crashed", exc_info=True)
            return it.crashed(f"The step failed in attempt {it.number}.")

    async def completed(self, state: JobState, lease: Lease, key: Key, number: int, output: Any) -> Completed:
        """A large output becomes a blob, and an expression may still read it."""
        async with self._turns.turn(lease.job_id):
            body = encode_json(output)
        if len(body) <= INLINE_BYTES:
            return Completed(key, number, output)
        blob = f"results/{lease.tenant}/{lease.job_id}/{_name(key, number, lease)}.json"
        await self._blobs.put(blob, body)
        if key[0] in state.plan.read:
            state.loaded[blob] = output
        return Completed(key, number, blob=KeptBlob(blob=blob, bytes=len(body)))

    async def _output(
        self, it: Assignment, process: StepProcess | None, files: StepFiles | None
    ) -> tuple[Any, Sequence[Artifact]]:
        async with self._turns.turn(it.lease.job_id):
            parameters = parameters_of(it.state, it.key, it.action)
            self._check(it.action.uses, parameters)
        if process is not None and files is not None:
            return await self._in_process(process, it, files, parameters), ()
        attempt = it.seen_by_handler
        return await self._here[it.action.uses](attempt, parameters), attempt.artifacts

    @contextmanager
    def _files_for(self, it: Assignment) -> Iterator[StepFiles]:
        lease = it.lease
        with folder_for(self._scratch, str(lease.job_id)) as folder:
            yield StepFiles(
                self._blobs,
                self._noted,
                folder,
                lease.tenant,
                lease.job_id,
                it.output_name,
                disk_free_bytes=self._settings.caps.disk_free_bytes,
            )

    @asynccontextmanager
    async def _process_for(self, it: Assignment) -> AsyncIterator[StepProcess | None]:
        """The step's time begins when its turn has come."""
        if it.action.kind is not Kind.PROCESS:
            with self._metrics.attempt(it.action.uses):
                yield None
            return
        process = await self._slots.take(it.lease.tenant)
        try:
            with self._metrics.attempt(it.action.uses):
                yield process
        finally:
            self._slots.give_back(process)

    def _check(self, handler: str, parameters: Any) -> None:
        """What expressions have made of them is only known now."""
        wrong = [*islice(problems(self._validators[handler], HANDLERS[handler].parameters, parameters, ("with",)), 5)]
        if wrong:
            raise StepError("invalid_parameters", " ".join(f"{problem.place}: {problem.detail}" for problem in wrong))

    async def _in_process(self, process: StepProcess, it: Assignment, files: StepFiles, parameters: Any) -> Any:
        def said(progress: step_protocol.Progress) -> None:
            it.report(Progress(it.key, progress.done, progress.message))

        given = await files.fetch(parameters)
        task = Task(
            step=it.action.uses,
            input=given.input,
            options=parameters.get("options", {}),
            scratch=str(files.scratch),
            memory_mb=self._settings.step_memory_mb,
            threads=self._settings.step_threads,
            caps=self._settings.caps,
            inputs=given.inputs,
            input_offset=given.input_offset,
            outputs=str(files.outputs),
            output_key=files.key_of(STAGED),
            artifact_key=files.key_of(ARTIFACTS),
        )
        it.stop.gently = True
        with self._telemetry.span(f"run {it.action.uses}"):
            result = await process.run(task, said, stop=it.stop, grace=self._settings.step_grace_seconds)
        return msgspec.json.decode(result)

    def _logged(self, it: Assignment) -> BoundLogger:
        return self._log.bind(job_id=str(it.lease.job_id), step=it.key[0], attempt=it.number)


def _is_cancelled() -> bool:
    """By us. A library may as well let out what one of its own tasks was cancelled with."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _name(key: Key, number: int, lease: Lease) -> str:
    """No other attempt has it, nor the same one of a zombie."""
    item = "" if key[1] is None else f".{key[1]}"
    return f"{key[0].replace(':', '.')}{item}.{number}.{lease.token}"
