"""What can be followed, and how a dialect writes it."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from events.envelope import RecordedEvent

# A tenant, and what of it: one of its streams, all of a category (`job:*`), or None for everything.
Channel: TypeAlias = tuple[str, str | None]


def is_stream(channel: Channel) -> bool:
    """Whether its places are versions, without a hole; else they are positions."""
    return channel[1] is not None and not channel[1].endswith(":*")


class Form(Protocol):
    """How a dialect writes events. Who follows a channel in the same form is told the same bytes."""

    def encode(self, event: RecordedEvent) -> bytes | None:
        """None if the dialect has no words for it."""

    def pack(self, written: Sequence[bytes]) -> bytes:
        """What goes over the wire for these, one after the other."""


# What an event looks like, made once for all who follow in the same form.
Written: TypeAlias = dict[Form, bytes | None]
