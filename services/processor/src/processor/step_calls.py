"""Steps that a client waits for: they are of no job, and run in the same processes as those of jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from events.errors import FieldError, InvalidInput, MillraceError, RequestTimeout, TooLarge, Unavailable
from events.running.tasks import end
from processor.settings import ProcessorSettings
from processor.slots import Slots
from processor.step import StepError, StepStopped, Task
from processor.step_process import StepCrashed, StepProcess

_GRACE_SECONDS = 1.0
_RETRY_AFTER = {"Retry-After": "5"}


class Busy(Unavailable):
    code, title = "busy", "All processes are busy"


class TookTooLong(InvalidInput):
    code, title = "took_too_long", "It took too long"


class CallCrashed(MillraceError):
    """Logged with its cause, as all that is ours to mend."""

    code, title = "step_crashed", "It failed in a way that nobody had foreseen"


class Refused(InvalidInput):
    """What a step could not work on, with the step's own code."""

    code, title = "refused", "It cannot be worked on"

    def __init__(self, failed: StepError, place: str) -> None:
        """`place` is where in the request the step's options are."""
        errors = [FieldError(f"{place}.{one.place}".rstrip("."), one.code, one.detail) for one in failed.problems]
        super().__init__(failed.detail, errors=errors)
        self.code = failed.code


class StepCalls:
    def __init__(self, slots: Slots, settings: ProcessorSettings) -> None:
        self._slots = slots
        self._wait_seconds = settings.call_wait_seconds
        self._seconds = settings.call_seconds

    async def run(self, request: Request, tenant: str, task: Task, *, options_at: str, too_long: str) -> bytes:
        """Its result. It ends when nobody waits for it any more. The body of the request has been read. `too_long` is
        what a client can do if it takes too long."""
        stop = asyncio.Event()
        watching = asyncio.create_task(_set_when_gone(request, stop))
        clock = asyncio.get_running_loop()
        try:
            async with self._process(tenant) as process:
                timer = clock.call_later(self._seconds, stop.set)
                try:
                    return await process.run(task, lambda _progress: None, stop=stop, grace=_GRACE_SECONDS)
                finally:
                    timer.cancel()
        except StepStopped:
            if watching.done():
                raise RequestTimeout("The client has gone away.") from None
            raise TookTooLong(f"This takes longer than {self._seconds:g} seconds. {too_long}") from None
        except StepError as failed:
            raise _as_error(failed, options_at) from None
        except StepCrashed as crash:
            raise CallCrashed("What was to work on this has died. The request id finds it in the logs.") from crash
        finally:
            await end(watching)

    @asynccontextmanager
    async def _process(self, tenant: str) -> AsyncIterator[StepProcess]:
        try:
            async with asyncio.timeout(self._wait_seconds):
                process = await self._slots.take(tenant)
        except TimeoutError:
            detail = f"All processes have been busy for {self._wait_seconds:g} seconds. Try again."
            raise Busy(detail, headers=_RETRY_AFTER) from None
        try:
            yield process
        finally:
            self._slots.give_back(process)


async def _set_when_gone(request: Request, stop: asyncio.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    stop.set()


def _as_error(failed: StepError, options_at: str) -> MillraceError:
    match failed.code:
        case "archive_too_large":
            return TooLarge(failed.detail)
        case "disk_full":
            return Unavailable(failed.detail, headers=_RETRY_AFTER)
        case _:
            return Refused(failed, options_at)
