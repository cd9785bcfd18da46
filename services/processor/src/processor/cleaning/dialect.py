"""How a CSV file is written: its delimiter, whether it begins with a header, and what its columns seem to hold. Decided
from the file's beginning."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from processor.cleaning.text import LONGEST_LINE

SAMPLE_BYTES = 4 << 20
_SAMPLE_ROWS = 1000
_DELIMITERS = (",", ";", "\t", "|")

# What a value looks like, from narrow to wide.
_SHAPES = (
    ("BIGINT", re.compile(r"\s*[+-]?\d+\s*")),
    ("DOUBLE", re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")),
    ("BOOLEAN", re.compile(r"\s*(true|false)\s*", re.IGNORECASE)),
    ("DATE", re.compile(r"\s*\d{4}-\d\d-\d\d\s*")),
    ("TIMESTAMP", re.compile(r"\s*\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?\s*")),
)
# A type, and the wider one that a column has if some of its values are of the other kind.
_WIDENED = {frozenset(("BIGINT", "DOUBLE")): "DOUBLE", frozenset(("DATE", "TIMESTAMP")): "TIMESTAMP"}


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    header: bool
    preamble: int  # lines, or rather records, before the table
    skipped: int  # records before the first row of data: the preamble and the header
    names: tuple[str, ...]
    guesses: tuple[str | None, ...]  # each column's type as the sample has it; None where it has no value
    notes: tuple[str, ...]  # what a person should know of these decisions


def detect(text: str) -> Dialect:
    """The dialect of a file that begins with `text`, which ends with a line's end unless it is the whole file."""
    csv.field_size_limit(LONGEST_LINE)
    parsed = {delimiter: _rows(text, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda candidate: _regularity(parsed[candidate]))
    rows = parsed[delimiter]
    width = _usual_width(rows)
    preamble = 0
    while width > 1 and preamble < len(rows) - 1 and len(rows[preamble].fields) == 1:
        preamble += 1
    table = rows[preamble:]
    notes = [f"The first {table[0].number} lines are not part of the table."] if preamble else []
    header = not any(_shape(field) for field in table[0].fields)
    if header:
        fields = table[0].fields
        if len(fields) != width:
            notes.append(f"The header has {len(fields)} columns, and most rows have {width}.")
        names, remarks = _names([*fields, *[""] * width][:width])
        notes += remarks
    else:
        names = tuple(f"column{number}" for number in range(1, width + 1))
        notes.append("The file has no header; its columns are numbered.")
    data = [row.fields for row in table[1 if header else 0 :] if len(row.fields) == width]
    guesses = tuple(_guess([row[at] for row in data]) for at in range(width))
    skipped = table[0].number + header
    return Dialect(delimiter, header, table[0].number, skipped, names, guesses, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Row:
    fields: list[str]
    number: int  # records before it, empty lines among them


def _rows(text: str, delimiter: str) -> list[_Row]:
    rows: list[_Row] = []
    try:
        for number, fields in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)):
            if fields:
                rows.append(_Row(fields, number))
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # what was read until then is a sample too
    return rows or [_Row([text], 0)]


def _regularity(rows: Sequence[_Row]) -> tuple[float, int]:
    """The share of rows that have as many fields as most; of equals, the one with more fields."""
    width = _usual_width(rows)
    return (sum(len(row.fields) == width for row in rows) / len(rows) if width > 1 else 0.0, width)


def _usual_width(rows: Sequence[_Row]) -> int:
    widths = Counter(len(row.fields) for row in rows)
    return max(widths, key=lambda width: (widths[width], width))


def _shape(value: str) -> str | None:
    return next((type_ for type_, shape in _SHAPES if shape.fullmatch(value)), None)


def _guess(values: list[str]) -> str | None:
    """The narrowest type that all values seem to have."""
    types = frozenset(_shape(value) or "VARCHAR" for value in values if value)
    if len(types) <= 1:
        return next(iter(types), None)
    return _WIDENED.get(types, "VARCHAR")


def _names(fields: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """A distinct name for each column, and a note where the header left that to us."""
    names: list[str] = []
    notes: list[str] = []
    taken: set[str] = set()
    for number, field in enumerate(fields, 1):
        base = name = field.strip() or f"column{number}"
        while name.lower() in taken:
            name = f"{base}_{number}" if name == base else f"{name}_"
        if not field.strip():
            notes.append(f"Column {number} has no name in the header; it is called {name} here.")
        elif name != base:
            notes.append(f"Column {number} repeats the name {base!r:.60}; it is called {name!r:.70} here.")
        taken.add(name.lower())
        names.append(name)
    return tuple(names), _shortened(notes)


def _shortened(notes: list[str], most: int = 20) -> list[str]:
    return notes if len(notes) <= most else [*notes[:most], f"And so on, for {len(notes) - most} more columns."]
