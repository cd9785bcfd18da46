"""Which records of a file are looked at, where not all are: the first ones, or some that are evenly spread over it."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.chunks import Chunk, Table

# Of a chunk, which of its records.
Some = tuple[Chunk, NDArray[np.intp]]


class Spread:
    """Of the pieces of a table those that lie at so many places, evenly spread: what is read of a file costs the same
    whatever its size is."""

    def __init__(self, table: Table, places: int) -> None:
        size = table.end - table.begin
        self._places = [table.begin + at * max(0, size - 1) // max(1, places - 1) for at in range(places)]
        self._passed = 0
        self.rows = 0  # of all pieces
        self.chosen: list[Chunk] = []

    def over(self, pieces: Iterable[Chunk]) -> Iterator[Chunk]:
        for piece in pieces:
            self.rows += piece.rows
            passed = sum(place < piece.end for place in self._places)
            if passed > self._passed:
                self.chosen.append(piece)
            self._passed = passed
            yield piece


def evenly(chunks: Sequence[Chunk], most: int) -> Iterator[Some]:
    """As many records of all of them together, or all if there are no more."""
    ends = np.cumsum([chunk.rows for chunk in chunks], dtype=np.intp)
    rows = int(ends[-1]) if len(chunks) else 0
    count = min(most, rows)
    places = np.arange(count) * rows // max(1, count)
    for chunk, end in zip(chunks, ends.tolist(), strict=True):
        begin = end - chunk.rows
        if len(own := places[(places >= begin) & (places < end)]):
            yield chunk, own - begin


def first(chunks: Iterator[Chunk], most: int) -> Iterator[Some]:
    """No more of the chunks is asked for than is needed."""
    while most > 0 and (chunk := next(chunks, None)) is not None:
        yield chunk, np.arange(min(most, chunk.rows))
        most -= chunk.rows
