"""The well-formed records of a chunk as UTF-8, each ended by a line feed, in the order of the file."""

import codecs
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.chunks_content import Content
from processor.cleaning.reading.feed_utf8 import doubtful
from processor.cleaning.reading.records_fields import values_of, written
from processor.cleaning.reading.records_grammar import Fault, Grammar
from processor.cleaning.reading.records_units import unit_bytes, units_of

_PIECE_BYTES = 1 << 20
_FEW = 50  # records, of which one is left out, are copied faster around it than one by one
_LF = 10


class Text:
    def __init__(self, content: Content, grammar: Grammar, faults: NDArray[np.uint8]) -> None:
        self.faults = faults.copy()  # with those of the encoding, as far as the pieces have been read
        self._data, self._records, self._grammar = content.data, content.records, grammar
        self._encoding = content.encoding
        self.is_utf8 = codecs.lookup(content.encoding).name == "utf-8" or _is_ascii(content)
        self._has_returns = b"\r" in content.data
        if len(content.data) % unit_bytes(content.encoding) and not self.faults[-1]:
            self.faults[-1] = Fault.BAD_ENCODING  # half a character is left over
        if self.is_utf8 and not content.data.isascii():
            positions = doubtful(np.frombuffer(content.data, np.uint8))
            self._look_at(np.unique(np.searchsorted(self._records.starts, positions, "right") - 1))

    def pieces(self) -> Iterator[bytes | memoryview]:
        """What a parser may read otherwise than we do is written so that it cannot."""
        starts, peculiar = self._records.starts, self._records.peculiar
        first = 0
        for stop in [*peculiar[self.faults[peculiar] == Fault.NONE].tolist(), len(starts)]:
            while first < stop:
                until = int(np.searchsorted(starts, int(starts[first]) + _PIECE_BYTES))
                until = max(first + 1, min(until, stop))
                yield self._several(first, until)
                first = until
            if stop < len(starts):
                yield self._rewritten(stop)
            first = stop + 1

    def only(self, records: NDArray[np.intp]) -> Iterator[bytes]:
        """Of those without a fault, a few."""
        peculiar = set(self._records.peculiar.tolist())
        for record in records.tolist():
            yield self._rewritten(record) if record in peculiar else self._record(record) + b"\n"

    def values(self, record: int) -> list[str]:
        """The fields of a record that is well-formed and text."""
        return [value.decode() for value in self.raw_values(record)]

    def raw_values(self, record: int) -> list[bytes]:
        """The same as UTF-8."""
        text, grammar = self._record(record), self._grammar
        if grammar.quote is None or grammar.quote not in text:
            return text.split(grammar.delimiter)
        return values_of(text, grammar)

    def _record(self, record: int) -> bytes:
        start, end = int(self._records.starts[record]), int(self._records.ends[record])
        text = self._data[start:end]
        return text if self.is_utf8 else text.decode(self._encoding).encode()

    def _is_text(self, record: int) -> bool:
        start, end = int(self._records.starts[record]), int(self._records.ends[record])
        try:
            self._data[start:end].decode(self._encoding)
        except UnicodeDecodeError:
            return False
        return True

    def _rewritten(self, record: int) -> bytes:
        if not self._is_text(record):
            self.faults[record] = Fault.BAD_ENCODING
            return b""
        return written(values_of(self._record(record), self._grammar), self._grammar) + b"\n"

    def _several(self, first: int, until: int) -> bytes | memoryview:
        text = self._utf8(first, until)
        if text is None:
            self._look_at(np.arange(first, until))
            text = self._utf8(first, until)
        assert text is not None
        return text

    def _look_at(self, records: NDArray[np.intp]) -> None:
        for record in records[self.faults[records] == Fault.NONE].tolist():
            if not self._is_text(record):
                self.faults[record] = Fault.BAD_ENCODING

    def _end(self, until: int) -> int:
        """Of the record before this one, with its line end."""
        return int(self._records.starts[until]) if until < len(self._records) else len(self._data)

    def _utf8(self, first: int, until: int) -> bytes | memoryview | None:
        """None if there is a record in it that is no text."""
        starts = self._records.starts
        begin, end = int(starts[first]), self._end(until)
        piece: bytes | memoryview = memoryview(self._data)[begin:end]
        bad = np.flatnonzero(self.faults[first:until]) + first
        if self._has_returns or len(bad) * _FEW > until - first:
            piece = self._without_others(first, until, begin, end)
        elif len(bad):
            after = np.append(starts, len(self._data))[bad + 1]
            bounds = zip([begin, *after.tolist()], [*starts[bad].tolist(), end], strict=True)
            piece = b"".join([self._data[start:stop] for start, stop in bounds])
        if self.is_utf8:
            return piece
        try:
            return str(piece, self._encoding).encode()
        except UnicodeDecodeError:
            return None

    def _without_others(self, first: int, until: int, begin: int, end: int) -> bytes:
        """Only the records without a fault, and a line feed behind each, whatever line ends there were."""
        found = units_of(self._data[begin:end], self._encoding)
        units = np.zeros(len(found) + 1, found.dtype)  # the last record may have no line end
        units[:-1] = found
        starts = np.append((self._records.starts[first:until] - begin) // units.itemsize, len(units))
        ends = (self._records.ends[first:until] - begin) // units.itemsize
        good = self.faults[first:until] == Fault.NONE
        units[ends[good]] = _LF
        drop = np.where(good, ends + 1, starts[:-1])
        lengths = starts[1:] - drop
        before = np.cumsum(lengths) - lengths
        return np.delete(units, np.repeat(drop - before, lengths) + np.arange(lengths.sum())).tobytes()


def _is_ascii(content: Content) -> bool:
    return content.data.isascii() and content.data.decode(content.encoding, "replace") == content.data.decode("ascii")
