"""One channel on one connection: first what the log holds after the cursor, then what comes, without a seam.

Whoever catches up is in the channel's room already, which knows what the others have been told meanwhile: so nothing
is lost and nothing is told twice when the subscription goes live. A client that reads too slowly goes the same way
back: it reads from the log at its own pace, and nobody else notices.
"""

from collections.abc import Callable

from notifier.cohort import Room
from notifier.form import Channel, Form
from notifier.outlet import Outlet
from notifier.pages import Page, Pages


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
        self.cursor = cursor  # the place of the last event told; while it is live, of the last one before
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

    def fall_behind(self, told: int) -> None:
        self._room.dismiss(self)
        self.live = False
        self.cursor = max(self.cursor, told)
        self._fell_behind(self)

    def end(self) -> Room:
        """Tell nothing more, not even of what is being told now."""
        self._room.dismiss(self)
        self.live = False
        return self._room

    async def read(self, pages: Pages) -> Page:
        return await pages.page(self._room, self.form, self.cursor, conflate=self.conflate)

    def tell(self, page: Page) -> bool:
        """What the log says after the cursor. Whether all of it was written."""
        for data, place in page.runs:
            if not self.outlet.write(data):
                return False
            self.cursor = place
        self.cursor = page.end
        return True
