"""The bytes of a file as they arrive: of a raw body, or of the one `file` part of a multipart body."""

from collections.abc import AsyncIterator, Mapping

from fastapi import Request
from multipart import MultipartError, MultipartSegment, parse_options_header

from events.body.arriving import CLOSE, arriving, content_length
from events.body.fields import checked_filename, checked_media_type, invalid
from events.body.wrapping import FormParser, broken, check_around, check_transfer_encoding, checked_boundary
from events.errors import TooLarge
from events.settings import BodySettings

# What surrounds the file in a multipart body: delimiters, the parts' headers, a preamble, an epilogue.
_MULTIPART_OVERHEAD = 64 * 1024
_NO_TEXTS: Mapping[str, int] = {}


class Body:
    """Read it once, as an async iterator. What a multipart part says of its file is known when its first byte is; the
    `texts` beside it, when the body is at its end."""

    def __init__(
        self,
        request: Request,
        settings: BodySettings,
        most_bytes: int,
        too_large: str,
        texts: Mapping[str, int] = _NO_TEXTS,
    ) -> None:
        """`too_large` is the sentence that refuses a larger file. `texts` are the other parts that a multipart body may
        have, with the bytes that each may have at most."""
        media_type, options = parse_options_header(request.headers.get("content-type", ""))
        self._request = request
        self._limit = most_bytes
        self._settings = settings
        self._refusal = too_large
        self._known = texts
        self._texts: dict[str, bytearray] = {}
        self._boundary: str | None = None
        self.content_type = checked_media_type(media_type, "header.content-type")
        self.filename: str | None = None
        if media_type == "multipart/form-data":
            self._boundary = checked_boundary(options.get("boundary"))
        self._most = self._limit + (_MULTIPART_OVERHEAD + sum(texts.values()) if self._boundary else 0)
        self.length = content_length(request)
        if self.length is not None and self.length > self._most:
            raise self._too_large()  # before a byte of it is read

    @property
    def file_length(self) -> int | None:
        return self.length if self._boundary is None else None

    @property
    def texts(self) -> Mapping[str, str]:
        try:
            return {name: text.decode() for name, text in self._texts.items()}
        except UnicodeDecodeError:
            raise broken("a part beside its file is not UTF-8") from None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._raw() if self._boundary is None else self._file_part(self._boundary)

    def _raw(self) -> AsyncIterator[bytes]:
        return arriving(self._request, self._settings, self._most, self._too_large())

    async def _file_part(self, boundary: str) -> AsyncIterator[bytes]:
        files = size = received = 0
        text: str | None = None  # the name of the part that we are in, if it is not the file
        try:
            parser = FormParser(boundary, max_segment_count=8, max_header_count=8)
            async for chunk in self._raw():
                received += len(chunk)
                for found in parser.parse(chunk):
                    if isinstance(found, MultipartSegment):
                        text = found.name if found.name in self._known else None
                        if text is None:
                            files += 1
                            self._begin_file(found, files)
                        else:
                            self._begin_text(found, text)
                    elif found and text is not None:
                        self._add_text(text, found)
                    elif found:
                        size += len(found)
                        if size > self._limit:
                            raise self._too_large()
                        yield found
                check_around(received - size - sum(map(len, self._texts.values())), _MULTIPART_OVERHEAD)
            parser.close()
        except MultipartError as error:
            raise broken(error.args[0]) from None
        if files == 0:
            raise invalid("body.file", "missing", "The multipart body has no part named `file`.")

    def _begin_file(self, part: MultipartSegment, files: int) -> None:
        if part.name != "file":
            known = " or ".join(f"`{name}`" for name in ("file", *self._known))
            raise invalid(f"body.{part.name}"[:100], "unexpected", f"The only part of an upload is named {known}.")
        if files > 1:
            raise invalid("body.file", "repeated", "One upload is one file: send the others by themselves.")
        check_transfer_encoding(part)
        self.filename = checked_filename(part.filename, "body.file.filename")
        self.content_type = checked_media_type(part.content_type, "body.file.content-type")

    def _begin_text(self, part: MultipartSegment, name: str) -> None:
        if name in self._texts:
            raise invalid(f"body.{name}", "repeated", "Give it once.")
        check_transfer_encoding(part)
        self._texts[name] = bytearray()

    def _add_text(self, name: str, more: bytes | bytearray) -> None:
        text = self._texts[name]
        if len(text) + len(more) > self._known[name]:
            raise invalid(f"body.{name}", "too_long", f"This part may have at most {self._known[name]} bytes.")
        text += more

    def _too_large(self) -> TooLarge:
        return TooLarge(self._refusal, headers=CLOSE)
