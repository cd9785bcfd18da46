"""One channel on one connection: first what the log holds after the cursor, then what comes, without a seam.

Whoever catches up is in the channel's room already, which knows what the others have been told meanwhile: so nothing
is lost and nothing is told twice when the subscription goes live. A client that reads too slowly goes the same way
back: it reads from the log at its own pace, and nobody else notices.
"""

from collections.abc import Callable, Sequence

from events.envelope import RecordedEvent
from notifier.cohort import Outlet, Room
from notifier.form import Channel, Form
from notifier.lines import Line, conflated, runs


class Subscription:
    __slots__ = ("_fell_behind", "_room", "alone", "conflate", "cursor", "form", "live", "outlet")

    def __init__(
        self,
        room: Room,
        cursor: int,
        form: Form,
        outlet: Outlet,
        fell_behind: Callable[["Subscription"], None],
        *,
        conflate: bool,
    ) -> None:
        self.cursor = cursor  # while it is not live, the place of the last event told
        self.form = form
        self.outlet = outlet
        self.conflate = conflate
        self.live = False  # told with its cohort, not from the log
        self.alone = False  # its connection has certainly no other
        self._room = room
        self._fell_behind = fell_behind

    @property
    def channel(self) -> Channel:
        return self._room.channel

    def go_live(self) -> bool:
        """Whether it could: all that the others have been told, it has read."""
        self.live = self._room.admit(self)
        return self.live

    def fall_behind(self, cursor: int) -> None:
        self._room.dismiss(self)
        self.live = False
        self.cursor = cursor
        self._fell_behind(self)

    def end(self) -> Room:
        """Tell nothing more, not even of what is being told now."""
        self._room.dismiss(self)
        self.live = False
        return self._room

    def tell(self, page: Sequence[RecordedEvent]) -> bool:
        """What the log says. Whether all of it was written."""
        place, form = self._room.place, self.form
        written = ((event, form.encode(event)) for event in page)
        lines = [Line(event, place(event), text) for event, text in written if text is not None]
        for run in runs(conflated(lines) if self.conflate else lines):
            if not self.outlet.write(form.pack([line.written for line in run])):
                return False
            self.cursor = run[-1].place
        if page:
            self.cursor = place(page[-1])
        return True
