"""Jobs take turns on the loop."""

import asyncio
import time
from collections.abc import Iterator
from uuid import UUID

from events.telemetry import Telemetry
from processor.turns import SLOW_SECONDS, TURN_SECONDS, Turns

JOB = UUID(int=1)


async def test_the_loop_serves_everybody_between_two_turns_that_take_long() -> None:
    """A thousand steps that began at once filled in what they are given at once."""
    loop, turns = asyncio.get_running_loop(), Turns(Telemetry("test"))
    served = 0

    def serve() -> None:
        nonlocal served
        served += 1
        loop.call_soon(serve)

    async def compute() -> int:
        async with turns.turn(JOB):
            time.sleep(TURN_SECONDS)  # noqa: ASYNC251 - as an expression would
            return served

    serve()
    assert len(set(await asyncio.gather(*(compute() for _ in range(5))))) == 5


async def test_what_does_not_take_long_waits_for_nobody() -> None:
    turns = Turns(Telemetry("test"))

    async def compute() -> None:
        async with turns.turn(JOB):
            pass

    computing = compute()
    try:
        computing.send(None)
    except StopIteration:
        return
    raise AssertionError("it has given the loop back")


async def test_a_turn_that_keeps_the_loop_is_counted() -> None:
    telemetry = Telemetry("test")
    turns = Turns(telemetry)

    def pieces() -> Iterator[None]:
        for seconds in (0.0, SLOW_SECONDS, 0.0):
            time.sleep(seconds)
            yield

    await turns.through(pieces(), JOB)
    assert telemetry.registry.get_sample_value("millrace_slow_turns_total") == 1
