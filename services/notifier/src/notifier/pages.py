"""Pages of the log, read and written in a form once for all who are behind at the same place.

After a restart many come back at once, and most of them follow what others follow too: the database would be asked for
the same events a thousand times, and each of them would be written anew.
"""

import asyncio
from typing import NamedTuple, TypeAlias

from notifier.cohort import Room
from notifier.form import Channel, Form
from notifier.history import History, most_after
from notifier.lines import Line, conflated, runs

# Of pages that will never change, those that were asked for last are kept for whoever comes next.
_KEPT_BYTES = 16 * 1024 * 1024
# What a page costs beside what is written, which may be nothing at all: a form may have no words for any of its events.
_PAGE_BYTES = 1024


class Page(NamedTuple):
    events: int
    runs: list[tuple[bytes, int]]  # what is written at once, and the place of the last event in it
    end: int  # the place of the last event
    last: bool  # the log held no more when it was read


_Kept: TypeAlias = tuple[int, Channel, Form, bool, int]
_Flight: TypeAlias = tuple[Room, Form, bool, int]


class Pages:
    def __init__(self, history: History) -> None:
        self._history = history
        self._reading: dict[_Flight, asyncio.Task[Page]] = {}
        self._kept: dict[_Kept, Page] = {}
        self._kept_bytes = 0

    async def page(self, room: Room, form: Form, after: int, *, conflate: bool) -> Page:
        """What the log says after a place in a channel.

        A page that is being read already may be the last one for whoever comes now, too: what was told since it was
        begun, their room has heard.
        """
        key = (room.log, room.channel, form, conflate, after)
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept[key] = kept  # as the newest
            await asyncio.sleep(0)  # who gets one after the other must let others have their turn
            return kept
        flight = (room, form, conflate, after)
        reading = self._reading.get(flight)
        if reading is None:
            reading = self._reading[flight] = asyncio.create_task(self._read(key, flight))
        return await asyncio.shield(reading)  # others may wait for it when this one has left

    async def _read(self, key: _Kept, flight: _Flight) -> Page:
        room, form, conflate, after = flight
        try:
            events = await self._history.page(room.channel, after)
        finally:
            # Before anybody can see that it is over: who came then would have it again and again, and no other a turn.
            del self._reading[flight]
        written = ((event, form.encode(event)) for event in events)
        lines = [Line(event, room.place(event), text) for event, text in written if text is not None]
        packed = [
            (form.pack([line.written for line in run]), run[-1].place)
            for run in runs(conflated(lines) if conflate else lines)
        ]
        end = room.place(events[-1]) if events else after
        page = Page(len(events), packed, end, last=len(events) < most_after(room.channel, after))
        if not page.last:
            self._keep(key, page)
        return page

    def _keep(self, key: _Kept, page: Page) -> None:
        if key in self._kept:
            return  # two rooms have read it, one after the other was left empty
        self._kept[key] = page
        self._kept_bytes += _size(page)
        while self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= _size(self._kept.pop(next(iter(self._kept))))


def _size(page: Page) -> int:
    return _PAGE_BYTES + sum(len(data) for data, _ in page.runs)
