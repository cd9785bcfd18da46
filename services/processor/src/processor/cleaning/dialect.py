"""How a CSV file is written: its delimiter, and whether it begins with a header. Decided from the file's beginning."""

import csv
import io
from dataclasses import dataclass

from processor.steps import StepError

SAMPLE_BYTES = 256 * 1024
_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS = 100
# Control characters that text has no use for; a few may be garbage, many are another kind of file.
_BINARY = bytes(code for code in range(32) if code not in b"\t\n\v\f\r\x1b")
_BINARY_SHARE = 0.02

# A field may be as long as the sample.
csv.field_size_limit(SAMPLE_BYTES * 4)


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    header: bool
    names: list[str]
    encoding: str  # DuckDB's name
    notes: list[str]  # what a person should know of these decisions


def detect(sample: bytes, *, whole: bool) -> Dialect:
    """The dialect of a file that begins with `sample`, or is it. Raises `StepError` if it is no CSV."""
    if not sample.strip():
        raise StepError("empty_file", "The file has no content but white space.")
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise StepError("unsupported_encoding", "The file is UTF-16. Send it as UTF-8.")
    if b"\x00" in sample:
        raise StepError("not_csv", f"The file is not a CSV: it has a NUL byte at offset {sample.index(0)}.")
    binary = len(sample) - len(sample.translate(None, _BINARY))
    if binary > _BINARY_SHARE * len(sample):
        raise StepError("not_csv", "The file is not a CSV: it is full of control characters, as binary files are.")
    text, encoding = _decode(sample, whole)
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    delimiter, rows = _most_regular(text)
    header = _is_header(rows)
    names, notes = _names(rows[0] if header else ["" for _ in rows[0]], header)
    return Dialect(delimiter, header, names, encoding, notes)


def _decode(sample: bytes, whole: bool) -> tuple[str, str]:
    try:
        # The sample may end within a character.
        decoder_end = len(sample) if whole else max(sample.rfind(b"\n") + 1, len(sample) - 3)
        return sample[:decoder_end].decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return sample.decode("latin-1"), "latin-1"


def _most_regular(text: str) -> tuple[str, list[list[str]]]:
    """The delimiter by which most rows have as many fields as the first one; of equals, the one with more fields."""

    def regularity(rows: list[list[str]]) -> tuple[float, int]:
        width = len(rows[0])
        return (sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0, width)

    parsed = {delimiter: _rows(text, delimiter) for delimiter in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda delimiter: regularity(parsed[delimiter]))
    return best, parsed[best]


def _rows(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # what was read until then is a sample too
    return rows or [[text]]


def _is_header(rows: list[list[str]]) -> bool:
    """A header names things: it has no number in it."""
    return not any(_is_number(field) for field in rows[0])


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _names(fields: list[str], header: bool) -> tuple[list[str], list[str]]:
    """A distinct name for each column, and a note where the header left that to us."""
    names: list[str] = []
    notes: list[str] = []
    taken: set[str] = set()
    for number, field in enumerate(fields, 1):
        base = name = field.strip() or f"column{number}"
        if header and not field.strip():
            notes.append(f"Column {number} has no name in the header; it is called {name} here.")
        while name.lower() in taken:
            name = f"{base}_{number}" if name == base else f"{name}_"
        if field.strip() and name != base:
            notes.append(f"Column {number} repeats the name {base!r:.60}; it is called {name!r:.70} here.")
        taken.add(name.lower())
        names.append(name)
    return names, notes
