"""What one piece of work may take of the loop, until everybody else has had their turn."""

import asyncio
from time import monotonic

TURN_SECONDS = 0.005


class Turn:
    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = monotonic() + TURN_SECONDS

    @property
    def over(self) -> bool:
        return monotonic() > self._until

    async def pass_on(self) -> None:
        """Let the others have theirs, and begin another one."""
        await asyncio.sleep(0)
        self._until = monotonic() + TURN_SECONDS
