"""How late the event loop is: what every request of a process waits besides, whoever keeps the loop."""

import asyncio
from time import perf_counter

from events.metrics.metrics import Metrics

_EVERY_SECONDS = 0.25


async def measure_lag(metrics: Metrics) -> None:
    """Until cancelled."""
    lag = metrics.histogram(
        "millrace_event_loop_lag_seconds", "How much later than it asked to be a timer of the event loop was woken."
    )
    while True:
        began = perf_counter()
        await asyncio.sleep(_EVERY_SECONDS)
        lag.observe(max(0.0, perf_counter() - began - _EVERY_SECONDS))
