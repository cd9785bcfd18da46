"""Where in a file its table is: what stands before and after it, and which one it is of several."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from processor.cleaning.reading.header import looks_like_header
from processor.cleaning.reading.rows import Row

_FEWEST_ROWS = 2  # with which a block is a table, unless there is none larger
_FITTING = 0.6  # share of a table's rows that have its width
_MOST_TABLES = 100


class Table(msgspec.Struct, frozen=True):
    """A part of a file, by its lines."""

    number: int  # from 1 on
    line: int  # the first, from 0 on
    lines: int | None  # None: up to the file's end, as far as the sample tells
    columns: int
    rows: int  # that the sample has of it, its header among them
    preview: tuple[str, ...]  # its first row's first fields


@dataclass
class _Block:
    """Rows that may be one table: they follow each other, and most have as many fields."""

    rows: list[Row]
    width: int

    @property
    def is_table(self) -> bool:
        fitting = sum(len(row.fields) == self.width for row in self.rows)
        return (
            self.width > 1
            and not self.is_title
            and len(self.rows) >= _FEWEST_ROWS
            and fitting >= _FITTING * len(self.rows)
        )

    @property
    def is_title(self) -> bool:
        return self.width > _FEWEST_ROWS and all(_filled(row) <= 1 for row in self.rows)

    @property
    def fields(self) -> int:
        return sum(len(row.fields) for row in self.rows)


def usual_width(rows: Iterable[Row]) -> int:
    widths = Counter(len(row.fields) for row in rows if not row.is_flawed and not row.is_blank)
    return max(widths, key=lambda width: (widths[width], width), default=1)


def find_tables(rows: Iterable[Row], usual: int) -> list[Table]:
    """In the file's order. The last one goes on to the file's end, or to its footer."""
    blocks = _joined([part for block in _cut(rows) for part in _without_titles(block)])
    if usual > 1:
        tables = [block for block in blocks if block.is_table]
    else:
        tables = [_Block([row for block in blocks for row in block.rows], 1)] if blocks else []
    tables = tables or sorted(blocks, key=lambda block: -block.fields)[:1]
    found: list[Table] = []
    for number, block in enumerate(tables[:_MOST_TABLES], 1):
        first, last = block.rows[0], block.rows[-1]
        lines = None if block is tables[-1] else last.line + last.lines - first.line
        preview = tuple(field.strip()[:60] for field in first.fields[:10])
        found.append(Table(number, first.line, lines, block.width, len(block.rows), preview))
    return found


def _cut(rows: Iterable[Row]) -> list[_Block]:
    """At blank lines, and where the number of fields changes for good."""
    blocks: list[_Block] = []
    run: list[Row] = []
    for row in rows:
        if not row.is_blank:
            run.append(row)
        elif run:
            blocks += _cut_by_width(run)
            run = []
    return blocks + (_cut_by_width(run) if run else [])


def _cut_by_width(run: list[Row]) -> list[_Block]:
    """Rows of another width are ragged, unless they begin with a header of their own: then they are another table."""
    spans: list[list[Row]] = []
    for row in run:
        if spans and (row.is_flawed or len(row.fields) == len(spans[-1][0].fields)):
            spans[-1].append(row)
        else:
            spans.append([row])
    usual = usual_width(run)
    merged: list[list[Row]] = []
    widths: list[int] = []
    for span in spans:
        width = len(span[0].fields)
        if not merged:
            merged, widths = [list(span)], [width]
        elif len(merged) == 1 and width == usual != widths[0] and _is_uneven_header(merged[0], span):
            merged[0] += span
            widths[0] = width
        elif width == widths[-1] or (widths[-1] > 1 and width != usual and not _is_whole_table(span)):
            merged[-1] += span
        else:
            merged.append(list(span))
            widths.append(width)
    return [_Block(rows, width) for rows, width in zip(merged, widths, strict=True)]


def _without_titles(block: _Block) -> list[_Block]:
    """Spreadsheets write a title as a row, too, with delimiters behind it."""
    titles = 0
    while block.width > _FEWEST_ROWS and titles < len(block.rows) and _filled(block.rows[titles]) <= 1:
        titles += 1
    table = block.rows[titles:]
    if not titles or not table:
        return [block]
    data = [row.fields for row in table[1:] if len(row.fields) == block.width]
    if len(table[0].fields) != block.width or looks_like_header(table[0].fields, data)[0] < 0.5:
        return [block]
    return [_Block(block.rows[:titles], 1), _Block(table, block.width)]


def _filled(row: Row) -> int:
    return sum(bool(field.strip()) for field in row.fields)


def _joined(blocks: list[_Block]) -> list[_Block]:
    """Blank lines within a table do not part it: what comes after has the same columns, and no header of its own."""
    joined: list[_Block] = []
    for block in blocks:
        above = joined[-1] if joined else None
        if above and above.width == block.width > 1 and not above.is_title and not _begins_anew(above, block):
            above.rows += block.rows
        else:
            joined.append(block)
    return joined


def _begins_anew(above: _Block, block: _Block) -> bool:
    first = [field.strip() for field in block.rows[0].fields]
    if first == [field.strip() for field in above.rows[0].fields] and len(block.rows) > 1:
        return True
    data = [row.fields for row in block.rows[1:] if len(row.fields) == block.width]
    if not data or len(first) != block.width:
        return False
    below = [row.fields for row in above.rows[1:] if len(row.fields) == block.width]
    return looks_like_header(first, data)[0] > 0.9 and looks_like_header(first, below)[0] > 0.9 if below else False


def _is_whole_table(span: Sequence[Row]) -> bool:
    first, *data = [row.fields for row in span if len(row.fields) == len(span[0].fields)]
    return len(data) >= _FEWEST_ROWS and len(first) > 1 and looks_like_header(first, data)[0] > 0.5


def _is_uneven_header(above: Sequence[Row], span: Sequence[Row]) -> bool:
    """One row with nearly as many fields as those below it, none of which could be their header."""
    width, wide = len(above[0].fields), len(span[0].fields)
    if len(above) > 1 or width == 1 or not wide / 2 <= width <= wide * 2:
        return False
    return looks_like_header(span[0].fields, [row.fields for row in span[1:] if len(row.fields) == wide])[0] < 0.5
