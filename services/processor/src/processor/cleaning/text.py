"""What a file's bytes are: text, and in which encoding, or something else."""

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processor.step import StepError

# DuckDB drops what follows a longer line, and says nothing.
LONGEST_LINE = 2_000_000  # bytes
_CHUNK_BYTES = 1 << 20

# How files begin that people send instead of a CSV.
_OTHER_FORMATS = {
    b"BZh": "compressed with bzip2. Use gzip, zstd or zip",
    b"\xfd7zXZ\x00": "compressed with xz. Use gzip, zstd or zip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive. Use gzip, zstd or zip",
    b"Rar!\x1a\x07": "a RAR archive. Use gzip, zstd or zip",
    b"\xd0\xcf\x11\xe0": "an old Office document. Export the sheet as CSV",
    b"%PDF-": "a PDF",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"\x89PNG": "an image",
    b"GIF8": "an image",
    b"\xff\xd8\xff": "an image",
    b"<?xml": "XML",
    b"<!doctype": "HTML",
    b"<html": "HTML",
    b'{"': "JSON",
    b'[{"': "JSON",
}

_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257

# Control characters that text has no use for; a few may be garbage, many are another kind of file.
_CONTROLS = bytes(code for code in range(1, 32) if code not in b"\t\n\v\f\r\x1b")
_MOST_CONTROLS = 0.02

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Encoding:
    name: str
    bad_from: int | None = None  # offset of the first byte that is not of this encoding
    marked: bool = False  # begins with a byte order mark

    @property
    def is_plain_utf8(self) -> bool:
        return self.name == "utf-8" and self.bad_from is None and not self.marked

    @property
    def note(self) -> str | None:
        """What a person should know of how the bytes were read."""
        if self.name == "windows-1252":
            return "The file is not UTF-8; it was read as Windows-1252."
        if self.bad_from is not None:
            return f"From byte {self.bad_from} on, the file has bytes that are not UTF-8; they were read as U+FFFD."
        return None if self.name == "utf-8" else f"The file is {self.name.upper()}."


def encoding_of(path: Path, on_bytes: Callable[[int], None]) -> Encoding:
    """Read the whole file, telling how far. Raises `StepError` if it is no text, or none with lines."""
    with path.open("rb") as file:
        head = file.read(_CHUNK_BYTES)
        if head.startswith(_UTF16_MARKS):
            return Encoding("utf-16", marked=True)
        _refuse_other_formats(head)
        file.seek(0)
        scan = _Scan()
        while chunk := file.read(_CHUNK_BYTES):
            scan.add(chunk)
            on_bytes(scan.offset)
        return scan.encoding()


def convert_to_utf8(path: Path, encoding: Encoding, copy: Path, on_bytes: Callable[[int], None]) -> None:
    """Without a byte order mark, and with U+FFFD for what is not of the encoding."""
    codec = "utf-8-sig" if encoding.name == "utf-8" else encoding.name
    decoder = codecs.getincrementaldecoder(codec)(errors="replace")
    with path.open("rb") as source, copy.open("wb") as target:
        while chunk := source.read(_CHUNK_BYTES):
            target.write(decoder.decode(chunk).encode())
            on_bytes(source.tell())
        target.write(decoder.decode(b"", final=True).encode())


class _Scan:
    """All that one look at each byte can tell."""

    def __init__(self) -> None:
        self.offset = 0
        self._line = 0  # bytes of the line that is not finished
        self._blank = True
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._bad_from: int | None = None
        self._has_utf8_characters = False
        self._marked = False

    def add(self, chunk: bytes) -> None:
        if b"\x00" in chunk:
            at = self.offset + chunk.index(0)
            raise StepError(
                "not_csv", f"The file is not a CSV: it has a NUL byte at offset {at}, as binary files have."
            )
        self._blank = self._blank and not chunk.strip()
        self._marked = self._marked or (self.offset == 0 and chunk.startswith(codecs.BOM_UTF8))
        self._measure_line(chunk)
        self._decode(chunk)
        self.offset += len(chunk)

    def encoding(self) -> Encoding:
        if self._blank:
            raise StepError("empty_file", "The file has no content but white space.")
        self._decode(b"", final=True)
        if self._bad_from is not None and not self._has_utf8_characters:
            return Encoding("windows-1252")
        return Encoding("utf-8", self._bad_from, self._marked)

    def _measure_line(self, chunk: bytes) -> None:
        ends = [end for end in (chunk.find(b"\n"), chunk.find(b"\r")) if end >= 0]
        self._line += min(ends, default=len(chunk))
        if self._line > LONGEST_LINE:
            raise StepError("line_too_long", f"A line of the file is longer than {LONGEST_LINE:,} bytes.")
        if ends:
            self._line = len(chunk) - 1 - max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))

    def _decode(self, chunk: bytes, *, final: bool = False) -> None:
        if self._bad_from is not None:
            return
        waiting = len(self._utf8.getstate()[0])
        try:
            text = self._utf8.decode(chunk, final)
        except UnicodeDecodeError as bad:
            self._bad_from = self.offset - waiting + bad.start
            text = bad.object[: bad.start].decode()
        self._has_utf8_characters = self._has_utf8_characters or not text.isascii()


def _refuse_other_formats(head: bytes) -> None:
    start = head.lstrip(codecs.BOM_UTF8).lstrip()[:32]
    for magic, what in _OTHER_FORMATS.items():
        if start.lower().startswith(magic.lower()):
            raise StepError("not_csv", f"The file is not a CSV: it is {what}.")
    if head.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        raise StepError("not_csv", "The file is not a CSV: it is a tar archive. Send the file by itself, or in a zip.")
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls > _MOST_CONTROLS * len(head):
        raise StepError("not_csv", "The file is not a CSV: it is full of control characters, as binary files are.")
