"""The bytes of a body as they arrive, from a client that must neither pause for long nor drip."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from events.errors import BadRequest, MillraceError, RequestTimeout
from events.settings import BodySettings

# The rest of a body that we do not want would be read as the next request.
CLOSE = {"Connection": "close"}


async def arriving(
    request: Request, settings: BodySettings, most: int, too_large: MillraceError
) -> AsyncIterator[bytes]:
    """Raises `too_large` with the first byte beyond `most`."""
    stream = request.stream()
    clock = asyncio.get_running_loop().time
    idle = settings.body_idle_seconds
    received = 0
    # Since the last look at the speed. Only our waiting counts: when we are slow, the client need not be fast.
    waited, arrived = 0.0, 0
    while True:
        began = clock()
        try:
            async with asyncio.timeout(idle):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _too_slow(f"No byte of the body arrived for {idle:g} seconds.") from None
        except ClientDisconnect:
            raise BadRequest("The body ended before it was complete.") from None
        waited += clock() - began
        arrived += len(chunk)
        received += len(chunk)
        if received > most:
            raise too_large
        if waited > idle:
            slowest = settings.body_slowest_bytes_per_second
            if arrived < waited * slowest:
                raise _too_slow(f"The body must arrive with at least {slowest} bytes per second.")
            waited, arrived = 0.0, 0
        if chunk:
            yield chunk


def content_length(request: Request) -> int | None:
    """Of the whole body, if the request says it."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


def _too_slow(detail: str) -> MillraceError:
    return RequestTimeout(detail, headers=CLOSE)
