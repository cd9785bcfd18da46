"""What a simulation is made of beside simpy itself: stations that work, and what was seen of them."""

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy
from simpy.resources.resource import Request

Process = Generator[simpy.Event, Any, None]

# How long a core works for one before another has its turn; the kernel's own share is some milliseconds.
SLICE_SECONDS = 0.003
# Of a service time, in shares of its mean: what a loop or a database takes for the same thing varies by about so much.
SPREAD = 0.4


class Station:
    """So many servers with one queue, first come, first served: a loop, a lock, a disk."""

    def __init__(self, world: "World", servers: int = 1) -> None:
        self._world = world
        self._servers = simpy.Resource(world.clock, capacity=servers)
        self.busy_seconds = 0.0

    def taken(self) -> Request:
        """One of the servers, for as long as the context lasts."""
        return self._servers.request()

    def work(self, seconds: float) -> Process:
        with self.taken() as turn:
            yield turn
            yield self._world.clock.timeout(seconds)
            self.busy_seconds += seconds

    @property
    def utilisation(self) -> float:
        return self.busy_seconds / (self._world.clock.now * self._servers.capacity)


class Cores(Station):
    """The same, but whoever works long is interrupted for those who wait."""

    def work(self, seconds: float) -> Process:
        while seconds > 0:
            piece = min(seconds, SLICE_SECONDS)
            yield from super().work(piece)
            seconds -= piece


class Loop:
    """A process with one thread: it does one thing at a time, and needs a core for it."""

    def __init__(self, world: "World", cores: Station) -> None:
        self._thread = Station(world)
        self._cores = cores

    def work(self, seconds: float) -> Process:
        with self._thread.taken() as turn:
            yield turn
            yield from self._cores.work(seconds)


@dataclass
class World:
    """One run: its clock, its dice, and what it was asked to note."""

    seed: int
    clock: simpy.Environment = field(default_factory=simpy.Environment)
    noted: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def about(self, mean: float) -> float:
        """A service time near its mean, by a gamma distribution."""
        shape = 1 / SPREAD**2
        return self.dice.gammavariate(shape, mean / shape)

    def note(self, name: str, seconds: float) -> None:
        self.noted.setdefault(name, []).append(seconds)

    def milliseconds(self, name: str, percent: float) -> float:
        """A percentile of what was noted."""
        found = sorted(self.noted[name])
        return 1000 * found[min(len(found) - 1, int(len(found) * percent / 100))]

    def run(self, seconds: float) -> None:
        self.clock.run(until=seconds)
