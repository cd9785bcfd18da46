"""By what a stream of events is resumed: the id of each event says the places of all of the stream's channels.

`<epoch>.<n>` for one channel. For several it is `<epoch>.<names>.<n>-<n>-…`, in the order of the channels, where
`<names>` tells whether they are the same ones.
"""

import hashlib
import re
from collections.abc import Sequence
from uuid import UUID

from events.errors import FieldError, InvalidInput
from events.log.cursor import after_of, cursor_of

_SEVERAL = re.compile(r"(?:(?P<epoch>[0-9a-fA-F-]{36})\.(?P<names>[0-9a-f]{8})\.)?(?P<places>[0-9]+(?:-[0-9]+)*)")
_BEGINNING = "0"


class Cursors:
    """The places of one stream's channels."""

    def __init__(self, epoch: UUID, names: Sequence[str]) -> None:
        self.epoch = epoch
        self._digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:8]
        self.places = [0] * len(names)

    @property
    def id(self) -> str:
        if len(self.places) == 1:
            return cursor_of(self.epoch, self.places[0])
        return f"{self.epoch}.{self._digest}.{'-'.join(map(str, self.places))}"

    def read(self, cursor: str, field: str) -> list[int]:
        """The places after which to go on. Raise `CursorExpired` if they are another log's, `InvalidInput` if they are
        not of these channels."""
        if len(self.places) == 1:
            return [after_of(cursor, self.epoch, field=field)]
        if cursor == _BEGINNING:
            return [0] * len(self.places)
        found = _SEVERAL.fullmatch(cursor)
        if found is None or found["epoch"] is None:
            raise _not_of_these(field)
        places = found["places"].split("-")
        numbers = [after_of(f"{found['epoch']}.{place}", self.epoch, field=field) for place in places]
        if found["names"] != self._digest or len(numbers) != len(self.places):
            raise _not_of_these(field)
        return numbers

    def stamped(self, messages: bytes) -> bytes:
        """What forms have written for several channels, with ids that hold the places of all."""
        stamped = []
        for message in messages.split(b"\n\n")[:-1]:
            place, _, rest = message.partition(b"\n")
            number, _, reached = place.partition(b".")
            self.places[int(number)] = int(reached)
            stamped.append(b"id: %b\n%b\n\n" % (self.id.encode(), rest))
        return b"".join(stamped)


def _not_of_these(field: str) -> InvalidInput:
    detail = "The cursor is not one of a stream of these channels, in this order. 0 is the beginning of all."
    return InvalidInput(detail, errors=[FieldError(field, "cursor", detail)])
