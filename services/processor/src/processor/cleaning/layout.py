"""Where in a file the table is, and by which grammar: all that those who work on a chunk of it have to know."""

import os
import re

import msgspec

from processor.cleaning.reading.chunks import Table
from processor.cleaning.reading.deciding import Decisions
from processor.cleaning.reading.records_grammar import Grammar
from processor.cleaning.reading.records_units import as_ascii, unit_bytes
from processor.step import StepError

_PIECE_BYTES = 1 << 20
_SHARING = ("shift_jis", "big5", "gb18030")  # with ASCII, the bytes within characters
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Layout(msgspec.Struct, frozen=True):
    table: Table
    delimiter: str
    quote: str | None
    escape: str | None
    names: tuple[str, ...]

    @property
    def grammar(self) -> Grammar:
        return Grammar(
            self.delimiter.encode(),
            None if self.quote is None else self.quote.encode(),
            None if self.escape is None else self.escape.encode(),
            keeps_blank_lines=len(self.names) == 1,
        )


def layout_of(fd: int, decisions: Decisions) -> Layout:
    """Raises `StepError` if its records cannot be told apart exactly."""
    encoding = decisions.encoding.value
    end = decisions.table_ends
    if end is None:
        end = before_last_lines(fd, decisions.data_starts, decisions.footer_lines.value, encoding)
    layout = Layout(
        Table(decisions.data_starts, end, decisions.data_line + 1, encoding),
        decisions.delimiter.value,
        decisions.quote.value,
        decisions.escape.value,
        decisions.names.value,
    )
    marks = "".join(mark for mark in (layout.delimiter, layout.quote, layout.escape) if mark)
    if encoding in _SHARING and any(mark >= "@" or mark.isdigit() for mark in marks):
        detail = f"A file like this cannot be cleaned. In {encoding}, {marks} may be a part of other characters."
        raise StepError("unsupported_dialect", detail)
    try:
        _ = layout.grammar
    except ValueError as wrong:
        raise StepError("unsupported_dialect", f"A file like this cannot be cleaned. {wrong}") from None
    return layout


def before_last_lines(fd: int, begin: int, lines: int, encoding: str) -> int:
    """The offset at which the last lines of the file begin; not before `begin`."""
    size, unit = os.fstat(fd).st_size, unit_bytes(encoding)
    if not lines:
        return size
    position, after = size - (size - begin) % unit, b""
    left = lines
    while position > begin:
        start = max(begin, position - _PIECE_BYTES * unit)
        piece = as_ascii(os.pread(fd, position - start, start), encoding)
        # A pair that begins here and ends in the piece behind it has been seen there.
        ends = [at for end in _LINE_END.finditer(piece + after) if (at := end.end()) <= len(piece)]
        if not after and ends[-1:] == [len(piece)]:
            ends.pop()  # the last line's own
        if len(ends) >= left:
            return start + ends[-left] * unit
        left -= len(ends)
        position, after = start, piece[:1]
    return begin
