"""Records of the file as they were, from pieces evenly spread over the table: in the same time and with the same
memory, whatever the file's size is."""

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processor.cleaning.reading.deciding import Decisions
from processor.cleaning.reading.records_units import unit_bytes
from processor.cleaning.reading.rows import Grammar, Lines, Row, rows

MOST_RECORDS = 4_000
_MOST_CELLS = 400_000
_FEWEST_RECORDS = 32  # however wide they are
_PIECES = 16
_SMALLEST_PIECE, _LARGEST_PIECE = 64 << 10, 1 << 20
_LINE_END = re.compile(r"\r\n|\n|\r(?!$)")


@dataclass(frozen=True, slots=True)
class Sample:
    """Of the table, before anything was done to it."""

    columns: dict[str, list[str]]  # the cells as they stood
    records: int
    misfits: int  # records that were passed over: not as wide as the table, or their quotes are wrong
    is_all: bool  # whether these are all records of the table


def take_sample(path: Path, decisions: Decisions, most: int = MOST_RECORDS) -> Sample:
    names = decisions.names.value
    wanted = max(_FEWEST_RECORDS, min(most, _MOST_CELLS // max(1, len(names))))
    with path.open("rb") as file:
        begin = decisions.data_starts
        end = decisions.table_ends or os.fstat(file.fileno()).st_size
        pieces = list(_pieces(begin, max(begin, end), decisions))
        is_whole = len(pieces) == 1
        found: list[Row] = []
        misfits, is_cut = 0, False
        for start, length in pieces:
            text = _text(os.pread(file.fileno(), length, start), decisions, is_first=start == begin)
            share = -(-wanted // len(pieces))
            own = [row for row in _records(text, decisions, is_last=start + length >= end) if not row.is_blank]
            fitting = [row for row in own if len(row.fields) == len(names) and not row.is_flawed]
            misfits += len(own) - len(fitting)
            is_cut |= len(fitting) > share
            found += _spread(fitting, share)
    columns = {name: [row.fields[at] for row in found] for at, name in enumerate(names)}
    return Sample(columns, len(found), misfits, is_whole and not is_cut and misfits == 0)


def _pieces(begin: int, end: int, decisions: Decisions) -> Iterator[tuple[int, int]]:
    """Where each begins, and its length. One, if all of the table fits."""
    size = end - begin
    length = min(_LARGEST_PIECE, max(_SMALLEST_PIECE, len(decisions.names.value) << 7))
    if size <= _PIECES * length:
        yield begin, size
        return
    unit = unit_bytes(decisions.encoding.value)
    for number in range(_PIECES):
        offset = number * (size - length) // (_PIECES - 1)
        yield begin + offset - offset % unit, length


def _text(data: bytes, decisions: Decisions, *, is_first: bool) -> str:
    unit = unit_bytes(decisions.encoding.value)
    text = data[: len(data) - len(data) % unit].decode(codecs.lookup(decisions.encoding.value).name, "replace")
    if is_first:
        return text
    end = _LINE_END.search(text)
    return text[end.end() :] if end else ""


def _records(text: str, decisions: Decisions, *, is_last: bool) -> Iterator[Row]:
    """Those that end within the text, without the file's footer."""
    lines = Lines(text)
    last = len(lines) - (decisions.footer_lines.value if is_last else 1)
    grammar = Grammar(decisions.delimiter.value, decisions.quote.value, decisions.escape.value)
    for row in rows(lines, grammar):
        if row.line + row.lines > last:
            return
        yield row


def _spread(found: list[Row], most: int) -> list[Row]:
    if len(found) <= most:
        return found
    return [found[number * len(found) // most] for number in range(most)]
