"""A file's bytes, cut into records."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.records_bits import positions_of
from processor.cleaning.reading.records_exact import ExactReader, One
from processor.cleaning.reading.records_fields import count_fields, is_peculiar
from processor.cleaning.reading.records_grammar import Fault, Grammar
from processor.cleaning.reading.records_window import Window, look

_WINDOW_BYTES = 512 << 10
_SMALLEST_WINDOW_BYTES = 16 << 10
_WORTH_A_WINDOW = 64  # records that the exact way reads in about the time that a small window takes
_MOST_AT_ONCE = 4096
_LF, _CR = 10, 13

Offsets = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Records:
    """Those that are rows, in the order of the file. A blank line is none, unless the grammar keeps it."""

    starts: Offsets
    ends: Offsets  # of their text: the line end is not in it
    lines: Offsets  # that have ended before
    fields: Offsets  # how many; of malformed records, 0
    faults: NDArray[np.uint8]  # what is known of them without their encoding: a `Fault` each
    peculiar: Offsets  # which of the well-formed ones a parser may read in another way
    blank_lines: int
    line_count: int
    consumed: int  # bytes; the others, if there are any, begin a record that they do not end
    delimiters: Offsets  # between fields, if they were asked for, of records that were found the fast way
    first_delimiters: Offsets  # which of these is a record's first; -1 if none was asked for or found

    def __len__(self) -> int:
        return len(self.starts)


def split(data: bytes, grammar: Grammar, *, is_last: bool = True, most_delimiters: int = 0) -> Records:
    """A record begins with the data. If it is the last of its file, the last record ends with it. Where there are more
    than the most delimiters, none is told."""
    found = _Found(data, grammar, most_delimiters)
    walk(data, grammar, found, is_last=is_last)
    return found.records()


class Taker(Protocol):
    """What is done with the records."""

    consumed: int

    def take_window(self, end: int, *, is_last: bool) -> tuple[int, bool]:
        """Those that end before, and whether there is a quote that is not where it has to be. How many, and that."""
        ...

    def take_one(self, one: One) -> None: ...


def walk(data: bytes, grammar: Grammar, taker: Taker, *, is_last: bool) -> None:
    """A record begins where the taker is. If the data are the last of their file, the last record ends with them."""
    exact = ExactReader(data, grammar, is_last=is_last)
    # No record in a window is too long. Where the fast way fails, it is shown less of the file at once, and where it
    # fails soon, more and more records are left to the exact one.
    widest = min(_WINDOW_BYTES, grammar.most_record_bytes)
    width, patience = widest, 1
    while taker.consumed < len(data):
        begin = taker.consumed
        end = min(begin + width, len(data))
        quote = -1 if grammar.quote is None else data.find(grammar.quote, begin, end)
        if is_far := quote - begin >= _SMALLEST_WINDOW_BYTES:
            end = quote  # up to there, nothing can fail
        count, failed = taker.take_window(end, is_last=is_last)
        if failed:
            width = min(widest, max(2 * (taker.consumed - begin), _SMALLEST_WINDOW_BYTES))
            patience = min(4 * patience, _MOST_AT_ONCE) if count < _WORTH_A_WINDOW else 1
        else:
            width, patience = width if is_far else min(2 * width, widest), 1
            if count and end < len(data):
                continue
        for _ in range(patience):
            one = exact.read(taker.consumed) if taker.consumed < len(data) else None
            if one is None:
                break
            taker.take_one(one)
        else:
            continue
        break


class _Found:
    def __init__(self, data: bytes, grammar: Grammar, most_delimiters: int) -> None:
        self._most_delimiters = most_delimiters
        self._delimiters: list[NDArray[np.int32]] = []
        self._data = data
        self._bytes = np.frombuffer(data, np.uint8)
        self._grammar = grammar
        self._has_returns = b"\r" in data
        self._parts: list[tuple[NDArray[Any], ...]] = []  # as of `Records`, and whether it was the fast way
        self._ones: list[tuple[int, int, int, int, int]] = []  # that are to be a part
        self._peculiar: list[NDArray[np.intp]] = []  # positions
        self._lines = 0
        self.consumed = 0

    def take_window(self, end: int, *, is_last: bool) -> tuple[int, bool]:
        window = look(self._data, self.consumed, end, self._grammar, is_last=is_last)
        if len(window.line_ends):
            self._add_ones()
            self._add(window)
        return len(window.line_ends), window.failed

    def take_one(self, one: One) -> None:
        start, fields = self.consumed, 0
        if one.fault is Fault.NONE:
            record = self._data[start : one.end]
            fields = count_fields(record, self._grammar)
            if is_peculiar(record, self._grammar):
                self._peculiar.append(np.array([start], np.intp))
        self._ones.append((start, one.end, self._lines, fields, one.fault))
        self._lines += lines_of(self._data, start, one)
        self.consumed = one.after

    def _add_ones(self) -> None:
        if self._ones:
            starts, ends, lines, counts, faults = np.array(self._ones, np.int32).T
            self._parts.append((starts, ends, lines, counts, faults.astype(np.uint8), np.zeros(len(starts), np.bool_)))
            self._ones = []

    def _add(self, window: Window) -> None:
        last = (window.line_ends + self.consumed).astype(np.int32)
        starts = np.empty_like(last)
        starts[0], starts[1:] = self.consumed, last[:-1] + 1
        ends = last
        if self._has_returns:
            ends = last - ((self._bytes[last] == _LF) & (self._bytes[np.maximum(last - 1, 0)] == _CR))
        lines = np.empty_like(last)
        lines[0], lines[1:] = self._lines, window.lines[:-1] + self._lines
        fields = np.diff(window.delimiters, prepend=np.int32(0)) + np.int32(1)
        self._parts.append((starts, ends, lines, fields, np.zeros(len(last), np.uint8), np.ones(len(last), np.bool_)))
        self._add_delimiters(window, int(window.delimiters[-1]))
        if len(window.peculiar):
            positions = window.peculiar + self.consumed
            self._peculiar.append(positions[: np.searchsorted(positions, last[-1])])
        self.consumed = int(last[-1]) + 1
        self._lines += int(window.lines[-1])

    def _add_delimiters(self, window: Window, count: int) -> None:
        self._most_delimiters -= count
        if self._most_delimiters >= 0:
            self._delimiters.append(positions_of(window.delimiter_bits)[:count].astype(np.int32) + self.consumed)

    def records(self) -> Records:
        self._add_ones()
        none = (np.empty(0, np.int32),) * 4 + (np.empty(0, np.uint8), np.empty(0, np.bool_))
        parts = zip(none, *self._parts, strict=True)
        starts, ends, lines, fields, faults, fast = (np.concatenate(one) for one in parts)
        firsts = np.full(len(starts), -1, np.int32)
        if self._most_delimiters >= 0:
            counts = np.where(fast, fields - 1, 0)
            firsts = np.where(fast, np.cumsum(counts) - counts, -1).astype(np.int32)
        delimiters = np.concatenate([np.empty(0, np.int32), *(self._delimiters if self._most_delimiters >= 0 else ())])
        rows = starts < ends
        blank_lines = 0 if self._grammar.keeps_blank_lines else len(starts) - int(np.count_nonzero(rows))
        if blank_lines:
            of = (starts, ends, lines, fields, faults, firsts)
            starts, ends, lines, fields, faults, firsts = (one[rows] for one in of)
        positions = np.concatenate([np.empty(0, np.intp), *self._peculiar])
        peculiar = np.unique(np.searchsorted(starts, positions, "right") - 1).astype(np.int32)
        found = Records(
            starts, ends, lines, fields, faults, peculiar, blank_lines, self._lines, self.consumed, delimiters, firsts
        )
        return _without_nul(found, self._bytes) if 0 in self._data else found


def _without_nul(records: Records, bytes_: NDArray[np.uint8]) -> Records:
    positions = np.flatnonzero(bytes_[: records.consumed] == 0)
    at = np.unique(np.searchsorted(records.starts, positions, "right") - 1)
    faults = records.faults.copy()
    faults[at[faults[at] == Fault.NONE]] = Fault.NUL_BYTE
    fields = np.where(faults == Fault.NONE, records.fields, 0).astype(np.int32)
    peculiar = records.peculiar[faults[records.peculiar] == Fault.NONE]
    return replace(records, faults=faults, fields=fields, peculiar=peculiar)


def lines_of(data: bytes, start: int, one: One) -> int:
    """How many end in a record, with it, whether or not its own line ends."""
    ended = data.count(b"\n", start, one.after) + data.count(b"\r", start, one.after)
    return ended - data.count(b"\r\n", start, one.after)
