"""What a zip's directory says of its entries. None of it is believed before it is checked.

By PKWARE's APPNOTE, and stricter: the file ends with the archive, its directory lies right before that end, and no two
entries share a byte. Honest programs make nothing else, and what readers disagree about is outside of it.
"""

import os
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from processor.inputs.streams import damaged, truncated
from processor.step import StepError

ENTRY_MAGIC = b"PK\x03\x04"
END_MAGIC = b"PK\x05\x06"
SPANNED_MAGIC = b"PK\x07\x08"

_END = struct.Struct("<4s4H2IH")
_LONGEST_COMMENT = 0xFFFF
_LOCATOR = struct.Struct("<4sIQI")
_LOCATOR_MAGIC = b"PK\x06\x07"
_LARGE_END = struct.Struct("<4sQ2H2I4Q")
_LARGE_END_MAGIC = b"PK\x06\x06"
_HEADER = struct.Struct("<4s6H3I5H2I")
_HEADER_MAGIC = b"PK\x01\x02"
_SMALLEST_LOCAL_HEADER = 30

_LARGE_EXTRA = 1
NOT_HERE = 0xFFFFFFFF  # but in an extra field
_UNIX = 3
_FILE_TYPE, _REGULAR = 0o170000, 0o100000
# Of a directory, for each entry that it may have: names and extra fields are short.
_BYTES_PER_ENTRY = 1024


@dataclass(frozen=True, slots=True)
class Entry:
    raw_name: bytes
    name: str  # to be shown, and compared with others that were; never a path
    is_file: bool
    flags: int
    method: int
    crc: int
    compressed: int  # bytes
    bytes: int
    offset: int  # of its local header
    end: int = 0  # where the next entry begins, or the directory


@dataclass(frozen=True, slots=True)
class _End:
    offset: int  # where the directory has to end
    disks: frozenset[int]
    count: int
    directory_bytes: int
    directory_offset: int


def read_directory(file: BinaryIO, most_entries: int) -> list[Entry]:
    end = _find_end(file)
    if end.disks != {0}:
        raise StepError("archive_unsupported", "The zip is a part of several. Send it as one file.")
    if end.count > most_entries or end.directory_bytes > most_entries * _BYTES_PER_ENTRY:
        raise StepError(
            "archive_too_many_entries", f"The zip has {end.count:,} entries; at most {most_entries:,} are read."
        )
    if end.directory_offset + end.directory_bytes != end.offset:
        raise damaged("zip", "its directory does not lie where its end says")
    file.seek(end.directory_offset)
    directory = file.read(end.directory_bytes)
    return _apart([*_entries(directory, end.count)], end.directory_offset)


def overlapping() -> StepError:
    return StepError("archive_overlapping", "Entries of the zip overlap each other, as those of zip bombs do.")


def _find_end(file: BinaryIO) -> _End:
    size = file.seek(0, os.SEEK_END)
    tail_at = max(0, size - _END.size - _LONGEST_COMMENT)
    file.seek(tail_at)
    tail = file.read(size - tail_at)
    at = tail.rfind(END_MAGIC)
    behind = 0
    while at >= 0:
        if at + _END.size <= len(tail):
            _, *disks, here, count, length, offset, comment = _END.unpack_from(tail, at)
            behind = len(tail) - (at + _END.size + comment)
            if behind == 0:
                end = _End(tail_at + at, frozenset((*disks, count - here)), count, length, offset)
                return _large_end(file, end) or end
        at = tail.rfind(END_MAGIC, 0, at)
    if behind > 0:
        raise StepError("archive_trailing_bytes", "Behind the end of the zip are bytes that are none of it.")
    raise truncated("zip")


def _large_end(file: BinaryIO, end: _End) -> _End | None:
    """What a zip64 says instead, right before its end."""
    locator_at = end.offset - _LOCATOR.size
    if locator_at < 0:
        return None
    file.seek(locator_at)
    magic, disk, at, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if magic != _LOCATOR_MAGIC:
        return None
    if at + _LARGE_END.size > locator_at:
        raise damaged("zip", "its zip64 end does not lie where its locator says")
    file.seek(at)
    magic, length, _, _, *own_disks, here, count, directory_bytes, offset = _LARGE_END.unpack(
        file.read(_LARGE_END.size)
    )
    if magic != _LARGE_END_MAGIC or at + 12 + length != locator_at:
        raise damaged("zip", "its zip64 end does not lie where its locator says")
    return _End(at, frozenset((disk, max(disks, 1) - 1, *own_disks, count - here)), count, directory_bytes, offset)


def _entries(directory: bytes, count: int) -> Iterator[Entry]:
    at = 0
    for _ in range(count):
        if at + _HEADER.size > len(directory):
            raise damaged("zip", "its directory is shorter than it says")
        (
            magic, made_by, _, flags, method, _, _, crc, compressed, size, name_length, extra_length, comment_length,
            disk, _, attributes, offset,
        ) = _HEADER.unpack_from(directory, at)  # fmt: skip
        name_at = at + _HEADER.size
        extra_at = name_at + name_length
        at = extra_at + extra_length + comment_length
        if magic != _HEADER_MAGIC or disk != 0 or at > len(directory):
            raise damaged("zip", "its directory has an entry that is none")
        raw_name = directory[name_at:extra_at]
        extra = directory[extra_at : extra_at + extra_length]
        size, compressed, offset = _large(extra, (size, compressed, offset))
        yield Entry(
            raw_name=raw_name,
            name=shown(_decoded(raw_name)),
            is_file=_is_file(raw_name, made_by >> 8, attributes >> 16),
            flags=flags,
            method=method,
            crc=crc,
            compressed=compressed,
            bytes=size,
            offset=offset,
        )
    if at != len(directory):
        raise damaged("zip", "its directory is longer than it says")


def _large(extra: bytes, numbers: tuple[int, int, int]) -> tuple[int, ...]:
    """Those numbers that do not fit into 32 bits are in an extra field of a zip64."""
    if NOT_HERE not in numbers:
        return numbers
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _LARGE_EXTRA:
            found = [large for (large,) in struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8])]
            if len(found) >= numbers.count(NOT_HERE):
                return tuple(found.pop(0) if number == NOT_HERE else number for number in numbers)
        at += 4 + length
    raise damaged("zip", "it does not say how large an entry is")


def _apart(entries: Sequence[Entry], directory_offset: int) -> list[Entry]:
    """As they lie in the file, each with where the next one begins. A zip bomb has entries that share their bytes."""
    lying = sorted(entries, key=lambda entry: entry.offset)
    ends = [*(entry.offset for entry in lying[1:]), directory_offset]
    for entry, end in zip(lying, ends, strict=False):
        if entry.offset + _SMALLEST_LOCAL_HEADER + len(entry.raw_name) + entry.compressed > end:
            raise overlapping()
    return [replace(entry, end=end) for entry, end in zip(lying, ends, strict=False)]


def shown(name: str) -> str:
    """One way to write it, without what cannot be shown, nor be kept by a database."""
    name = unicodedata.normalize("NFC", name)
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def _decoded(raw_name: bytes) -> str:
    """Not every program that writes UTF-8 says so."""
    try:
        return raw_name.decode()
    except UnicodeDecodeError:
        return raw_name.decode("cp437")


def _is_file(raw_name: bytes, made_by: int, mode: int) -> bool:
    """Not a folder, nor a link."""
    if made_by == _UNIX and mode & _FILE_TYPE not in (0, _REGULAR):
        return False
    return not raw_name.endswith((b"/", b"\\"))
