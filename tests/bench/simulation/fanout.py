"""The notifier: an event of the feed is decoded, put to what is due, and written to each follower in rounds."""

from collections import deque

import simpy

from bench.simulation import measured
from bench.simulation.kernel import Loop, Process, Station, World

_WRITES_AT_ONCE = 64  # simulated as one piece of work: nothing else gets in between for half a millisecond
_LONGEST_REST = 0.02


class Notifier:
    """What it is told goes to `followers` of its clients. `received` is what a client and the network take for each."""

    def __init__(self, world: World, cores: Station, received: Station, read_seconds: float) -> None:
        self._world = world
        self._loop = Loop(world, cores)
        self._received = received
        self._read_seconds = read_seconds
        self._due: deque[tuple[float, int]] = deque()
        self._under_way = False

    def tell(self, began: float, followers: int, seconds: float) -> Process:
        """One event that was appended at `began` and takes so many seconds beside its writes."""
        yield from self._loop.work(self._world.about(seconds))
        if not followers:
            return
        self._due.append((began, followers))
        if not self._under_way:
            self._under_way = True
            self._world.clock.process(self._rounds())

    def _rounds(self) -> Process:
        while self._due:
            began = self._world.clock.now
            taken, self._due = self._due, deque()
            for appended, followers in taken:
                left = followers
                while left:
                    writes = min(left, _WRITES_AT_ONCE)
                    yield from self._loop.work(writes * measured.TELL_WRITE)
                    self._world.clock.process(self._receive(appended, writes))
                    left -= writes
            if self._due:
                yield self._world.clock.timeout(min(self._world.clock.now - began, _LONGEST_REST))
        self._under_way = False

    def _receive(self, appended: float, messages: int) -> Process:
        """They read one after the other: the first has it long before the last."""
        each = self._read_seconds
        with self._received.taken() as turn:
            yield turn
            begun = self._world.clock.now
            yield self._world.clock.timeout(messages * each)
            self._received.busy_seconds += messages * each
            for number in range(messages):
                self._world.note("told", begun + (number + 1) * each - appended)


def arrive(world: World, per_second: float, at_once: int) -> simpy.Event:
    """Until the next sending of a client that sends so many at a time."""
    return world.clock.timeout(at_once / per_second)
