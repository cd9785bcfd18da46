"""One channel on one connection: first what the log holds after the cursor, then what comes, without a seam.

Whoever catches up is known to the hub already. What the hub offers meanwhile is only noted, and read from the log
again: so nothing is lost and nothing is told twice when the subscription goes live. A client that reads too slowly
goes the same way back: it reads from the log at its own pace, and nobody else notices.
"""

from collections.abc import Callable

from events.envelope import RecordedEvent
from notifier.hub import Channel, Form, Written, is_stream

# Writes one frame; False if the connection takes no more for now.
Write = Callable[[bytes], bool]


class Subscription:
    __slots__ = ("_dense", "_fell_behind", "_form", "_write", "channel", "cursor", "live", "missed")

    def __init__(
        self,
        channel: Channel,
        cursor: int,
        form: Form,
        write: Write,
        fell_behind: Callable[["Subscription"], None],
    ) -> None:
        self.channel = channel
        self.cursor = cursor  # the version of the last event told; for a tenant its position
        self.live = False  # told by the hub, not from the log
        self.missed = False  # the hub had something while we were not live
        self._dense = is_stream(channel)  # versions have no holes; positions of one tenant have
        self._form = form
        self._write = write
        self._fell_behind = fell_behind

    def offer(self, event: RecordedEvent, written: Written) -> bool:
        """What the hub says. Whether it was written."""
        if not self.live:
            self.missed = True
            return False
        place = self._place(event)
        if place <= self.cursor:
            return False
        form = self._form
        if form not in written:
            written[form] = form.encode(event)
        frame = written[form]
        if (self._dense and place != self.cursor + 1) or (frame is not None and not self._write(form.pack((frame,)))):
            self.live = False
            self.missed = True
            self._fell_behind(self)
            return False
        self.cursor = place
        return frame is not None

    def tell(self, page: list[RecordedEvent]) -> bool:
        """What the log says. Whether all of it was written."""
        for event in page:
            frame = self._form.encode(event)
            if frame is not None and not self._write(self._form.pack((frame,))):
                return False
            self.cursor = self._place(event)
        return True

    def _place(self, event: RecordedEvent) -> int:
        return event.version if self._dense else event.position
