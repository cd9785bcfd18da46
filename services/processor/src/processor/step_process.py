"""A process that runs steps, one at a time: both ends.

The processor's end is `StepProcess`: it keeps a process warm, hands it a step over a pipe, and kills it when it must.
The other end is `python -m processor.step_process`: it knows nothing but its pipe, and dies with it.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from processor.steps import STEPS, StepError

_LENGTH = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1


class StepCrashed(Exception):
    """The process died, or said something that is no message."""


class StepProcess:
    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, step: str, path: Path, on_progress: Callable[[float, int], None]) -> dict[str, Any]:
        """Run the step to its end. If we are cancelled, the process is killed."""
        try:
            process = await self._warm()
            assert process.stdin is not None
            process.stdin.write(_frame({"step": step, "path": str(path)}))
            await process.stdin.drain()
            while True:
                message = await self._next(process)
                match message["kind"]:
                    case "progress":
                        on_progress(message["done"], message["bytes"])
                    case "result":
                        result: dict[str, Any] = message["result"]
                        return result
                    case "failed":
                        raise StepError(message["code"], message["detail"])
                    case _:
                        raise StepCrashed(message["detail"])
        except StepError:
            raise
        except BaseException as ended:
            await asyncio.shield(self.kill())
            if isinstance(ended, OSError | EOFError | ValueError):
                raise StepCrashed("The step's process died.") from ended
            raise

    async def warm_up(self) -> None:
        """Start the process before there is work, so that work does not wait for it."""
        await self._warm()

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _warm(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "processor.step_process",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")},
            )
        return self._process

    async def _next(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        assert process.stdout is not None
        (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        message: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
        return message


def _frame(message: dict[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


class _Host:
    """The other end."""

    def __init__(self, orders: BinaryIO, answers: BinaryIO) -> None:
        self._orders = orders
        self._answers = answers
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Take orders on this thread, so that a closed pipe is noticed while a step runs on another."""
        while True:
            head = self._orders.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                os._exit(0)  # whoever ordered is gone: nobody wants the result
            (length,) = _LENGTH.unpack(head)
            order = json.loads(self._orders.read(length))
            threading.Thread(target=self._run, args=(order["step"], Path(order["path"])), daemon=True).start()

    def _run(self, step: str, path: Path) -> None:
        try:
            self._answer(kind="result", result=STEPS[step](path, self._report))
        except StepError as failed:
            self._answer(kind="failed", code=failed.code, detail=failed.detail)
        except Exception:
            self._answer(kind="crashed", detail=traceback.format_exc(limit=-3))

    def _report(self, done: float, size: int) -> None:
        self._answer(kind="progress", done=done, bytes=size)

    def _answer(self, **message: Any) -> None:
        with self._lock:
            self._answers.write(_frame(message))
            self._answers.flush()


def _main() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the processor to handle
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    import duckdb  # noqa: F401 - loaded before there is work

    _Host(sys.stdin.buffer, answers).serve()


if __name__ == "__main__":
    _main()
