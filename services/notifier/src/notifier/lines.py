"""Events as they are written in one form, on their way to those who follow."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import events.jobs
import events.uploads  # noqa: F401 - what is imported here has registered its types
from events.catalog import CATALOG
from events.envelope import RecordedEvent

# What is written at once: enough for a system call to be worth its while, and few enough to count as one frame more.
RUN_BYTES = 64 * 1024

_CONFLATABLE = frozenset(name for name, payload in CATALOG.items() if payload.conflatable)


class Line(NamedTuple):
    event: RecordedEvent
    place: int  # the event's version, or its position where many streams are followed at once
    written: bytes


def conflated(lines: Sequence[Line]) -> list[Line]:
    """Of what is conflatable, only the latest of its type in its stream."""
    latest: list[Line] = []
    seen = set()
    for line in reversed(lines):
        event = line.event
        if event.type in _CONFLATABLE:
            about = (event.subject, event.type)
            if about in seen:
                continue
            seen.add(about)
        latest.append(line)
    latest.reverse()
    return latest


def runs(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """As many as are written at once, at a time."""
    run: list[Line] = []
    size = 0
    for line in lines:
        run.append(line)
        size += len(line.written)
        if size >= RUN_BYTES:
            yield run
            run, size = [], 0
    if run:
        yield run
