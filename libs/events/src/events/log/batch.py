"""What is appended to the event log and what comes of it, and how a batch of that goes through one SQL call."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from events.envelope import Event, encode_json


class Expected(IntEnum):
    """What a request expects of its stream, besides an exact version from 1 on."""

    NONE = 0  # no event yet; a reserved stream has none
    ANY = -1
    EXISTS = -2  # at least one event


_ANY, _EXISTS = int(Expected.ANY), int(Expected.EXISTS)
# What no stream can satisfy: the requests of a batch expect different things of it.
_IMPOSSIBLE = -3


class AppendRequest(msgspec.Struct, frozen=True):
    """Events for one stream: all are appended, or none."""

    tenant: str
    stream: str
    events: tuple[Event, ...]
    expected: int = Expected.ANY

    def __post_init__(self) -> None:
        if not self.events:
            raise ValueError("a request without events")
        for event in self.events:
            if event.subject != self.stream or event.tenant != self.tenant:
                raise ValueError(f"an event of {event.tenant} {event.subject} for {self.tenant} {self.stream}")


class Appended(msgspec.Struct, frozen=True):
    first_position: int
    last_position: int
    version: int  # the stream's, after the last of the events


class Duplicate(msgspec.Struct, frozen=True):
    """The log holds these events already: this is their first outcome."""

    first_position: int
    last_position: int
    version: int


class VersionConflict(msgspec.Struct, frozen=True):
    actual: int


class IdReused(msgspec.Struct, frozen=True):
    """The id belongs to another event, or only some of the request's events are known."""

    id: UUID


Outcome: TypeAlias = Appended | Duplicate | VersionConflict | IdReused


def append_arguments(requests: Sequence[AppendRequest]) -> tuple[Any, ...]:
    """What `events.append` takes (0002_append.sql), in the order of `ARGUMENT_TYPES`."""
    tenants: dict[str, int] = {}
    slots: dict[tuple[str, str], int] = {}  # each stream → its index
    stream_expected: list[int] = []
    stream_added: list[int] = []
    judged: list[tuple[int, int, int]] = []
    types: dict[tuple[str, str], int] = {}  # each type and source → its index
    event_streams: list[int] = []
    event_offsets: list[int] = []
    event_types: list[int] = []
    events: list[Event] = []
    for request in requests:
        slot = slots.setdefault((request.tenant, request.stream), len(slots))
        if slot == len(stream_added):
            tenants.setdefault(request.tenant, len(tenants) + 1)
            stream_expected.append(_ANY)
            stream_added.append(0)
        added = stream_added[slot]
        if request.expected != _ANY:
            stream_expected[slot] = _before_batch(stream_expected[slot], request.expected, added)
        judged.append((slot + 1, len(request.events), request.expected))
        for event in request.events:
            added += 1
            event_streams.append(slot + 1)
            event_offsets.append(added)
            event_types.append(types.setdefault((event.type, event.source), len(types) + 1))
            events.append(event)
        stream_added[slot] = added
    return (
        list(tenants),
        _literal([tenants[tenant] for tenant, _ in slots]),
        [stream for _, stream in slots],
        _literal(stream_expected),
        _literal(stream_added),
        encode_json(judged).decode(),
        [type_ for type_, _ in types],
        [source for _, source in types],
        _literal(event_streams),
        _literal(event_offsets),
        _literal(event_types),
        _literal([event.id for event in events]),
        _literal([(event.time - _EPOCH) // _MICROSECOND for event in events]),
        [event.traceparent for event in events],
        [bytes(event.data).decode() for event in events],
    )


# Numbers and ids travel as array literals: asyncpg encodes an array element by element, at ten times the cost.
_INT, _BIGINT, _UUID = "text::int[]", "text::bigint[]", "text::uuid[]"
ARGUMENT_TYPES = (
    *("text[]", _INT, "text[]", _BIGINT, _BIGINT),
    "json",
    *("text[]", "text[]"),
    *(_INT, _BIGINT, _INT, _UUID, _BIGINT, "text[]", "json[]"),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def _literal(values: list[int] | list[UUID]) -> str:
    return "{" + encode_json(values)[1:-1].decode() + "}"


def _before_batch(known: int, expected: int, added: int) -> int:
    """What a stream must be before the batch, if a request is to find what it expects after `added` events of the
    batch, and the requests before it what is `known` to be needed."""
    if expected == _EXISTS:
        needed = _EXISTS if added == 0 else _ANY
    else:
        needed = expected - added if expected >= added else _IMPOSSIBLE
    if needed in (_ANY, known) or (needed == _EXISTS and known > 0):
        return known
    if known == _ANY or (known == _EXISTS and needed > 0):
        return needed
    return _IMPOSSIBLE


def append_outcomes(requests: Sequence[AppendRequest], row: asyncpg.Record) -> list[Outcome]:
    """What `events.append` says of each request."""
    if row["former_versions"] is None:
        judged = zip(requests, row["outcomes"], row["positions"], row["versions"], row["reused"], strict=True)
        return [_judged(*one) for one in judged]
    versions = {}
    outcomes: list[Outcome] = []
    unseen = iter(row["former_versions"])
    position: int = row["accepted_from"]
    for request in requests:
        key = (request.tenant, request.stream)
        if key not in versions:
            versions[key] = next(unseen)
        versions[key] += len(request.events)
        outcomes.append(Appended(position, position + len(request.events) - 1, versions[key]))
        position += len(request.events)
    return outcomes


def _judged(request: AppendRequest, kind: str, position: int, version: int, reused: UUID) -> Outcome:
    match kind:
        case "appended":
            return Appended(position, position + len(request.events) - 1, version)
        case "duplicate":
            return Duplicate(position, position + len(request.events) - 1, version)
        case "conflict":
            return VersionConflict(version)
        case _:
            return IdReused(reused)
