"""Rounds: what is due to all cohorts is written to each connection at once.

While a round is under way, or rests, more becomes due: the next one tells all of it by one system call for each
connection. So the more there is to tell, the less an event costs; and where there is little, it waits for nothing.
"""

import asyncio
from contextlib import suppress
from itertools import groupby
from operator import itemgetter

from prometheus_client import Counter

from notifier.cohort import Cohort, Due, Follower, Outlet
from notifier.lines import RUN_BYTES

_LONGEST_REST_SECONDS = 0.02

# How long connections are written to between two looks at everything else that the loop has to do.
_SLICE_SECONDS = 0.005
_WRITES_BETWEEN_LOOKS = 32  # at the clock


class Rounds:
    def __init__(self, frames: Counter) -> None:
        self._frames = frames
        self._due: dict[Cohort, None] = {}
        self._under_way: asyncio.Task[None] | None = None
        self._full = asyncio.Event()  # as much is due to a cohort as is written at once
        self._roomy = asyncio.Event()  # the contrary
        self._roomy.set()

    def add(self, cohort: Cohort) -> None:
        """Something is due to it."""
        self._due[cohort] = None
        if cohort.size >= RUN_BYTES:
            self._full.set()
            self._roomy.clear()
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._go())

    async def roomy(self) -> None:
        """Wait until more may become due."""
        await self._roomy.wait()

    async def _go(self) -> None:
        time = asyncio.get_running_loop().time
        try:
            while self._due:
                began = time()
                await self._round()
                if self._due:
                    await self._rest(time() - began)
        finally:
            self._under_way = None

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, _LONGEST_REST_SECONDS)):
                await self._full.wait()

    async def _round(self) -> None:
        time = asyncio.get_running_loop().time
        due = self._take()
        packed: dict[tuple[Due, ...], bytes] = {}
        until = time() + _SLICE_SECONDS
        for number, (outlet, told) in enumerate(due.items(), 1):
            self._tell(outlet, told, packed)
            if number % _WRITES_BETWEEN_LOOKS == 0 and time() > until:
                await asyncio.sleep(0)
                until = time() + _SLICE_SECONDS

    def _take(self) -> dict[Outlet, list[tuple[Follower, Due]]]:
        cohorts, self._due = self._due, {}
        self._full.clear()
        self._roomy.set()
        taken: dict[Outlet, list[tuple[Follower, Due]]] = {}
        for cohort in cohorts:
            if cohort.torn:
                cohort.disband()
                continue
            for follower, due in cohort.take():
                told = taken.get(follower.outlet)
                if told is None:
                    taken[follower.outlet] = [(follower, due)]
                else:
                    told.append((follower, due))
        return taken

    def _tell(self, outlet: Outlet, told: list[tuple[Follower, Due]], packed: dict[tuple[Due, ...], bytes]) -> None:
        told = [(follower, due) for follower, due in told if follower.live]  # somebody may have left meanwhile
        if not told:
            return
        try:
            written = outlet.write(_packed([due for _, due in told], packed))
        except Exception as error:
            outlet.fail(error)
            return
        if written:
            self._frames.inc(sum(len(due.lines) for _, due in told))
        else:
            for follower, due in told:
                follower.fall_behind(due.after)


def _packed(dues: list[Due], packed: dict[tuple[Due, ...], bytes]) -> bytes:
    """All of it in the log's order; made once for all who follow the same channels."""
    if len(dues) == 1:
        return dues[0].packed
    key = tuple(dues)
    if key not in packed:
        lines = [(line.event.position, due.form, line.written) for due in dues for line in due.lines]
        lines.sort(key=itemgetter(0))
        packed[key] = b"".join(form.pack([line[2] for line in run]) for form, run in groupby(lines, key=itemgetter(1)))
    return packed[key]
