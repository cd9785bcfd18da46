"""What a broker has brought, until somebody takes it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Arrivals(AsyncIterator[T], Generic[T]):
    """Beyond `limit` the oldest is dropped. Whoever waits for the next one may give up at any time: nothing is lost."""

    def __init__(self, limit: int | None) -> None:
        self._held: deque[T] = deque(maxlen=limit)
        self._some = asyncio.Event()

    def put(self, item: T) -> None:
        self._held.append(item)
        self._some.set()

    def clear(self) -> None:
        self._held.clear()

    async def __anext__(self) -> T:
        while not self._held:
            self._some.clear()
            await self._some.wait()
        return self._held.popleft()
