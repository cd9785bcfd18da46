"""The log: callers that wait go into one call, on two lanes; the head row lets one call in at a time."""

from collections import deque
from collections.abc import Generator
from typing import Any

import simpy

from bench.simulation import measured
from bench.simulation.kernel import Loop, Process, Station, World
from events.log.append import BATCH_EVENTS, LANES, SMALLEST_SHARE


class Log:
    """`Appender` and `processor.append`, as they share callers out and wait for each other."""

    def __init__(self, world: World, loop: Loop, postgres: Station) -> None:
        self._world = world
        self._loop = loop
        self._head = Station(world)
        self._postgres = postgres
        self._waiting: deque[tuple[int, simpy.Event]] = deque()
        self._outstanding = 0
        self._wake = world.clock.event()
        for _ in range(LANES):
            world.clock.process(self._lane())

    def append(self, events: int) -> Generator[simpy.Event, Any, None]:
        """Until they are committed."""
        done = self._world.clock.event()
        self._waiting.append((events, done))
        self._outstanding += events
        if not self._wake.triggered:
            self._wake.succeed()
        yield done

    def _lane(self) -> Process:
        while True:
            if not self._waiting:
                if self._wake.triggered:
                    self._wake = self._world.clock.event()
                yield self._wake
                continue
            batch = self._next_batch()
            events = sum(size for size, _ in batch)
            yield from self._loop.work(self._world.about(events * measured.LOG_EVENT_PYTHON))
            yield from self._call(events)
            self._outstanding -= events
            yield from self._loop.work(self._world.about(len(batch) * measured.LOG_CALLER))
            for _, done in batch:
                done.succeed()

    def _call(self, events: int) -> Process:
        seconds = measured.LOG_CALL + events * measured.LOG_EVENT
        with self._head.taken() as turn:
            yield turn
            yield from self._postgres.work(self._world.about(seconds))

    def _next_batch(self) -> list[tuple[int, simpy.Event]]:
        share = min(BATCH_EVENTS, max(SMALLEST_SHARE, -(-self._outstanding // LANES)))
        batch = [self._waiting.popleft()]
        size = batch[0][0]
        while self._waiting and size + self._waiting[0][0] <= share:
            batch.append(self._waiting.popleft())
            size += batch[-1][0]
        return batch
