"""Rounds: what is due to all cohorts is written to each connection at once.

While a round is under way, or rests, more becomes due: the next one tells all of it by one system call for each
connection. So the more there is to tell, the less an event costs; and where there is little, it waits for nothing.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby, islice
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
        taken = self._take()
        told = _one_channel(*taken[0]) if len(taken) == 1 else _channels(taken)
        time = asyncio.get_running_loop().time
        frames, until = 0, time() + _SLICE_SECONDS
        while writes := list(islice(told, _WRITES_BETWEEN_LOOKS)):
            frames += sum(writes)
            if time() > until:
                await asyncio.sleep(0)
                until = time() + _SLICE_SECONDS
        self._frames.inc(frames)

    def _take(self) -> list[tuple[Due, list[Follower]]]:
        cohorts, self._due = self._due, {}
        self._full.clear()
        self._roomy.set()
        taken = []
        for cohort in cohorts:
            if cohort.torn:
                cohort.disband()
            else:
                taken += cohort.take()
        return taken


def _one_channel(due: Due, followers: list[Follower]) -> Iterator[int]:
    """Tell them one after the other. How many events each was told."""
    data, count = due.packed, len(due.lines)
    for follower in followers:
        if not follower.live:  # it has left meanwhile
            continue
        try:
            written = follower.outlet.write(data)
        except Exception as error:
            follower.outlet.fail(error)
            continue
        if written:
            yield count
        else:
            follower.fall_behind(due.after)
            yield 0


def _channels(taken: list[tuple[Due, list[Follower]]]) -> Iterator[int]:
    """The same, and whoever is told something in several channels is told it at once."""
    told: dict[Outlet, list[tuple[Follower, Due]]] = {}
    for due, followers in taken:
        for follower in followers:
            told.setdefault(follower.outlet, []).append((follower, due))
    packed: dict[tuple[Due, ...], bytes] = {}
    for outlet, all_of_it in told.items():
        still = [(follower, due) for follower, due in all_of_it if follower.live]
        if not still:
            continue
        try:
            written = outlet.write(_packed([due for _, due in still], packed))
        except Exception as error:
            outlet.fail(error)
            continue
        if written:
            yield sum([len(due.lines) for _, due in still])
        else:
            for follower, due in still:
                follower.fall_behind(due.after)
            yield 0


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
