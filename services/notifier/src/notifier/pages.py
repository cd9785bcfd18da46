"""Pages of the log as they are told to those who are behind. Who comes back together is behind by the same: each page
is read once for all of them, and written once in each form."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from events.envelope import RecordedEvent
from notifier.form import Channel, Form, is_stream
from notifier.history import PAGE, History
from notifier.lines import Line, conflated, runs

# Of pages that are kept for who comes next, with what an event takes besides its payload.
_KEPT_BYTES = 16 << 20
_EVENT_BYTES = 1024


class Place(NamedTuple):
    channel: Channel
    after: int
    generation: int  # of the hub: which log it is


class Run(NamedTuple):
    """What is written at once."""

    frames: bytes
    last: int  # the place of its last event


class Page:
    __slots__ = ("_events", "_runs", "bytes", "is_full", "last")

    def __init__(self, place: Place, events: Sequence[RecordedEvent]) -> None:
        dense = is_stream(place.channel)
        self._events = [(event.version if dense else event.position, event) for event in events]
        self._runs: dict[tuple[Form, bool], list[Run]] = {}
        self.last = self._events[-1][0] if events else place.after
        self.is_full = len(events) == PAGE  # what is appended later cannot change it
        self.bytes = sum(_EVENT_BYTES + len(event.data) for event in events)

    def __len__(self) -> int:
        return len(self._events)

    def runs(self, form: Form, *, conflate: bool) -> list[Run]:
        found = self._runs.get((form, conflate))
        if found is None:
            written = ((place, event, form.encode(event)) for place, event in self._events)
            lines = [Line(event, place, text) for place, event, text in written if text is not None]
            found = [
                Run(form.pack([line.written for line in run]), run[-1].place)
                for run in runs(conflated(lines) if conflate else lines)
            ]
            self._runs[form, conflate] = found
        return found


class Pages:
    def __init__(self, history: History) -> None:
        self._history = history
        self._kept: OrderedDict[Place, Page] = OrderedDict()  # only full ones
        self._kept_bytes = 0
        self._readings: dict[Place, tuple[int, asyncio.Task[Page]]] = {}
        self._begun = 0

    async def get(self, place: Place) -> Page:
        """What the log holds now after a place."""
        came = self._begun
        while (page := self._kept.get(place)) is None:
            number, reading = self._readings.get(place) or self._begin(place)
            page = await asyncio.shield(reading)
            # One that was being read when we came may lack what we have to be told.
            if page.is_full or number > came:
                return page
        self._kept.move_to_end(place)
        return page

    def _begin(self, place: Place) -> tuple[int, asyncio.Task[Page]]:
        self._begun += 1
        self._readings[place] = begun = self._begun, asyncio.create_task(self._read(place))
        return begun

    async def _read(self, place: Place) -> Page:
        try:
            page = Page(place, await self._history.page(place.channel, place.after))
        finally:
            del self._readings[place]
        if page.is_full:
            self._keep(place, page)
        return page

    def _keep(self, place: Place, page: Page) -> None:
        self._kept[place] = page
        self._kept_bytes += page.bytes
        while self._kept_bytes > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= oldest.bytes
