"""A file with very many columns, cut into files with few: DuckDB needs memory for each column that a file has."""

import csv
import io
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from processor.cleaning.reading.rows import Grammar
from processor.cleaning.text import LONGEST_LINE
from processor.step import StepError

WIDEST = 500  # columns that are read in one go
_REPORT_ROWS = 100
_OURS = Grammar(",", '"', None)


@dataclass(frozen=True, slots=True)
class Slice:
    """Some neighbouring columns of a table, as a file of their own."""

    path: Path
    grammar: Grammar
    skipped: int  # records before the first row of data
    columns: range  # of the table


def cut(whole: Slice, scratch: Path, on_bytes: Callable[[int], None]) -> tuple[list[Slice], int]:
    """The slices, and how many rows did not fit the table."""
    width, (delimiter, quote, escape) = len(whole.columns), whole.grammar
    if len(delimiter) > 1:
        detail = f"With more than {WIDEST} columns, the delimiter must be one character, which {delimiter!r} is not."
        raise StepError("too_wide", detail)
    ranges = [range(first, min(first + WIDEST, width)) for first in range(0, width, WIDEST)]
    slices = [Slice(scratch / f"slice-{columns.start}.csv", _OURS, 0, columns) for columns in ranges]
    rejected = rows = 0
    csv.field_size_limit(LONGEST_LINE)
    with ExitStack() as files:
        raw = files.enter_context(whole.path.open("rb"))
        source = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        writers = [csv.writer(files.enter_context(part.path.open("w", newline=""))) for part in slices]
        reader = csv.reader(
            source,
            delimiter=delimiter,
            quotechar=quote,
            escapechar=escape,
            doublequote=escape is None,
            quoting=csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL,
        )
        try:
            for row in islice(reader, whole.skipped, None):
                rows += 1
                if len(row) == width:
                    for part, writer in zip(slices, writers, strict=True):
                        writer.writerow(row[part.columns.start : part.columns.stop])
                elif row:
                    rejected += 1
                if rows % _REPORT_ROWS == 0:
                    on_bytes(raw.tell())
        except csv.Error:
            raise StepError("line_too_long", f"A quoted field is longer than {LONGEST_LINE:,} bytes.") from None
    return slices, rejected
