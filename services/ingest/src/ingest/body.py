"""The bytes of an upload as they arrive: of a raw body, or of the one `file` part of a multipart body."""

import asyncio
import re
from collections.abc import AsyncIterator

from fastapi import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from events.errors import BadRequest, MillraceError, RequestTimeout, TooLarge
from ingest.fields import checked_filename, invalid
from ingest.settings import IngestSettings

# What surrounds the file in a multipart body: delimiters, the part's headers, a preamble.
_MULTIPART_OVERHEAD = 64 * 1024
_MEDIA_TYPE = re.compile(r"[!#$&^_.+a-z0-9-]{1,63}/[!#$&^_.+a-z0-9-]{1,63}")

# The rest of a body that we do not want would be read as the next request.
_CLOSE = {"Connection": "close"}


class Body:
    """Read it once, as an async iterator. What a multipart part says of its file is known when its first byte is."""

    def __init__(self, request: Request, settings: IngestSettings) -> None:
        media_type, options = parse_options_header(request.headers.get("content-type", ""))
        self._request = request
        self._limit = settings.max_upload_bytes
        self._idle = settings.body_idle_seconds
        self._slowest = settings.body_slowest_bytes_per_second
        self._boundary: str | None = None
        self.content_type = _checked_media_type(media_type, "header.content-type")
        self.filename: str | None = None
        if media_type == "multipart/form-data":
            self._boundary = options.get("boundary")
            if not self._boundary or len(self._boundary) > 200:
                raise invalid("header.content-type", "boundary", "A multipart body needs its boundary here.")
        self._most = self._limit + (_MULTIPART_OVERHEAD if self._boundary else 0)
        length = request.headers.get("content-length", "")
        self.length = int(length) if length.isdecimal() else None  # of the whole body, if it says so
        if self.length is not None and self.length > self._most:
            raise self._too_large()  # before a byte of it is read

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._raw() if self._boundary is None else self._file_part(self._boundary)

    async def _raw(self) -> AsyncIterator[bytes]:
        stream = self._request.stream()
        clock = asyncio.get_running_loop().time
        received = 0
        # Since the last look at the speed. Only our waiting counts: when we are slow, the client need not be fast.
        waited, arrived = 0.0, 0
        while True:
            began = clock()
            try:
                async with asyncio.timeout(self._idle):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise _too_slow(f"No byte of the body arrived for {self._idle:g} seconds.") from None
            except ClientDisconnect:
                raise BadRequest("The body ended before it was complete.") from None
            waited += clock() - began
            arrived += len(chunk)
            received += len(chunk)
            if received > self._most:
                raise self._too_large()
            if waited > self._idle:
                if arrived < waited * self._slowest:
                    raise _too_slow(f"The body must arrive with at least {self._slowest} bytes per second.")
                waited, arrived = 0.0, 0
            if chunk:
                yield chunk

    async def _file_part(self, boundary: str) -> AsyncIterator[bytes]:
        files = size = 0
        try:
            parser = PushMultipartParser(boundary, max_segment_count=8, max_header_count=8)
            async for chunk in self._raw():
                for found in parser.parse(chunk):
                    if isinstance(found, MultipartSegment):
                        files += 1
                        self._begin_part(found, files)
                    elif found:
                        size += len(found)
                        if size > self._limit:
                            raise self._too_large()
                        yield found
            parser.close()
        except MultipartError as broken:
            raise invalid("body", "multipart", f"The multipart body is broken: {broken.args[0]}.") from None
        if files == 0:
            raise invalid("body.file", "missing", "The multipart body has no part named `file`.")

    def _begin_part(self, part: MultipartSegment, files: int) -> None:
        if part.name != "file":
            raise invalid(f"body.{part.name}"[:100], "unexpected", "The only part of an upload is named `file`.")
        if files > 1:
            raise invalid("body.file", "repeated", "One upload is one file: send the others by themselves.")
        self.filename = checked_filename(part.filename, "body.file.filename")
        self.content_type = _checked_media_type(part.content_type, "body.file.content-type")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"An upload may have {self._limit} bytes.", headers=_CLOSE)


def _too_slow(detail: str) -> MillraceError:
    return RequestTimeout(detail, headers=_CLOSE)


def _checked_media_type(media_type: str | None, field: str) -> str | None:
    if media_type and _MEDIA_TYPE.fullmatch(media_type) is None:
        raise invalid(field, "media_type", "A media type looks like text/csv.")
    return media_type or None
