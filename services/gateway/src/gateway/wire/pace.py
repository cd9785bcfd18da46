"""What bodies in tiny pieces may cost: all of them together a share of our time, and each turn a moment of it.

A chunk costs us the same whether it holds a byte or a kilobyte, and so does each time that the kernel gives us what has
come. Whoever sends many pieces for few bytes waits: meanwhile the kernel puts what comes into larger ones. Who sends
bodies in pieces of half a kilobyte or more never waits.
"""

import time
from collections.abc import Callable

MOST_CHUNKS = 1_000  # that are read in one go: a millisecond or two

_CHUNKS_PER_SECOND = 100_000  # of all connections; about an eighth of a core
_BURST = 2_000  # chunks
_OF_A_READ = 16  # as many chunks cost as much as a read, and passing it on
_FREE_BYTES = 512  # for so many, a chunk is free
_SHORTEST_SECONDS = 0.001  # a wait that is worth it


class Pace:
    """One for all connections of a process. Who waits gets his turn when all who came before have had theirs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = 0.0

    def seconds_to_wait(self, chunks: int, size: int) -> float:
        """Before the connection may be read from again that has brought so many bytes in so many chunks."""
        cost = _OF_A_READ + chunks - size // _FREE_BYTES
        if cost <= 0:
            return 0.0
        now = self._clock()
        self._due = max(self._due, now - _BURST / _CHUNKS_PER_SECOND) + cost / _CHUNKS_PER_SECOND
        wait = self._due - now
        return wait if wait >= _SHORTEST_SECONDS else 0.0
