"""How events look to Centrifugo's clients: publications, of which several may be in one frame, a line each.

A publication's data is the event as `GET /api/v1/streams/{stream}/events` shows it. Nobody decodes a payload here.
"""

from collections.abc import Sequence
from enum import Enum, auto
from functools import cache

import msgspec

from events.envelope import RecordedEvent, category_of, encode_json
from notifier.channels import name_of
from notifier.form import Channel, Form, is_stream
from notifier.frames import text_frame


class _Kind(Enum):
    STREAM = auto()
    CATEGORY = auto()
    LOG = auto()


class PublicationForm:
    """Of one kind of channel, without events of the hidden types."""

    def __init__(self, kind: _Kind, hidden: frozenset[str]) -> None:
        self._kind = kind
        self._hidden = hidden

    def encode(self, event: RecordedEvent) -> bytes | None:
        if event.type in self._hidden:
            return None
        channel = self._channel(event)
        return b'{"push":{"channel":%b,"pub":%b}}' % (encode_json(name_of(channel)), publication(event, channel))

    def pack(self, written: Sequence[bytes]) -> bytes:
        return text_frame(b"\n".join(written))

    def _channel(self, event: RecordedEvent) -> Channel:
        match self._kind:
            case _Kind.STREAM:
                return event.tenant, event.subject
            case _Kind.CATEGORY:
                return event.tenant, f"{category_of(event.subject)}:*"
            case _Kind.LOG:
                return event.tenant, None


def form_of(channel: Channel, hidden: frozenset[str]) -> Form:
    if channel[1] is None:
        return _form(_Kind.LOG, hidden)
    return _form(_Kind.STREAM if is_stream(channel) else _Kind.CATEGORY, hidden)


def publications(page: Sequence[RecordedEvent], channel: Channel, hidden: frozenset[str]) -> list[msgspec.Raw]:
    """The same without being pushed."""
    return [msgspec.Raw(publication(event, channel)) for event in page if event.type not in hidden]


def publication(event: RecordedEvent, channel: Channel) -> bytes:
    offset = event.version if is_stream(channel) else event.position
    return b'{"data":%b,"offset":%d}' % (encode_json(event), offset)


@cache
def _form(kind: _Kind, hidden: frozenset[str]) -> PublicationForm:
    return PublicationForm(kind, hidden)
