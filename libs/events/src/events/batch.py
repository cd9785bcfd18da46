"""What is appended to the event log and what comes of it, and how a batch of that goes through one SQL call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from events.envelope import Event


class Expected(IntEnum):
    """What a request expects of its stream, besides an exact version from 1 on."""

    NONE = 0  # no event yet; a reserved stream has none
    ANY = -1
    EXISTS = -2  # at least one event


# What no stream can satisfy: the requests of a batch expect different things of it.
_IMPOSSIBLE = -3


@dataclass(frozen=True, slots=True)
class AppendRequest:
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


@dataclass(frozen=True, slots=True)
class Appended:
    first_position: int
    last_position: int
    version: int  # the stream's, after the last of the events


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The log holds these events already: this is their first outcome."""

    first_position: int
    last_position: int
    version: int


@dataclass(frozen=True, slots=True)
class VersionConflict:
    actual: int


@dataclass(frozen=True, slots=True)
class IdReused:
    """The id belongs to another event, or only some of the request's events are known."""

    id: UUID


Outcome: TypeAlias = Appended | Duplicate | VersionConflict | IdReused


def append_arguments(requests: Sequence[AppendRequest]) -> tuple[Any, ...]:
    """The arrays that `events.append` takes (0002_append.sql)."""
    slots: dict[tuple[str, str], int] = {}
    stream_expected: list[int] = []
    stream_added: list[int] = []
    request_streams: list[int] = []
    event_streams: list[int] = []
    event_offsets: list[int] = []
    for request in requests:
        slot = slots.setdefault((request.tenant, request.stream), len(slots))
        if slot == len(stream_added):
            stream_expected.append(Expected.ANY)
            stream_added.append(0)
        added = stream_added[slot]
        if request.expected != Expected.ANY:
            stream_expected[slot] = _before_batch(stream_expected[slot], request.expected, added)
        request_streams.append(slot + 1)
        for _ in request.events:
            added += 1
            event_streams.append(slot + 1)
            event_offsets.append(added)
        stream_added[slot] = added
    events = [event for request in requests for event in request.events]
    return (
        [tenant for tenant, _ in slots],
        [stream for _, stream in slots],
        stream_expected,
        stream_added,
        request_streams,
        [len(request.events) for request in requests],
        [request.expected for request in requests],
        event_streams,
        event_offsets,
        [event.id for event in events],
        [event.type for event in events],
        [event.source for event in events],
        [event.time for event in events],
        [event.traceparent for event in events],
        [bytes(event.data).decode() for event in events],
    )


def _before_batch(known: int, expected: int, added: int) -> int:
    """What a stream must be before the batch, if a request is to find what it expects after `added` events of the
    batch, and the requests before it what is `known` to be needed."""
    if expected == Expected.EXISTS:
        needed = int(Expected.EXISTS) if added == 0 else int(Expected.ANY)
    else:
        needed = expected - added if expected >= added else _IMPOSSIBLE
    if needed == Expected.ANY or needed == known or (needed == Expected.EXISTS and known > 0):
        return known
    if known == Expected.ANY or (known == Expected.EXISTS and needed > 0):
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
