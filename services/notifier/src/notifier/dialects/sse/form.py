"""An event as a message of a stream: its place as the id, and as data what REST's lists of events show of it."""

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from events.envelope import RecordedEvent, encode_json

# Between its tokens, JSON may have line breaks; within a message, they would end the line.
_IN_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_KNOWN_FORMS = 1000


def as_chunk(text: bytes) -> bytes:
    """As a body of unknown length has it (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(text), text)


class EventForm:
    """Without ids yet, and so not on the wire yet, if there are several channels."""

    def __init__(self, id_: str, *, dense: bool, hidden: frozenset[str], alone: bool) -> None:
        self._id = id_.encode()  # up to the place
        self._dense = dense
        self._hidden = hidden
        self._alone = alone

    def encode(self, event: RecordedEvent) -> bytes | None:
        if event.type in self._hidden:
            return None
        place = event.version if self._dense else event.position
        return b"%b.%d\ndata: %b\n\n" % (self._id, place, encode_json(event).translate(_IN_ONE_LINE))

    def pack(self, written: Sequence[bytes]) -> bytes:
        messages = b"".join(written)
        return as_chunk(messages) if self._alone else messages


@lru_cache(_KNOWN_FORMS)
def of_one(epoch: UUID, dense: bool, hidden: frozenset[str]) -> EventForm:
    """For a stream of one channel: all of its clients get the same bytes."""
    return EventForm(f"id: {epoch}", dense=dense, hidden=hidden, alone=True)


@lru_cache(_KNOWN_FORMS)
def of_several(number: int, dense: bool, hidden: frozenset[str]) -> EventForm:
    """For the channel of this number among several: `Cursors.stamped` makes the ids."""
    return EventForm(str(number), dense=dense, hidden=hidden, alone=False)
