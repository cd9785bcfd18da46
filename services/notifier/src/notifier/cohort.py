"""Who is told a channel live, and what is due to them.

All who follow a channel in one form have been told the same: they are a cohort, and what is due is packed once for all
of it. Whoever comes from the log may have had some of that already, and is then told only the rest, once.
"""

from bisect import bisect_right
from collections.abc import Iterator
from operator import attrgetter
from typing import Protocol

from events.envelope import RecordedEvent
from notifier.form import Channel, Form, Written, is_stream
from notifier.lines import Line, conflated
from notifier.outlet import Outlet

_place = attrgetter("place")


class Follower(Protocol):
    @property
    def form(self) -> Form: ...
    @property
    def conflate(self) -> bool: ...
    @property
    def cursor(self) -> int:
        """The place of the last event told when it joined."""

    @property
    def live(self) -> bool: ...
    @property
    def alone(self) -> bool:
        """Whether its outlet certainly has no other follower."""

    @property
    def outlet(self) -> Outlet: ...
    def fall_behind(self, told: int) -> None:
        """It has been told up to there, if it had not read more when it joined, and reads the log from now on."""


class Due:
    """What some followers are told next, all from the same place on."""

    __slots__ = ("_packed", "after", "form", "lines", "torn")

    def __init__(self, after: int, form: Form, lines: list[Line], *, torn: bool = False) -> None:
        self.after = after
        self.form = form
        self.lines = lines
        self.torn = torn  # something is missing behind the lines: it cannot be told, only read from the log
        self._packed: bytes | None = None

    @property
    def packed(self) -> bytes:
        if self._packed is None:
            self._packed = self.form.pack([line.written for line in self.lines])
        return self._packed


class Cohort:
    __slots__ = ("_after", "_ahead", "_lines", "_members", "_told", "_torn", "conflate", "form", "size")

    def __init__(self, form: Form, told: int, *, conflate: bool) -> None:
        self.form = form
        self.conflate = conflate
        self.size = 0  # bytes that are due
        self._torn = False  # something is missing behind the lines: all must read the log
        self._lines: list[Line] = []
        self._told = told  # the place of what came last
        self._after = told  # up to here all members have been told; what came since is due
        self._members: dict[Follower, None] = {}  # in the order of their coming
        self._ahead: dict[Follower, int] = {}  # who has had more than that, and up to where

    def __bool__(self) -> bool:
        return bool(self._members or self._ahead)

    def join(self, follower: Follower) -> None:
        if follower.cursor == self._after:
            self._members[follower] = None
        else:
            self._ahead[follower] = follower.cursor

    def leave(self, follower: Follower) -> None:
        self._members.pop(follower, None)
        self._ahead.pop(follower, None)

    @property
    def due(self) -> bool:
        """Whether anything is."""
        return bool(self._lines) or self._torn

    def hear(self, line: Line) -> None:
        self._told = line.place
        self._lines.append(line)
        self.size += len(line.written)

    def skip(self, place: int) -> None:
        """Something came that the form has no words for."""
        self._told = place
        if not self.due:
            self._after = place

    def tear(self, place: int) -> None:
        """Something came that cannot be told, or something before it did not come."""
        self._told = place
        self._torn = True

    def take(self) -> list[tuple[Due, list[Follower]]]:
        """What is due, and to whom; from now on they have been told."""
        lines, after, torn = self._lines, self._after, self._torn
        self._lines, self.size, self._after, self._torn = [], 0, self._told, False
        if torn:
            torn_off = [*self._members, *self._ahead]
            return [(Due(after, self.form, lines, torn=True), torn_off)] if torn_off else []
        groups = {0: list(self._members)}  # by how many of the lines they have had
        for follower, cursor in tuple(self._ahead.items()):
            groups.setdefault(bisect_right(lines, cursor, key=_place), []).append(follower)
            if cursor <= self._told:
                del self._ahead[follower]
                self._members[follower] = None
        taken = []
        for had, followers in groups.items():
            rest, told = lines[had:], lines[had - 1].place if had else after
            if rest and followers:
                taken.append((Due(told, self.form, conflated(rest) if self.conflate else rest), followers))
        return taken


class Room:
    """All who follow one channel, live or not."""

    __slots__ = ("_cohorts", "_dense", "channel", "followers", "log", "told")

    def __init__(self, channel: Channel, log: int) -> None:
        self.channel = channel
        self.log = log  # another number for another log
        self.followers = 0
        self.told: int | None = None  # the place of what came last, None if nothing has since the first one entered
        self._dense = is_stream(channel)  # versions have no hole; positions of a part of the log have
        self._cohorts: dict[tuple[Form, bool], Cohort] = {}

    def place(self, event: RecordedEvent) -> int:
        return event.version if self._dense else event.position

    def admit(self, follower: Follower) -> bool:
        """Tell it live from now on, if it has had all that the others have been told."""
        if self.told is None and self._dense:
            self.told = follower.cursor  # the next version must be the one after it
        if self.told is not None and follower.cursor < self.told:
            return False
        key = (follower.form, follower.conflate)
        cohort = self._cohorts.get(key)
        if cohort is None:
            cohort = self._cohorts[key] = Cohort(follower.form, self.told or 0, conflate=follower.conflate)
        cohort.join(follower)
        return True

    def dismiss(self, follower: Follower) -> None:
        """Tell it live no more."""
        key = (follower.form, follower.conflate)
        cohort = self._cohorts.get(key)
        if cohort is not None:
            cohort.leave(follower)
            if not cohort:
                del self._cohorts[key]

    def hear(self, event: RecordedEvent, written: Written) -> Iterator[Cohort]:
        """Take what comes next: each cohort in its turn. Whoever joins before it is at that has read the event."""
        place, told = self.place(event), self.told
        if told is not None and place <= told:
            return
        torn = self._dense and told is not None and place != told + 1
        self.told = place
        for cohort in tuple(self._cohorts.values()):
            if torn or not _is_written(event, cohort.form, written):
                cohort.tear(place)
            elif (text := written[cohort.form]) is not None:
                cohort.hear(Line(event, place, text))
            else:
                cohort.skip(place)
            yield cohort


def _is_written(event: RecordedEvent, form: Form, written: Written) -> bool:
    """Write it in the form. If that fails it is read from the log by each of its followers, and fails there, too:
    it must not keep the others from being told."""
    if form not in written:
        try:
            written[form] = form.encode(event)
        except Exception:
            return False
    return True
