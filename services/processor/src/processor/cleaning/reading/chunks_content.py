"""What is in a chunk: its bytes, its records, and the bytes of the file that each record is."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.chunks import Chunk, Table
from processor.cleaning.reading.records import Records, split
from processor.cleaning.reading.records_grammar import Fault, Grammar
from processor.cleaning.reading.records_units import as_ascii, unit_bytes, units_of

_PIECE_BYTES = 1 << 20
_MOST_DELIMITERS = 1_500_000  # that are told of a chunk
_LF, _CR = 10, 13


@dataclass(frozen=True, slots=True)
class Content:
    chunk: Chunk
    encoding: str
    data: bytes  # of a line that is too long, none
    records: Records  # positions in `data`

    def extents(self, records: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """From where to where in the file these are, each with its line end."""
        begin = self.chunk.start
        ends = self.records.ends[records].astype(np.int64)
        if len(units := units_of(self.data, self.encoding)):
            unit, last = units.itemsize, len(units) - 1
            at = ends // unit
            two = (units[np.minimum(at, last)] == _CR) & (units[np.minimum(at + 1, last)] == _LF) & (at < last)
            ends = np.minimum((at + 1 + two) * unit, len(self.data))
        return self.records.starts[records].astype(np.int64) + begin, ends + begin


def needed_bytes(chunk: Chunk, table: Table, grammar: Grammar) -> tuple[int, int]:
    """From where to where reading a chunk may look at the file."""
    if chunk.is_long_line:
        return chunk.start, chunk.end
    return chunk.start, min(table.end, chunk.end + grammar.most_record_bytes * unit_bytes(table.encoding))


def read_chunk(fd: int, chunk: Chunk, table: Table, grammar: Grammar) -> Content:
    if chunk.is_long_line:
        return Content(chunk, table.encoding, b"", _one_line(chunk.end - chunk.start))
    unit, most = unit_bytes(table.encoding), grammar.most_record_bytes
    data = _read(fd, chunk.start, chunk.end)
    text = _text(data, table.encoding)
    records = split(text, grammar, most_delimiters=_MOST_DELIMITERS if unit == 1 else 0)
    unclosed = records.starts[records.faults == Fault.UNCLOSED_QUOTE]
    if chunk.end < table.end and len(unclosed) and unclosed[-1] + most >= len(text):
        # That they are malformed is sure, since no record crosses a chunk's end. Why, what follows may tell.
        _, ahead = needed_bytes(chunk, table, grammar)
        further = _text(_read(fd, chunk.start, ahead), table.encoding)
        faults = split(further, grammar, is_last=ahead == table.end).faults[: len(records)]
        records = replace(records, faults=faults)
    return Content(chunk, table.encoding, data, _scaled(records, unit, len(data)))


def original_bytes(fd: int, start: int, end: int) -> Iterator[bytes]:
    """In pieces: a line that is too long can be of any length."""
    while start < end:
        piece = _read(fd, start, min(end, start + _PIECE_BYTES))
        yield piece
        start += len(piece)


def _one_line(length: int) -> Records:
    none, one = np.zeros(1, np.int64), np.array([length], np.int64)
    fault = np.array([Fault.RECORD_TOO_LONG], np.uint8)
    nothing = np.empty(0, np.int32)
    return Records(none, one, none, none, fault, nothing, 0, 1, length, nothing, none - 1)


def _read(fd: int, start: int, end: int) -> bytes:
    data = os.pread(fd, end - start, start)
    if len(data) < end - start:
        raise EOFError("The file is shorter than it was.")
    return data


def _text(data: bytes, encoding: str) -> bytes:
    # Half a character at the end is one that cannot be read.
    return as_ascii(data, encoding) + b"?" * bool(len(data) % unit_bytes(encoding))


def _scaled(records: Records, unit: int, length: int) -> Records:
    if unit == 1:
        return records
    starts, ends = records.starts * unit, np.minimum(records.ends * unit, length)
    return replace(records, starts=starts, ends=ends, consumed=length)
