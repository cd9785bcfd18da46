"""One timer that is moved as often as bytes arrive: moving it costs an assignment, not a timer."""

import asyncio
from collections.abc import Callable

from gateway.wire.nothing import nothing


class Deadline:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._missed: Callable[[], None] = nothing

    @property
    def running(self) -> bool:
        return self._due is not None

    def start(self, seconds: float, missed: Callable[[], None]) -> None:
        """Call `missed` in `seconds`, instead of whatever was agreed before."""
        self._due = self._loop.time() + seconds
        self._missed = missed
        if self._timer is None or self._timer_due > self._due:
            self._arm(self._due)

    def stop(self) -> None:
        self._due = None

    def close(self) -> None:
        """Let go of everything: no timer keeps a closed connection alive."""
        self._due, self._missed = None, nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._loop.time() < self._due:
            self._arm(self._due)
            return
        self._due = None
        self._missed()
