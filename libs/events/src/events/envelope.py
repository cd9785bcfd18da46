"""One envelope for every event, with CloudEvents attribute names.

A payload is encoded once, by its producer. From there on its bytes travel untouched to the log, the broker
and the socket: `data` is a raw JSON object that nobody on the way decodes.
"""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from events.catalog import Payload
from events.errors import InvalidInput
from events.ids import new_id

STREAM_PATTERN = r"^[a-z][a-z0-9-]{0,31}:[A-Za-z0-9._-]{1,128}$"
_STREAM = re.compile(STREAM_PATTERN)


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fact that happened, on its way into the log."""

    id: UUID
    source: str  # the service that says it, `/millrace/ingest`
    type: str  # past tense, `<category>.<verb>`
    subject: str  # the stream: `job:<id>`; clients subscribe to the same name
    time: datetime
    tenant: str
    data: msgspec.Raw
    traceparent: str | None = None
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


class RecordedEvent(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A fact that the log holds: it has its place in its stream and in the whole log."""

    version: int
    position: int


_encoder = msgspec.json.Encoder()
_event_decoder = msgspec.json.Decoder(Event)
_recorded_decoder = msgspec.json.Decoder(RecordedEvent)
_batch_decoder = msgspec.json.Decoder(list[RecordedEvent])


def stream_name(category: str, id_: UUID | str) -> str:
    return f"{category}:{id_}"


def category_of(stream: str) -> str:
    return stream.partition(":")[0]


def check_stream(stream: str) -> str:
    if _STREAM.fullmatch(stream) is None:
        raise InvalidInput(f"{stream!r:.80} is not a stream's name: it must look like job:<id>.")
    return stream


def utc_now() -> datetime:
    return datetime.now(UTC)


def encode_json(value: Any) -> bytes:
    return _encoder.encode(value)


def encode_event(event: Event) -> bytes:
    return _encoder.encode(event)


def decode_event(body: bytes) -> Event:
    return _event_decoder.decode(body)


def decode_recorded(body: bytes) -> RecordedEvent:
    return _recorded_decoder.decode(body)


def encode_batch(batch: list[RecordedEvent]) -> bytes:
    return _encoder.encode(batch)


def decode_batch(body: bytes) -> list[RecordedEvent]:
    return _batch_decoder.decode(body)


def event_of(
    payload: Payload,
    *,
    stream: str,
    tenant: str,
    source: str,
    id: UUID | None = None,  # noqa: A002 - CloudEvents' own name
    time: datetime | None = None,
    traceparent: str | None = None,
) -> Event:
    """The event that says this."""
    return new_event(
        type=payload.event_type,
        stream=stream,
        tenant=tenant,
        source=source,
        data=payload.encode(),
        id=id,
        time=time,
        traceparent=traceparent,
    )


def new_event(
    *,
    type: str,  # noqa: A002 - CloudEvents' own name
    stream: str,
    tenant: str,
    source: str,
    data: bytes,
    id: UUID | None = None,  # noqa: A002
    time: datetime | None = None,
    traceparent: str | None = None,
) -> Event:
    return Event(
        id=id or new_id(),
        source=source,
        type=type,
        subject=check_stream(stream),
        time=time or utc_now(),
        tenant=tenant,
        data=msgspec.Raw(data),
        traceparent=traceparent,
    )
