"""Sending clients away. All of them come again at once, so they are not all sent at once."""

import asyncio
import random
from collections.abc import Callable, Sequence

_IN_A_SECOND = 100


def spread(goodbyes: Sequence[Callable[[], None]], *, within: float) -> float:
    """Say each at a random moment, about a hundred in a second, or more for all to be said `within` so many seconds.
    Returns how many seconds it takes."""
    loop = asyncio.get_running_loop()
    seconds = min(within, len(goodbyes) / _IN_A_SECOND)
    for goodbye in goodbyes:
        loop.call_later(random.uniform(0, seconds), goodbye)  # noqa: S311 - jitter
    return seconds
