"""Server-sent events, as far as all who answer with them do it the same way (HTML, section 9.2).

`EventSource` comes again by itself where a stream ends, and never again after any status but 200. So what may pass is
told within a stream, and what stays wrong by its status.
"""

import random

from events.errors import MillraceError
from events.web.web import problem_body

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
HEARTBEAT = b":\n\n"
# About how many seconds pass between two: so who stands between the two ends can tell when one of them is gone.
HEARTBEAT_HEADER = "X-Millrace-Heartbeat"

# How long a client waits before it comes again. All of them may have to at once.
_SOONEST_SECONDS, _LATEST_SECONDS = 1.0, 3.0


def wants_events(accept: str) -> bool:
    """Whether it is an `EventSource`, or whoever says the same."""
    return MEDIA_TYPE in accept.lower()


def come_again(after: float = 0.0) -> bytes:
    """When to, once the stream has ended: after so many seconds, and not with all others."""
    seconds = after + random.uniform(_SOONEST_SECONDS, _LATEST_SECONDS)  # noqa: S311 - jitter
    return b"retry: %d\n" % (seconds * 1000)


def message(data: bytes, *, event: str, id_: str) -> bytes:
    """One that is no event of the log."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.encode(), id_.encode(), data)


def farewell(error: MillraceError, *, instance: str, request_id: str) -> bytes:
    """Why the stream ends here: a problem, as any answer would have it."""
    wait = come_again(float(error.headers.get("Retry-After", 0))) if error.retryable else b""
    return b"%bevent: error\ndata: %b\n\n" % (wait, problem_body(error, instance=instance, request_id=request_id))
