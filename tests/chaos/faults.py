"""What can happen to a stack: each fault has a kind, somebody whom it concerns, a beginning, a while, and an end."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from chaos.breakable import Breakable
from events.errors import StartupError

_STARTING_SECONDS = 90.0
# RabbitMQ 3.10 never elects a leader again for a queue that is younger than two seconds when the server is killed: that
# is no age of a queue at the moments that we choose. It takes ten seconds to come back, so it is not killed as often.
_BROKER_IS_SPARED = 0.8

# Services accept what another one has signed up to a minute ago, or ahead: two of them may be off by half of it each.
MOST_SKEW_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    victim: str  # not concerned by two faults at a time
    told: str
    seconds: float
    begin: Callable[[], Awaitable[None]]
    mend: Callable[[], Awaitable[None]]


def drawn(kind: str, on: Breakable, dice: random.Random) -> Fault:
    return KINDS[kind](on, dice)


def kinds(on: Breakable) -> list[str]:
    """Those that can happen here."""
    return [kind for kind in KINDS if kind != "fill" or on.disks]


def _kill(on: Breakable, dice: random.Random) -> Fault:
    part = _part(on, dice)
    return Fault("kill", part, "kill -9", dice.uniform(0, 1.5), lambda: on.kill(part), lambda: _start(on, part))


def _stop(on: Breakable, dice: random.Random) -> Fault:
    part = _part(on, dice)
    return Fault("stop", part, "SIGTERM", dice.uniform(0, 1.5), lambda: on.stop(part), lambda: _start(on, part))


def _pause(on: Breakable, dice: random.Random) -> Fault:
    part = dice.choice(on.parts)
    begin, mend = _now(lambda: on.pause(part)), _now(lambda: on.resume(part))
    return Fault("pause", part, "SIGSTOP, SIGCONT", dice.uniform(0.3, 4.0), begin, mend)


def _cut(on: Breakable, dice: random.Random) -> Fault:
    name, way = dice.choice(list(on.ways.items()))
    return Fault("cut", name, "connections are reset, and refused", dice.uniform(0.1, 3.0), way.close, way.mend)


def _partition(on: Breakable, dice: random.Random) -> Fault:
    name, way = dice.choice(list(on.ways.items()))
    told = "nothing passes, and nobody is told"
    return Fault("partition", name, told, dice.uniform(0.3, 5.0), _now(way.hold), way.mend)


def _fill(on: Breakable, dice: random.Random) -> Fault:
    name, disk = dice.choice(list(on.disks.items()))

    async def begin() -> None:
        await asyncio.to_thread(disk.fill)

    async def mend() -> None:
        disk.empty()
        if name == "log":
            await _start(on, "postgres")  # which ends itself when it cannot write ahead, as it should

    return Fault("fill", f"the disk of the {name}", "no space left on device", dice.uniform(0.5, 3.0), begin, mend)


def _skew(on: Breakable, dice: random.Random) -> Fault:
    process = dice.choice(on.stack.processes)
    seconds = dice.uniform(5.0, MOST_SKEW_SECONDS) * dice.choice((1, -1))
    begin, mend = _now(lambda: on.clocks.skew(process, seconds)), _now(lambda: on.clocks.skew(process, 0.0))
    return Fault("skew", f"the clock of {process}", f"{seconds:+.0f} s", dice.uniform(3.0, 6.0), begin, mend)


KINDS: Mapping[str, Callable[[Breakable, random.Random], Fault]] = {
    "kill": _kill,
    "stop": _stop,
    "pause": _pause,
    "cut": _cut,
    "partition": _partition,
    "fill": _fill,
    "skew": _skew,
}


def _part(on: Breakable, dice: random.Random) -> str:
    part = dice.choice(on.parts)
    if part == "rabbitmq" and dice.random() < _BROKER_IS_SPARED:
        return dice.choice(on.stack.processes)
    return part


async def _start(on: Breakable, part: str) -> None:
    """As a supervisor does: again, if what it needs is away itself and it ends for that."""
    async with asyncio.timeout(_STARTING_SECONDS):
        while True:
            with suppress(StartupError):
                await on.start(part)
                return
            await asyncio.sleep(0.2)


def _now(act: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def at_once() -> None:
        act()

    return at_once
