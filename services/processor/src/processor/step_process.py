"""The worker's end of a process that runs steps, one at a time. Whatever an input does to the process, the service does
not notice."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence

import msgspec

from processor.step import StepError, StepStopped, Task
from processor.step_protocol import (
    LENGTH_BYTES,
    LONGEST_BYTES,
    Crashed,
    Failed,
    Progress,
    Result,
    Stop,
    Stopped,
    decode_answer,
    framed,
)

STEP_COMMAND = (sys.executable, "-m", "processor.step_host")


class StepCrashed(Exception):
    """The process died, or said something that is no answer. Another attempt may go well."""


class StepProcess:
    """Kept warm between tasks: to load its libraries takes longer than to profile a small file."""

    def __init__(self, command: Sequence[str] = STEP_COMMAND) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def run(
        self, task: Task, on_progress: Callable[[Progress], None], *, stop: asyncio.Event, grace: float
    ) -> bytes:
        """The result, a JSON object. Once `stop` is set, the step is told so, and has `grace` seconds to end; then, or
        if we are cancelled, or the step crashes, the process is killed."""
        stopping = asyncio.create_task(self._stop_when(stop, grace))
        try:
            answer = await self._ask(task, on_progress)
            if isinstance(answer, Crashed):
                raise StepCrashed(answer.detail)
        except BaseException as ended:
            await asyncio.shield(self.kill())
            if isinstance(ended, OSError | EOFError | ValueError | msgspec.MsgspecError):
                if stop.is_set():
                    raise StepStopped from None
                raise StepCrashed(f"The step's process died: {ended!r}.") from ended
            raise
        finally:
            stopping.cancel()
        if isinstance(answer, Failed):
            raise StepError(answer.code, answer.detail)
        if isinstance(answer, Stopped):
            raise StepStopped
        return bytes(answer.value)

    async def warm_up(self) -> None:
        """Start the process before there is work, so that work does not wait for it."""
        await self._warm()

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _stop_when(self, stop: asyncio.Event, grace: float) -> None:
        await stop.wait()
        process = self._process
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.write(framed(Stop()))
        await asyncio.sleep(grace)
        with contextlib.suppress(ProcessLookupError):
            process.kill()  # the pipe then says that it is over

    async def _ask(self, task: Task, on_progress: Callable[[Progress], None]) -> Result | Failed | Crashed | Stopped:
        process = await self._warm()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(framed(task))
        await process.stdin.drain()
        while True:
            length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
            if length > LONGEST_BYTES:
                raise ValueError(f"an answer of {length} bytes")
            answer = decode_answer(await process.stdout.readexactly(length))
            if not isinstance(answer, Progress):
                return answer
            on_progress(answer)

    async def _warm(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")},
                start_new_session=True,  # Ctrl-C at our terminal is for us
            )
        return self._process
