"""Progress as it is logged: the newest, at most ten times a second, and never without the last."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

SECONDS_BETWEEN = 0.1

T = TypeVar("T")


class Pacer(Generic[T]):
    """Passes on what it is told; what comes too fast is skipped in favour of what comes after it."""

    def __init__(self, tell: Callable[[T], Awaitable[None]], *, seconds_between: float = SECONDS_BETWEEN) -> None:
        self._tell = tell
        self._seconds_between = seconds_between
        self._newest: T | None = None
        self._some = asyncio.Event()
        self._superseded = asyncio.Event()
        self._closed = False

    def report(self, progress: T) -> None:
        self._newest = progress
        self._some.set()

    def close(self, *, superseded: bool) -> None:
        """Nothing more comes. What has not been told yet still is, unless what comes now says more."""
        self._closed = True
        self._some.set()
        if superseded:
            self._newest = None
            self._superseded.set()

    async def run(self) -> None:
        """Until `close`."""
        while self._newest is not None or not self._closed:
            await self._some.wait()
            self._some.clear()
            newest, self._newest = self._newest, None
            if newest is not None:
                await self._tell(newest)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._superseded.wait(), self._seconds_between)
