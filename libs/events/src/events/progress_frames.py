"""A job's event as one flat object, as plain JSON progress tells it: the envelope's names, the payload's beside them.

The payload's bytes are spliced in as they are. Only where a payload has one of the envelope's names is it made anew,
with another name for that field: no name may be there twice, since parsers take the last one.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated

import msgspec

from events.catalog import Payload
from events.envelope import RecordedEvent, encode_json
from events.vocabulary import IN_LOG

_KNOWN_TYPES = 1000
_Place = Annotated[int, msgspec.Meta(ge=1)]


class ProgressFrame(msgspec.Struct, omit_defaults=True):
    """What stands first in each frame."""

    job_id: Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
    type: str
    position: _Place
    version: _Place  # the event's, in its stream
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    traceparent: str | None = None


_HEAD = tuple(field.name for field in msgspec.structs.fields(ProgressFrame))
_payload = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode_frame(event: RecordedEvent) -> bytes:
    _, _, job_id = event.subject.partition(":")
    head = ProgressFrame(job_id, event.type, event.position, event.version, event.time, event.traceparent)
    said = bytes(event.data)
    if others := _others_of_type(event.type):
        said = encode_json({others.get(name, name): value for name, value in _payload.decode(said).items()})
    return encode_json(head)[:-1] + b"," + said[1:]


def other_names(payload: type[Payload]) -> Mapping[str, str]:
    """What fields of a payload that have a name of the envelope's are called in a frame."""
    return {name: payload.in_frames.get(name, _other(name)) for name in _HEAD if name in payload.model_fields}


@lru_cache(_KNOWN_TYPES)
def _others_of_type(name: str) -> Mapping[str, str]:
    payload = IN_LOG.get(name)
    # A type that is newer than this code may have any of them.
    return {field: _other(field) for field in _HEAD} if payload is None else other_names(payload)


def _other(name: str) -> str:
    return f"payload_{name}"
