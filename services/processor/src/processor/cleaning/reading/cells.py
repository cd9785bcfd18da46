"""Where in a chunk the cells of its rows are, all of them at once."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.chunks_content import Content
from processor.cleaning.reading.feed import Feed
from processor.cleaning.reading.records_grammar import Grammar

HEAD_BYTES, WORD_BYTES = 16, 8
_MOST_CELLS = 1_500_000  # each of which takes 28 bytes, and two processes have 400 MB
_MOST_UNKNOWN = 8  # rows, of which one may be looked at by itself

Positions = NDArray[np.int32]
Words = NDArray[np.uint64]


class Heads(NamedTuple):
    """What texts begin with: 16 bytes as two words, with zeros where a text is shorter."""

    low: Words
    high: Words


@dataclass(frozen=True, slots=True)
class Column:
    bytes: NDArray[np.uint8]  # UTF-8, at least a head's
    starts: Positions
    lengths: Positions

    def heads(self) -> Heads:
        begin, length = self.starts.astype(np.intp), np.minimum(self.lengths, HEAD_BYTES)
        low, high = _masks()
        if not len(length) or length.max() <= WORD_BYTES:
            return Heads(self._words(begin) & low[length], np.zeros(len(length), np.uint64))
        return Heads(self._words(begin) & low[length], self._words(begin + WORD_BYTES) & high[length])

    def of(self, rows: NDArray[np.intp] | slice) -> "Column":
        return Column(self.bytes, self.starts[rows], self.lengths[rows])

    def _words(self, begin: NDArray[np.intp]) -> Words:
        last = len(self.bytes) - WORD_BYTES
        words: Words = np.ndarray(last + 1, "<u8", self.bytes.data, strides=(1,))[np.minimum(begin, last)]
        for at in np.flatnonzero(begin > last).tolist():
            words[at] >>= np.uint64(8 * min(int(begin[at]) - last, WORD_BYTES - 1))
        return words


@dataclass(frozen=True, slots=True)
class Cells:
    columns: list[Column]
    single: NDArray[np.intp]  # rows whose cells are elsewhere, since they say other texts than their bytes
    elsewhere: list[Column]


def column_of(texts: bytes, lengths: Positions) -> Column:
    """Of texts that stand one behind the other."""
    bytes_ = np.frombuffer(texts + bytes(HEAD_BYTES), np.uint8)
    return Column(bytes_, np.cumsum(lengths, dtype=np.int32) - lengths, lengths)


def cells_of(content: Content, feed: Feed, columns: int) -> Cells | None:
    """The cells of its rows, by column. None if they must be read one by one."""
    records, grammar, bytes_ = content.records, feed.grammar, np.frombuffer(content.data, np.uint8)
    firsts = records.first_delimiters[feed.rows]
    begins, ends = records.starts[feed.rows], records.ends[feed.rows]
    unknown = firsts < 0
    if not feed.text.is_utf8 or _too_many(unknown) or len(bytes_) < HEAD_BYTES or len(firsts) * columns > _MOST_CELLS:
        return None
    firsts[unknown] = 0
    odd = _signs(bytes_, grammar)
    left = np.count_nonzero(odd)
    starts, lengths = [], []
    start = begins
    for at in range(columns):
        end = records.delimiters[firsts + at] if at < columns - 1 else ends
        length, begin, start = end - start, start, end + np.int32(1)
        # With few of them left, their records are rather read one by one.
        if grammar.quote is not None and left * _MOST_UNKNOWN**2 > len(firsts):
            quoted = np.flatnonzero((bytes_[begin] == grammar.quote[0]) & ~unknown)
            odd[begin[quoted]] = odd[end[quoted] - 1] = False
            left -= 2 * len(quoted)
            begin = begin.copy()
            begin[quoted] += 1
            length[quoted] -= 2
        starts.append(begin)
        lengths.append(length)
    if left:
        # Quotes and escapes that are left are in cells that may say other texts than their bytes, or in no row.
        positions = np.flatnonzero(odd)
        rows = np.searchsorted(begins, positions, "right") - 1
        unknown[rows[(rows >= 0) & (positions < ends[rows])]] = True
        if _too_many(unknown):
            return None
    single = np.flatnonzero(unknown)
    values = [feed.text.raw_values(record) for record in feed.rows[single].tolist()]
    elsewhere = [[row[at] for row in values] for at in range(columns)]
    for of_column in (*starts, *lengths):
        of_column[single] = 0
    return Cells(
        [Column(bytes_, *of_column) for of_column in zip(starts, lengths, strict=True)],
        single,
        [column_of(b"".join(texts), np.array([*map(len, texts)], np.int32)) for texts in elsewhere],
    )


def _signs(bytes_: NDArray[np.uint8], grammar: Grammar) -> NDArray[np.bool_]:
    """Where quotes and escapes are."""
    if grammar.quote is None:
        return np.zeros(0, np.bool_)
    found: NDArray[np.bool_] = bytes_ == grammar.quote[0]
    if grammar.escape is not None:
        found |= bytes_ == grammar.escape[0]
    return found


def _too_many(unknown: NDArray[np.bool_]) -> bool:
    return int(np.count_nonzero(unknown)) * _MOST_UNKNOWN >= len(unknown)


@cache
def _masks() -> Heads:
    """By the length of a text."""
    bytes_ = np.arange(HEAD_BYTES) < np.arange(HEAD_BYTES + 1)[:, None]
    words = (bytes_ * np.uint8(0xFF)).astype(np.uint8).view("<u8")
    return Heads(words[:, 0].copy(), words[:, 1].copy())
