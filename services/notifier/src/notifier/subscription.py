"""One channel on one connection: first what the log holds after the cursor, then what comes, without a seam.

Whoever catches up is known to the hub already. What the hub offers meanwhile is only noted, and read from the log
again: so nothing is lost and nothing is told twice when the subscription goes live. A client that reads too slowly
goes the same way back: it reads from the log at its own pace, and nobody else notices.
"""

from collections.abc import Callable

from events.envelope import RecordedEvent
from notifier.hub import Channel, Encode, Frames

# Writes one frame; False if the connection takes no more for now.
Write = Callable[[bytes], bool]


class Subscription:
    __slots__ = ("_dense", "_encode", "_fell_behind", "_write", "channel", "cursor", "live", "missed")

    def __init__(
        self,
        channel: Channel,
        cursor: int,
        encode: Encode,
        write: Write,
        fell_behind: Callable[["Subscription"], None],
    ) -> None:
        self.channel = channel
        self.cursor = cursor  # the version of the last event told; for a tenant its position
        self.live = False  # told by the hub, not from the log
        self.missed = False  # the hub had something while we were not live
        self._dense = channel[1] is not None  # versions have no holes; positions of one tenant have
        self._encode = encode
        self._write = write
        self._fell_behind = fell_behind

    def offer(self, event: RecordedEvent, frames: Frames) -> bool:
        """What the hub says. Whether it was written."""
        if not self.live:
            self.missed = True
            return False
        place = self._place(event)
        if place <= self.cursor:
            return False
        if self._encode not in frames:
            frames[self._encode] = self._encode(event)
        frame = frames[self._encode]
        if (self._dense and place != self.cursor + 1) or (frame is not None and not self._write(frame)):
            self.live = False
            self.missed = True
            self._fell_behind(self)
            return False
        self.cursor = place
        return frame is not None

    def tell(self, page: list[RecordedEvent]) -> bool:
        """What the log says. Whether all of it was written."""
        for event in page:
            frame = self._encode(event)
            if frame is not None and not self._write(frame):
                return False
            self.cursor = self._place(event)
        return True

    def _place(self, event: RecordedEvent) -> int:
        return event.version if self._dense else event.position
