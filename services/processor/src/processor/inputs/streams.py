"""Decompressed bytes of gzip and zstd files and of zip's entries, a bounded piece at a time."""

import sys
import zlib
from collections.abc import Iterator

from processor.inputs.source import Source
from processor.step import StepError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError, get_frame_info
else:
    from backports.zstd import ZstdDecompressor, ZstdError, get_frame_info

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # behind a byte from 0x50 to 0x5f

_PIECE_BYTES = 1 << 20
_GZIP, _BARE = 31, -15  # what zlib calls wbits
# To begin a part takes time of its own. As many of any size are well, more of them only if they are worth it.
_MOST_PARTS = 100_000
_SMALLEST_PART = 1024  # bytes, on average

_LONGEST_FRAME_HEADER = 18
_LARGEST_WINDOW = 128 << 20  # what the format's tools take without being told to; zstd --ultra --long needs it


def is_zstd(head: bytes) -> bool:
    return head.startswith(ZSTD_MAGIC) or _is_skippable(head)


def gunzip(source: Source) -> Iterator[bytes]:
    """Of all members, one behind the other. Zeros may follow, as gzip itself has it."""
    parts = _Parts("gzip")
    while head := source.head(len(GZIP_MAGIC)):
        if head != GZIP_MAGIC:
            if parts.count and _only_zeros(source):
                return
            raise _trailing("gzip")
        parts.begin()
        for piece in _inflated(source, "gzip", _GZIP):
            parts.bytes += len(piece)
            yield piece


def unzstd(source: Source, memory_bytes: int) -> Iterator[bytes]:
    """Of all frames, one behind the other; skippable ones are passed over."""
    parts = _Parts("zstd")
    while head := source.head(_LONGEST_FRAME_HEADER):
        parts.begin()
        if _is_skippable(head):
            length = int.from_bytes(head[4:8], "little")
            if len(head) < 8 or not source.skip(8 + length):
                raise truncated("zstd")
        elif head.startswith(ZSTD_MAGIC):
            _check_frame(head, memory_bytes)
            for piece in _frame(source):
                parts.bytes += len(piece)
                yield piece
        else:
            raise _trailing("zstd")


def inflate(source: Source) -> Iterator[bytes]:
    """Of an entry of a zip."""
    return _inflated(source, "zip", _BARE)


def stored(source: Source) -> Iterator[bytes]:
    while data := source.take():
        yield data


def truncated(format_: str) -> StepError:
    return StepError("archive_truncated", f"The {format_} data ends before it is complete.")


def damaged(format_: str, what: str) -> StepError:
    return StepError("archive_damaged", f"The {format_} data is damaged: {what}.")


def _trailing(format_: str) -> StepError:
    return StepError("archive_trailing_bytes", f"Behind the end of the {format_} data are bytes that are none of it.")


class _Parts:
    def __init__(self, format_: str) -> None:
        self._format = format_
        self.count = 0
        self.bytes = 0  # that came out of them

    def begin(self) -> None:
        self.count += 1
        if self.count > _MOST_PARTS + self.bytes // _SMALLEST_PART:
            detail = f"The {self._format} data has more than {_MOST_PARTS} parts with next to nothing in them."
            raise StepError("archive_too_many_parts", detail)


def _inflated(source: Source, format_: str, wbits: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits)
    while not inflater.eof:
        data = inflater.unconsumed_tail or source.take()
        try:
            piece = inflater.decompress(data, _PIECE_BYTES)
        except zlib.error as error:
            raise damaged(format_, _reason(error)) from None
        if piece:
            yield piece
        elif not data and not inflater.eof:
            raise truncated(format_)
    source.give_back(inflater.unused_data)


def _frame(source: Source) -> Iterator[bytes]:
    decoder = ZstdDecompressor()
    while not decoder.eof:
        data = source.take() if decoder.needs_input else b""
        if not data and decoder.needs_input:
            raise truncated("zstd")
        try:
            piece = decoder.decompress(data, _PIECE_BYTES)
        except ZstdError as error:
            raise damaged("zstd", _reason(error)) from None
        if piece:
            yield piece
    source.give_back(decoder.unused_data)


def _check_frame(head: bytes, memory_bytes: int) -> None:
    try:
        frame = get_frame_info(head)
    except ZstdError:
        raise (
            truncated("zstd") if len(head) < _LONGEST_FRAME_HEADER else damaged("zstd", "its header is none")
        ) from None
    if frame.dictionary_id:
        raise StepError("archive_unsupported", "The zstd data needs a dictionary, which is not in it.")
    window = _window(head, frame.decompressed_size)
    if window > min(_LARGEST_WINDOW, memory_bytes // 2):
        detail = (
            f"The zstd data needs a window of {window >> 20} MiB, more than there is for it. Compress it without it."
        )
        raise StepError("archive_unsupported", detail)


def _window(head: bytes, content_size: int | None) -> int:
    """Bytes of memory that a frame needs, by RFC 8878, section 3.1.1.1."""
    single_segment = head[4] & 0x20
    if single_segment:
        return content_size or 0
    exponent, mantissa = divmod(head[5], 8)
    base = 1 << (10 + exponent)
    return base + base // 8 * mantissa


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == _SKIPPABLE_MAGIC and 0x50 <= head[0] <= 0x5F


def _only_zeros(source: Source) -> bool:
    while data := source.take():
        if data.strip(b"\0"):
            return False
    return True


def _reason(error: Exception) -> str:
    """What the library says, without its own prefix."""
    return str(error).rpartition(": ")[2].rstrip(".").lower()
