"""When a schedule fires, and which of its firings are still wanted if they were missed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from processor.schedules.cron import Cron

_INSTANT = timedelta(microseconds=1)
_FIRST_LOOK_BACK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Every:
    """So many seconds of real time, whatever clocks show, without drift: they count from `anchor`."""

    seconds: int
    anchor: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        step = timedelta(seconds=self.seconds)
        return self.anchor + ((moment - self.anchor) // step + 1) * step


Timing: TypeAlias = Cron | Every


def first_wanted(
    timing: Timing, next_at: datetime, now: datetime, *, most: int, oldest: datetime | None = None
) -> datetime | None:
    """Of the firings from `next_at` until `now`, the first of the newest `most` that are not before `oldest`."""
    first: datetime | None = next_at
    if oldest is not None and next_at < oldest:
        first = timing.next_after(oldest - _INSTANT)
    if first is None or first > now:
        return None
    last = first
    for _ in range(most):
        following = timing.next_after(last)
        if following is None or following > now:
            return first
        last = following
    wanted = now + _INSTANT
    for _ in range(most):
        found = newest_before(timing, wanted, first)
        assert found is not None, "there are more than so many"
        wanted = found
    return wanted


def newest_before(timing: Timing, moment: datetime, oldest: datetime) -> datetime | None:
    """The newest firing before `moment` that is not before `oldest`, found by few questions, however many there are."""
    span = _FIRST_LOOK_BACK
    while True:
        begin = max(oldest, moment - span)
        found = timing.next_after(begin - _INSTANT)
        if found is not None and found < moment:
            return _last_within(timing, found, moment)
        if begin == oldest:
            return None
        span *= 4


def _last_within(timing: Timing, found: datetime, end: datetime) -> datetime:
    """The last firing before `end`, if one was found."""
    while True:
        following = timing.next_after(found)
        if following is None or following >= end:
            return found
        found = following
        middle = found + (end - found) / 2
        beyond = timing.next_after(middle)
        if beyond is not None and beyond < end:
            found = beyond
        else:
            end = middle + _INSTANT
