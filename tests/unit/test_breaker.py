"""When a service that does not answer is tried again, by a clock that the test sets."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest

from events.errors import Unavailable
from events.telemetry import Telemetry
from gateway.wire.breaker import Breaker, breakers

FAILURES = 5  # in a row, that it takes
LONGEST = 5.0 * 1.2  # seconds between two tries, jitter included


class Clock(asyncio.SelectorEventLoop):
    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    with asyncio.Runner(loop_factory=Clock) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Clock)
        yield loop


@pytest.fixture
def breaker() -> Iterator[Breaker]:
    telemetry = Telemetry("gateway")
    yield breakers(["processor"], telemetry)["processor"]
    telemetry.close()


def let_through(clock: Clock, breaker: Breaker) -> bool:
    async def check() -> None:
        breaker.check()

    with suppress(Unavailable):
        clock.run_until_complete(check())
        return True
    return False


def fail(clock: Clock, breaker: Breaker) -> None:
    async def failed() -> None:
        breaker.failed()

    clock.run_until_complete(failed())


def tries(clock: Clock, breaker: Breaker, seconds: float, *, answered: bool) -> list[float]:
    """When one who asks every 10 ms is let through. `answered`: whether each try fails at once; else none ever hears
    anything."""
    found, end = [], clock.now + seconds
    while clock.now < end:
        clock.now += 0.01
        if let_through(clock, breaker):
            found.append(clock.now)
            if answered:
                fail(clock, breaker)
    return found


@pytest.mark.parametrize("answered", [True, False], ids=["hangs up", "says nothing"])
def test_who_goes_on_failing_is_tried_ever_more_seldom_but_never_given_up(
    clock: Clock, breaker: Breaker, answered: bool
) -> None:
    """Once, the pause grew only when a try had failed: of a service that heard and never answered, a request every half
    second was let through, for the 30 s that the first of them took to fail."""
    for _ in range(FAILURES):
        assert let_through(clock, breaker)
        fail(clock, breaker)
    found = tries(clock, breaker, 60, answered=answered)
    gaps = [later - earlier for earlier, later in pairwise(found)]
    assert len(found) < 20
    assert min(gaps[3:]) > 3
    assert max(gaps) < LONGEST + 0.02


def test_what_still_fails_of_those_who_asked_before_changes_nothing(clock: Clock, breaker: Breaker) -> None:
    for _ in range(FAILURES):
        fail(clock, breaker)
    for _ in range(100):
        fail(clock, breaker)
    assert tries(clock, breaker, 1, answered=False), "the first pause is as short as ever"


def test_an_answer_forgets_all_failures(clock: Clock, breaker: Breaker) -> None:
    for _ in range(FAILURES):
        fail(clock, breaker)
    tries(clock, breaker, 60, answered=True)
    breaker.succeeded()
    for _ in range(FAILURES):
        assert let_through(clock, breaker)
        fail(clock, breaker)
    assert not let_through(clock, breaker)
    assert tries(clock, breaker, 1, answered=False), "the first pause is as short as ever"
