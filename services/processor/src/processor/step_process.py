"""The worker's end of a process that runs steps, one at a time. Whatever an input does to the process, the service does
not notice."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from opentelemetry.trace import get_current_span

from processor.step import StepError, StepStopped, Task
from processor.step_protocol import (
    LENGTH_BYTES,
    LONGEST_BYTES,
    Crashed,
    Failed,
    Order,
    Progress,
    Result,
    Stop,
    Stopped,
    decode_answer,
    framed,
)

Final: TypeAlias = Result | Failed | Crashed | Stopped

STEP_COMMAND = (sys.executable, "-m", "processor.step_host")

# A process that has more than this when it is idle has lost it: its next task would be the one to miss it.
_IDLE_BYTES = 512 << 20
_LOOK_SECONDS = 0.25
# What a file that takes a step over must not find: settings hold passwords, and headers of collectors keys.
_OURS = ("MILLRACE_", "OTEL_")
_CLOSING_SECONDS = 1.0


class StepCrashed(Exception):
    """The process died, or said something that is no answer. Another attempt may go well."""


class StepProcess:
    """Kept warm between tasks: to load its libraries takes longer than to profile a small file."""

    def __init__(self, command: Sequence[str] = STEP_COMMAND) -> None:
        self._command = command
        self._process: Process | None = None

    async def run(
        self, task: Task, on_progress: Callable[[Progress], None], *, stop: asyncio.Event, grace: float
    ) -> bytes:
        """The result, a JSON object. Once `stop` is set, the step is told so, and has `grace` seconds to end; then, or
        if we are cancelled, or the step crashes, the process is killed."""
        try:
            process = await self._warm()
            get_current_span().set_attribute("process.pid", process.pid)
            _tell(process, task)  # before it may be told to stop: what comes before a task does not mean it
            stopping = asyncio.create_task(_stop_when(stop, process, grace))
            try:
                answer = await _final_answer(process, on_progress)
            finally:
                stopping.cancel()
            if isinstance(answer, Crashed):
                raise StepCrashed(answer.detail)
        except BaseException as ended:
            await asyncio.shield(self.kill())
            if isinstance(ended, OSError | EOFError | ValueError | msgspec.MsgspecError):
                if stop.is_set():
                    raise StepStopped from None
                raise StepCrashed(f"The step's process died: {ended!r}.") from ended
            raise
        if _outgrown(process):
            await asyncio.shield(self.kill())
        if isinstance(answer, Failed):
            raise StepError(answer.code, answer.detail, answer.problems)
        if isinstance(answer, Stopped):
            raise StepStopped
        return bytes(answer.value)

    async def warm_up(self) -> None:
        """Start the process before there is work, so that work does not wait for it."""
        await self._warm()

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            with contextlib.suppress(TimeoutError):  # a pipe that a child of its has taken elsewhere never closes
                await asyncio.wait_for(process.wait(), _CLOSING_SECONDS)
            transport: asyncio.SubprocessTransport = vars(process)["_transport"]  # which alone lets go of that pipe
            transport.close()

    async def _warm(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
                start_new_session=True,  # Ctrl-C at our terminal is for us, and its children are killed with it
            )
        return self._process


def _tell(process: Process, order: Order) -> None:
    assert process.stdin is not None
    process.stdin.write(framed(order))


async def _final_answer(process: Process, on_progress: Callable[[Progress], None]) -> Final:
    """Its pipe closes when it dies; but not if it has left children behind that have the pipe too."""
    reading = asyncio.create_task(_read_answers(process, on_progress))
    try:
        while not reading.done() and process.returncode is None:
            await asyncio.wait({reading}, timeout=_LOOK_SECONDS)
        if not reading.done():
            _kill(process)
            await asyncio.wait({reading}, timeout=_CLOSING_SECONDS)
        if not reading.done():
            raise EOFError
        return reading.result()
    finally:
        reading.cancel()


async def _read_answers(process: Process, on_progress: Callable[[Progress], None]) -> Final:
    assert process.stdout is not None
    while True:
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        if length > LONGEST_BYTES:
            raise ValueError(f"an answer of {length} bytes")
        answer = decode_answer(await process.stdout.readexactly(length))
        if not isinstance(answer, Progress):
            return answer
        on_progress(answer)


async def _stop_when(stop: asyncio.Event, process: Process, grace: float) -> None:
    await stop.wait()
    with contextlib.suppress(OSError):
        _tell(process, Stop())
    await asyncio.sleep(grace)
    _kill(process)


def _kill(process: Process) -> None:
    """With all that it has started: it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _outgrown(process: Process) -> bool:
    try:
        *_, data, _ = Path(f"/proc/{process.pid}/statm").read_text().split()
    except OSError:
        return False  # only Linux tells, and only there a task is limited
    return int(data) * os.sysconf("SC_PAGE_SIZE") > _IDLE_BYTES
