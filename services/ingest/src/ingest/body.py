"""The bytes of an upload as they arrive: of a raw body, or of the one `file` part of a multipart body."""

from collections.abc import AsyncIterator

from fastapi import Request
from multipart import MultipartError, MultipartSegment, parse_options_header

from events.errors import TooLarge
from ingest.arriving import CLOSE, arriving, content_length
from ingest.fields import checked_filename, checked_media_type, invalid
from ingest.settings import IngestSettings
from ingest.wrapping import FormParser, broken, check_around, check_transfer_encoding, checked_boundary

# What surrounds the file in a multipart body: delimiters, the part's headers, a preamble, an epilogue.
_MULTIPART_OVERHEAD = 64 * 1024


class Body:
    """Read it once, as an async iterator. What a multipart part says of its file is known when its first byte is."""

    def __init__(self, request: Request, settings: IngestSettings) -> None:
        media_type, options = parse_options_header(request.headers.get("content-type", ""))
        self._request = request
        self._limit = settings.max_upload_bytes
        self._settings = settings
        self._boundary: str | None = None
        self.content_type = checked_media_type(media_type, "header.content-type")
        self.filename: str | None = None
        if media_type == "multipart/form-data":
            self._boundary = checked_boundary(options.get("boundary"))
        self._most = self._limit + (_MULTIPART_OVERHEAD if self._boundary else 0)
        self.length = content_length(request)
        if self.length is not None and self.length > self._most:
            raise self._too_large()  # before a byte of it is read

    @property
    def file_length(self) -> int | None:
        return self.length if self._boundary is None else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._raw() if self._boundary is None else self._file_part(self._boundary)

    def _raw(self) -> AsyncIterator[bytes]:
        return arriving(self._request, self._settings, self._most, self._too_large())

    async def _file_part(self, boundary: str) -> AsyncIterator[bytes]:
        files = size = received = 0
        try:
            parser = FormParser(boundary, max_segment_count=8, max_header_count=8)
            async for chunk in self._raw():
                received += len(chunk)
                for found in parser.parse(chunk):
                    if isinstance(found, MultipartSegment):
                        files += 1
                        self._begin_part(found, files)
                    elif found:
                        size += len(found)
                        if size > self._limit:
                            raise self._too_large()
                        yield found
                check_around(received - size, _MULTIPART_OVERHEAD)
            parser.close()
        except MultipartError as error:
            raise broken(error.args[0]) from None
        if files == 0:
            raise invalid("body.file", "missing", "The multipart body has no part named `file`.")

    def _begin_part(self, part: MultipartSegment, files: int) -> None:
        if part.name != "file":
            raise invalid(f"body.{part.name}"[:100], "unexpected", "The only part of an upload is named `file`.")
        if files > 1:
            raise invalid("body.file", "repeated", "One upload is one file: send the others by themselves.")
        check_transfer_encoding(part)
        self.filename = checked_filename(part.filename, "body.file.filename")
        self.content_type = checked_media_type(part.content_type, "body.file.content-type")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"An upload may have at most {self._limit} bytes.", headers=CLOSE)
