"""How many records and lines are in a piece of a file. Where no quote is in it, each line is a record."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.records import lines_of, walk
from processor.cleaning.reading.records_exact import One
from processor.cleaning.reading.records_grammar import Grammar
from processor.cleaning.reading.records_window import tally

_LF, _CR = 10, 13


class Counts(NamedTuple):
    bytes: int  # up to the end of the last record that ends in it
    rows: int
    lines: int


def count(data: bytearray, length: int, grammar: Grammar, *, is_last: bool) -> Counts:
    """Of as many bytes of the data. A record begins with them."""
    if grammar.quote is not None and data.find(grammar.quote, 0, length) >= 0:
        return _count_quoted(bytes(memoryview(data)[:length]), grammar, is_last=is_last)
    has_returns = data.find(b"\r", 0, length) >= 0
    if not is_last:
        length -= data[length - 1] == _CR  # a line feed may follow
        length = max(data.rfind(b"\n", 0, length), data.rfind(b"\r", 0, length) if has_returns else -1) + 1
    if not length:
        return Counts(0, 0, 0)
    bytes_ = np.frombuffer(data, np.uint8, length)
    any_end = ends = bytes_ == _LF
    if has_returns:
        returns = bytes_ == _CR
        any_end = ends | returns
        ends = ends.copy()
        ends[:-1] |= returns[:-1] & ~ends[1:]
        ends[-1] |= returns[-1]
    lines = int(np.count_nonzero(ends))
    rows = lines + (not ends[-1])
    return Counts(length, rows if grammar.keeps_blank_lines else rows - _blank(ends, any_end), lines)


def _count_quoted(data: bytes, grammar: Grammar, *, is_last: bool) -> Counts:
    counted = _Counted(data, grammar)
    walk(data, grammar, counted, is_last=is_last)
    return Counts(counted.consumed, counted.rows, counted.lines)


class _Counted:
    def __init__(self, data: bytes, grammar: Grammar) -> None:
        self._data = data
        self._grammar = grammar
        self.consumed = self.rows = self.lines = 0

    def take_window(self, end: int, *, is_last: bool) -> tuple[int, bool]:
        found = tally(self._data, self.consumed, end, self._grammar, is_last=is_last)
        self.consumed += found.bytes
        self.rows += found.records - (0 if self._grammar.keeps_blank_lines else found.blank)
        self.lines += found.lines
        return found.records, found.failed

    def take_one(self, one: One) -> None:
        self.rows += one.end > self.consumed or self._grammar.keeps_blank_lines
        self.lines += lines_of(self._data, self.consumed, one)
        self.consumed = one.after


def _blank(ends: NDArray[np.bool_], any_end: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(ends[:-1] & any_end[1:])) + int(any_end[0])
