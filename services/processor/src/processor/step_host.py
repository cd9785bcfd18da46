"""A step's own process: `python -m processor.step_host`. It knows nothing but its pipe, and dies with it."""

import ctypes
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import BinaryIO

import msgspec

from processor.disk import enough_disk
from processor.step import Step, StepError, StepStopped, Task
from processor.step_protocol import (
    LENGTH_BYTES,
    Answer,
    Crashed,
    Failed,
    Progress,
    Result,
    Stop,
    Stopped,
    decode_order,
    framed,
)

# Services on the same machine come first.
_NICENESS = 5
# Beside what a step may use: the interpreter, its libraries, and the stacks of threads.
_OWN_MEMORY_MB = 1024
_PR_SET_PDEATHSIG = 1


class _Host:
    def __init__(self, steps: Mapping[str, Step], orders: BinaryIO, answers: BinaryIO) -> None:
        self._steps = steps
        self._orders = orders
        self._answers = answers
        self._stop = threading.Event()

    def serve(self) -> None:
        """Take orders on this thread, so that a closed pipe is noticed while a step runs on another."""
        while head := self._orders.read(LENGTH_BYTES):
            order = decode_order(self._orders.read(int.from_bytes(head, "big")))
            if isinstance(order, Stop):
                self._stop.set()
            else:
                self._stop = threading.Event()
                threading.Thread(target=self._run, args=(order, self._stop), name=order.step, daemon=True).start()
        os._exit(0)  # whoever ordered is gone: nobody wants the result

    def _run(self, task: Task, stop: threading.Event) -> None:
        _limit_memory(task.memory_mb + _OWN_MEMORY_MB)
        said: tuple[int, str | None] | None = None

        def report(done: float, message: str | None) -> None:
            nonlocal said
            if stop.is_set():
                raise StepStopped
            saying = (int(done * 100), message)
            if saying != said:
                said = saying
                self._answer(Progress(done, message))

        try:
            with enough_disk():
                result = self._steps[task.step](task, report)
            self._answer(Result(msgspec.Raw(msgspec.json.encode(result))))
        except StepStopped:
            self._answer(Stopped())
        except StepError as failed:
            if failed.__cause__ is not None:  # nobody has foreseen it: who runs this may want to know
                traceback.print_exception(failed, limit=-3)
            self._answer(Failed(failed.code, failed.detail, failed.problems))
        except MemoryError:
            self._answer(Failed("out_of_memory", f"This needs more than the {task.memory_mb} MB that a step may use."))
        except Exception:
            self._answer(Crashed(traceback.format_exc(limit=-3)))

    def _answer(self, answer: Answer) -> None:
        self._answers.write(framed(answer))
        self._answers.flush()


def _limit_memory(megabytes: int) -> None:
    """What the step's own limit does not see, such as a library's buffers, must not take the machine down."""
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = megabytes << 20
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )


def main(steps: Mapping[str, Step]) -> None:
    """Take orders for these steps until the pipe closes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up among the answers
    _Host(steps, sys.stdin.buffer, answers).serve()


if __name__ == "__main__":
    from processor.steps import STEPS

    main(STEPS)
