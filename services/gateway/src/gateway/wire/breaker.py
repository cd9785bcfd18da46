"""A service that has failed several times in a row is left alone: who asks for it is told so at once, and need not wait
until it fails again. After each pause one request is let through, and its answer brings all the others back.
"""

import asyncio
import random
from collections.abc import Iterable
from math import ceil

from prometheus_client import Counter, Gauge

from events.errors import Unavailable
from events.telemetry import Telemetry

_FAILURES = 5  # in a row, of connecting or of being answered; what a service itself answers is none
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0  # seconds


class Breaker:
    def __init__(self, service: str, is_open: Gauge, openings: Counter) -> None:
        self._service = service
        self._is_open = is_open
        self._openings = openings
        self._failures = 0
        self._pause = _FIRST_PAUSE
        self._next_try: float | None = None  # in the loop's time; None while the service answers

    def check(self) -> None:
        """Raise Unavailable, or let a request through."""
        if self._next_try is None:
            return
        now = asyncio.get_running_loop().time()
        if now < self._next_try:
            raise Unavailable(
                f"The {self._service} has not answered for a while. Try again.",
                headers={"Retry-After": str(ceil(self._next_try - now))},
            )
        # Whether it fails, or hears nothing, or its client leaves: the next one's turn is after a longer pause.
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._wait(now)

    def succeeded(self) -> None:
        if self._failures:
            self._failures, self._pause, self._next_try = 0, _FIRST_PAUSE, None
            self._is_open.set(0)

    def failed(self) -> None:
        self._failures += 1
        if self._next_try is None and self._failures == _FAILURES:
            self._is_open.set(1)
            self._openings.inc()
            self._wait(asyncio.get_running_loop().time())

    def _wait(self, now: float) -> None:
        """Replicas do not try all at the same moment."""
        self._next_try = now + self._pause * random.uniform(0.8, 1.2)  # noqa: S311


def breakers(services: Iterable[str], telemetry: Telemetry) -> dict[str, Breaker]:
    is_open = telemetry.gauge(
        "millrace_gateway_circuit_open",
        "1 while requests to a service are refused because it does not answer.",
        ["service"],
    )
    openings = telemetry.counter(
        "millrace_gateway_circuit_openings_total", "Times that a service was found not to answer.", ["service"]
    )
    return {name: Breaker(name, is_open.labels(name), openings.labels(name)) for name in services}
