"""W3C trace context: the trace that a request belongs to."""

import re

from events.traces.tracing import uncollected

_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(given: bytes | None) -> bytes:
    """The caller's trace, if it names a valid one; else a new one, which nobody collects unless a span begins."""
    if given is not None and _TRACEPARENT.fullmatch(given):
        return given
    return uncollected().encode()
