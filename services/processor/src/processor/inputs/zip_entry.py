"""The one entry of a zip that is meant, and its bytes."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from processor.inputs.source import Source
from processor.inputs.streams import damaged, inflate, stored, truncated, unzstd
from processor.inputs.zip_directory import ENTRY_MAGIC, NOT_HERE, Entry, overlapping, shown
from processor.step import StepError

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1
_SIZES_FOLLOW = 0x8  # behind the data: the local header does not know them
_STORED, _DEFLATE, _ZSTD = 0, 8, 93
_OTHER_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 95: "xz", 98: "PPMd"}

# What systems put beside people's files.
_JUNK_FOLDERS = ("__MACOSX/",)
_JUNK_NAMES = (".DS_Store", "Thumbs.db", "desktop.ini")
_JUNK_PREFIX = "._"
# Spreadsheets and documents are zips too.
_DOCUMENT_ENTRIES = frozenset({"[Content_Types].xml", "META-INF/manifest.xml"})
WITHIN = "!/"  # between the name of a zip's entry that is a zip, and that of its own entry

_NAMES_SHOWN = 5


def choose(entries: Sequence[Entry], wanted: str | None) -> tuple[Entry, str | None]:
    """The entry, and what is wanted within it."""
    files = [entry for entry in entries if entry.is_file]
    if wanted is not None:
        return _named(files, shown(wanted))
    if any(entry.name in _DOCUMENT_ENTRIES for entry in files):
        detail = "The file is a document such as an .xlsx, not an archive of data. Export its sheet as CSV."
        raise StepError("archive_is_document", detail)
    data = [entry for entry in files if not _is_junk(entry.name)]
    if not data:
        raise StepError("archive_empty", "There is no file in the zip.")
    if len(data) > 1:
        detail = f"There are {len(data):,} files in the zip: {_listed(data)}. Say which one by the option `entry`."
        raise StepError("archive_several_files", detail)
    return data[0], None


def data_offset(file: BinaryIO, entry: Entry) -> int:
    """Behind the local header, which must say what the directory does."""
    file.seek(entry.offset)
    head = file.read(_LOCAL_HEADER.size)
    if len(head) < _LOCAL_HEADER.size:
        raise truncated("zip")
    magic, _, flags, method, _, _, *sizes, name_length, extra_length = _LOCAL_HEADER.unpack(head)
    begin: int = entry.offset + _LOCAL_HEADER.size + name_length + extra_length
    says = (magic, flags & _ENCRYPTED, method, file.read(name_length))
    if says != (ENTRY_MAGIC, entry.flags & _ENCRYPTED, entry.method, entry.raw_name) or not (
        flags & _SIZES_FOLLOW or _sizes_agree(entry, sizes)
    ):
        raise damaged("zip", "an entry's header and the directory say different things")
    if begin + entry.compressed > entry.end:
        raise overlapping()
    return begin


def read_entry(source: Source, entry: Entry, memory_bytes: int) -> Iterator[bytes]:
    """Its bytes. That they are what the directory says is known when the last of them is there."""
    if entry.flags & _ENCRYPTED:
        raise StepError("archive_encrypted", f"The zip's entry {entry.name!r:.60} is encrypted.")
    if entry.method == _STORED:
        return _checked(stored(source), source, entry)
    if entry.method == _DEFLATE:
        return _checked(inflate(source), source, entry)
    if entry.method == _ZSTD:
        return _checked(unzstd(source, memory_bytes), source, entry)
    method = _OTHER_METHODS.get(entry.method, f"method {entry.method}")
    detail = f"The zip's entry is compressed by {method}. Use Deflate or zstd."
    raise StepError("archive_unsupported", detail)


def _named(files: Sequence[Entry], wanted: str) -> tuple[Entry, str | None]:
    found = [entry for entry in files if entry.name == wanted]
    within = None
    if not found:
        found = [entry for entry in files if wanted.startswith(entry.name + WITHIN)]
        within = wanted.removeprefix(found[0].name + WITHIN) if found else None
    if len(found) > 1:
        raise StepError("archive_ambiguous", f"The zip has {len(found):,} entries that {wanted!r:.60} may mean.")
    if not found:
        detail = f"The zip has no file {wanted!r:.60}. It has {_listed(files) or 'none'}."
        raise StepError("archive_entry_missing", detail)
    return found[0], within


def _listed(entries: Sequence[Entry]) -> str:
    names = ", ".join(f"{entry.name!r:.60}" for entry in entries[:_NAMES_SHOWN])
    more = len(entries) - _NAMES_SHOWN
    return f"{names} and {more:,} more" if more > 0 else names


def _is_junk(name: str) -> bool:
    last = name.rpartition("/")[2]
    return name.startswith(_JUNK_FOLDERS) or last in _JUNK_NAMES or last.startswith(_JUNK_PREFIX)


def _sizes_agree(entry: Entry, said: Sequence[int]) -> bool:
    """Those that do not fit into 32 bits are elsewhere."""
    true = (entry.crc, entry.compressed, entry.bytes)
    return all(one in (other, NOT_HERE) for one, other in zip(said, true, strict=True))


def _checked(pieces: Iterator[bytes], source: Source, entry: Entry) -> Iterator[bytes]:
    crc = size = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        if size > entry.bytes:
            raise damaged("zip", f"an entry has more than the {entry.bytes:,} bytes that it says")
        yield piece
    if source.head(1):
        raise damaged("zip", "an entry has bytes behind its end")
    if size != entry.bytes:
        raise damaged("zip", f"an entry has {size:,} bytes, not the {entry.bytes:,} that it says")
    if crc != entry.crc:
        raise damaged("zip", "an entry's checksum is another")
