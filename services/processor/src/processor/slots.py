"""The processes that steps compute in: a few, shared by many jobs, and no tenant's before the others'."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from time import perf_counter

from events.metrics.metrics import LONG_SECONDS, Metrics
from processor.step_process import STEP_COMMAND, StepProcess


class Slots:
    """Whoever waits gets a process when one is free: tenants take turns, each in its own order."""

    def __init__(self, count: int, command: Sequence[str] = STEP_COMMAND, metrics: Metrics | None = None) -> None:
        self._idle = [StepProcess(command) for _ in range(count)]
        self._waiting: OrderedDict[str, deque[asyncio.Future[StepProcess]]] = OrderedDict()
        self.count = count
        metrics = metrics or Metrics()
        self._waits = metrics.histogram(
            "millrace_step_wait_duration_seconds",
            "Until a step or a call had a process of its own.",
            buckets=LONG_SECONDS,
        )
        processes = metrics.gauge(
            "millrace_step_processes", "Processes that steps compute in.", {"state": ["idle", "busy"]}
        )
        processes.labels("idle").set_function(lambda: len(self._idle))
        processes.labels("busy").set_function(lambda: self.count - len(self._idle))
        waiting = metrics.gauge("millrace_step_processes_waiting", "Steps and calls that wait for one.")
        waiting.set_function(lambda: sum(map(len, self._waiting.values())))

    async def warm_up(self) -> None:
        await asyncio.gather(*(process.warm_up() for process in self._idle))

    async def close(self) -> None:
        await asyncio.gather(*(process.kill() for process in self._idle))

    async def take(self, tenant: str) -> StepProcess:
        began = perf_counter()
        process = await self._take(tenant)
        self._waits.observe(perf_counter() - began)
        return process

    async def _take(self, tenant: str) -> StepProcess:
        if self._idle:
            return self._idle.pop()
        turn: asyncio.Future[StepProcess] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(turn.result())
            raise

    def give_back(self, process: StepProcess) -> None:
        while self._waiting:
            tenant, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[tenant] = queue  # behind the others
            if not turn.done():
                turn.set_result(process)
                return
        self._idle.append(process)
