"""What a file's bytes are: text, and in which encoding, or something else."""

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processor.step import StepError

# DuckDB drops what follows a longer line, and says nothing.
LONGEST_LINE = 2_000_000  # bytes
_CHUNK_BYTES = 1 << 20


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
        if self.bad_from is not None:
            return f"From byte {self.bad_from} on, the file has bytes that are not UTF-8; they were read as U+FFFD."
        if self.name == "utf-8":
            return None
        return (
            f"The file is {self.name.upper()}."
            if self.marked
            else f"The file is not UTF-8; it was read as {self.name}."
        )


def encoding_of(path: Path, decided: str, mark_bytes: int, on_bytes: Callable[[int], None]) -> Encoding:
    """Read the whole file, telling how far. Raises `StepError` if it is no text, or none with lines."""
    if decided.startswith(("utf-16", "utf-32")):
        return Encoding(decided[: len("utf-16")] if mark_bytes else decided, marked=mark_bytes > 0)
    scan = _Scan(decided == "utf-8")
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            scan.add(chunk)
            on_bytes(scan.offset)
    return Encoding(decided, scan.bad_from(), mark_bytes > 0)


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

    def __init__(self, is_utf8: bool) -> None:
        self.offset = 0
        self._line = 0  # bytes of the line that is not finished
        self._utf8 = codecs.getincrementaldecoder("utf-8")() if is_utf8 else None
        self._bad_from: int | None = None

    def add(self, chunk: bytes) -> None:
        if b"\x00" in chunk:
            at = self.offset + chunk.index(0)
            raise StepError(
                "not_csv", f"The file is not a CSV: it has a NUL byte at offset {at}, as binary files have."
            )
        self._measure_line(chunk)
        self._decode(chunk)
        self.offset += len(chunk)

    def bad_from(self) -> int | None:
        self._decode(b"", final=True)
        return self._bad_from

    def _measure_line(self, chunk: bytes) -> None:
        ends = [end for end in (chunk.find(b"\n"), chunk.find(b"\r")) if end >= 0]
        self._line += min(ends, default=len(chunk))
        if self._line > LONGEST_LINE:
            raise StepError("line_too_long", f"A line of the file is longer than {LONGEST_LINE:,} bytes.")
        if ends:
            self._line = len(chunk) - 1 - max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))

    def _decode(self, chunk: bytes, *, final: bool = False) -> None:
        if self._utf8 is None or self._bad_from is not None:
            return
        waiting = len(self._utf8.getstate()[0])
        try:
            self._utf8.decode(chunk, final)
        except UnicodeDecodeError as bad:
            self._bad_from = self.offset - waiting + bad.start
