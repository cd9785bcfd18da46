"""Where a body ends. Readers take raw bytes and give back payload; they never hold any of it.

Chunked bodies are decoded and framed anew on the other side, so that two parsers never disagree about one body.
"""

import re
from collections.abc import Sequence
from typing import Protocol

from events.errors import BadRequest

END_OF_CHUNKS = b"0\r\n\r\n"

# `;` begins extensions, which are dropped. A line without its end may not grow beyond this.
_LONGEST_LINE = 256
_MOST_TRAILER_BYTES = 8192
# A whole line that says a size, and nothing else.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class BodyReader(Protocol):
    done: bool
    rest: bytes  # what came behind the body's end
    chunks: int  # that the last `feed` has read
    unread: bytes  # what it has left: feed that, before anything else, later

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The payload in `data`. Raises BadRequest where it is malformed."""
        ...


class CountedBody:
    """A body of `Content-Length` bytes."""

    def __init__(self, length: int) -> None:
        self.done = length == 0
        self.rest = self.unread = b""
        self.chunks = 0
        self._left = length

    def feed(self, data: bytes) -> Sequence[bytes]:
        self._left -= len(data)
        if self._left > 0:
            return (data,)
        self.done = True
        if self._left < 0:
            data, self.rest = data[: self._left], data[self._left :]
        return (data,)


class EndlessBody:
    """A response's body that ends with its connection."""

    def __init__(self) -> None:
        self.done = False
        self.rest = self.unread = b""
        self.chunks = 0

    def feed(self, data: bytes) -> Sequence[bytes]:
        return (data,)


class ChunkedBody:
    def __init__(self, most_chunks: int = 2**62) -> None:
        """`most_chunks` is what one `feed` reads: however small they are, it does not take long."""
        self.done = False
        self.rest = self.unread = b""
        self.chunks = 0
        self._most_chunks = most_chunks
        self._pending = b""  # an unfinished line
        self._left = 0  # bytes of the current chunk still to come
        self._between = True  # two chunks: a size comes next
        self._expects = ChunkedBody._size_line  # not bound: it would refer to us
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> Sequence[bytes]:
        payload: list[bytes] = []
        at = self.chunks = 0
        self.unread = b""
        if self._pending:
            data, self._pending = self._pending + data, b""
        while at < len(data) and not self.done:
            if self._left:
                piece = data[at : at + self._left]
                payload.append(piece)
                self._left -= len(piece)
                at += len(piece)
                continue
            if self._between:
                if self.chunks == self._most_chunks:
                    self.unread = data[at:]
                    return payload
                after = self._whole_chunk(data, at, payload)
                if after:
                    at = after
                    continue
            end = data.find(b"\n", at, at + _LONGEST_LINE)
            if end < 0:
                if len(data) - at >= _LONGEST_LINE:
                    raise BadRequest("A line between the body's chunks is too long.")
                self._pending = data[at:]
                return payload
            if data[end - 1 : end] != b"\r" or end == at:
                raise BadRequest("A line between the body's chunks does not end in CRLF.")
            self._expects(self, data[at : end - 1])
            at = end + 1
        if self.done:
            self.rest = data[at:]
        return payload

    def _whole_chunk(self, data: bytes, at: int, payload: list[bytes]) -> int:
        """Most chunks are here with their ends. Where the next one begins; 0 if this one is not of that kind."""
        line = _SIZE.match(data, at)
        if line is None:
            return 0
        begin = line.end()
        end = begin + int(line[1], 16)
        if end == begin or data[end : end + 2] != b"\r\n":
            return 0
        payload.append(data[begin:end])
        self.chunks += 1
        return end + 2

    def _size_line(self, line: bytes) -> None:
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise BadRequest("The body has a malformed chunk size.")
        self._left = int(size[1], 16)
        self._between = False
        self.chunks += 1
        self._expects = ChunkedBody._chunk_end if self._left else ChunkedBody._trailer_line

    def _chunk_end(self, line: bytes) -> None:
        if line:
            raise BadRequest("A chunk of the body is longer than its size says.")
        self._expects = ChunkedBody._size_line
        self._between = True

    def _trailer_line(self, line: bytes) -> None:
        """Trailers are read to find the end, and dropped: nothing behind a body is trusted."""
        self._trailer_bytes += len(line)
        if line and (self._trailer_bytes > _MOST_TRAILER_BYTES or not _TRAILER.fullmatch(line)):
            raise BadRequest("The body has a malformed trailer.")
        self.done = not line


def as_chunk(pieces: Sequence[bytes]) -> Sequence[bytes]:
    """`pieces` as one chunk. An empty chunk would end the body, so nothing stays nothing."""
    size = sum(map(len, pieces))
    return (b"%x\r\n" % size, *pieces, b"\r\n") if size else ()
