"""The bytes of an upload as they arrive: of a raw body, or of the one `file` part of a multipart body."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from events.errors import BadRequest, FieldError, InvalidInput, RequestTimeout, TooLarge
from ingest.settings import IngestSettings

# Headers of a part, and what surrounds it, beyond the file itself.
_MULTIPART_OVERHEAD = 64 * 1024


class Body:
    """Read it once, as an async iterator. What a multipart part says of its file is known when its first byte is."""

    def __init__(self, request: Request, settings: IngestSettings) -> None:
        media_type, options = parse_options_header(request.headers.get("content-type", ""))
        self._request = request
        self._limit = settings.max_upload_bytes
        self._idle = settings.body_idle_seconds
        self._boundary: str | None = None
        self.content_type: str | None = media_type or None
        self.filename: str | None = None
        if media_type == "multipart/form-data":
            self._boundary = options.get("boundary")
            if not self._boundary or len(self._boundary) > 200:
                raise _invalid("header.content-type", "boundary", "A multipart body needs its boundary here.")
        self._refuse_by_length()

    def _refuse_by_length(self) -> None:
        """Refuse what is too large before a byte of it is read."""
        length = self._request.headers.get("content-length", "0")
        allowed = self._limit + (_MULTIPART_OVERHEAD if self._boundary else 0)
        if length.isdecimal() and int(length) > allowed:
            raise self._too_large()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._within_limit(self._raw() if self._boundary is None else self._file_part(self._boundary))

    async def _within_limit(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in chunks:
            received += len(chunk)
            if received > self._limit:
                raise self._too_large()
            yield chunk

    async def _raw(self) -> AsyncIterator[bytes]:
        stream = self._request.stream()
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise RequestTimeout(f"No byte of the body arrived for {self._idle:g} seconds.") from None
            except ClientDisconnect:
                raise BadRequest("The body ended before it was complete.") from None
            if chunk:
                yield chunk

    async def _file_part(self, boundary: str) -> AsyncIterator[bytes]:
        parser = PushMultipartParser(boundary, max_segment_count=8, max_header_count=8)
        files = 0
        try:
            async for chunk in self._raw():
                for found in parser.parse(chunk):
                    if isinstance(found, MultipartSegment):
                        files += 1
                        self._begin_part(found, files)
                    elif found:
                        yield bytes(found)
            parser.close()
        except MultipartError as broken:
            raise _invalid("body", "multipart", f"The multipart body is broken: {broken}.") from None
        if files == 0:
            raise _invalid("body.file", "missing", "The multipart body has no part named `file`.")

    def _begin_part(self, part: MultipartSegment, files: int) -> None:
        if part.name != "file":
            raise _invalid(f"body.{part.name}"[:100], "unexpected", "The only part of an upload is named `file`.")
        if files > 1:
            raise _invalid("body.file", "repeated", "One upload is one file: send the others by themselves.")
        self.filename = part.filename
        self.content_type = part.content_type

    def _too_large(self) -> TooLarge:
        return TooLarge(f"An upload may have {self._limit} bytes.", headers={"Connection": "close"})


def _invalid(field: str, code: str, detail: str) -> InvalidInput:
    return InvalidInput(detail, errors=[FieldError(field, code, detail)])
