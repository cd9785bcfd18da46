"""What only the database or the broker can say is asked when somebody scrapes: never on a request's way, not again
within some seconds however many scrape, and not for longer than a scrape can wait."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter

import structlog
from prometheus_client import Counter, Gauge

from events.database import database_gone
from events.errors import MillraceError

Ask = Callable[[], Awaitable[None]]

FRESH_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0


class Survey:
    """If nobody answers, the figures stay as they were, and their age says so."""

    def __init__(self, ask: Ask, age: Gauge, failures: Counter, *, patience: float = _PATIENCE_SECONDS) -> None:
        self._ask = ask
        self._failures = failures
        self._patience = patience
        self._asked_at = -FRESH_SECONDS
        self._answered_at = perf_counter()
        age.set_function(lambda: perf_counter() - self._answered_at)

    async def refresh(self) -> None:
        began = perf_counter()
        if began - self._asked_at < FRESH_SECONDS:
            return
        self._asked_at = began
        try:
            async with asyncio.timeout(self._patience):
                await self._ask()
        except Exception as error:  # whatever is wrong with one, the others are told
            self._failures.inc()
            if not (database_gone(error) or isinstance(error, MillraceError)):
                structlog.stdlib.get_logger("metrics").error("survey failed", exc_info=error)
        else:
            self._answered_at = began


async def refresh(surveys: Iterable[Survey]) -> None:
    await asyncio.gather(*(survey.refresh() for survey in surveys))
