"""The first look at a file: what it is, where its table lies, and which chunks can be cleaned by themselves."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from processor.cleaning.before import PLACES, Sample, cells_before
from processor.cleaning.layout import Layout, layout_of
from processor.cleaning.reading.chunks import Chunk, joined, pieces
from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.options import Options
from processor.cleaning.sampling import Spread


class Survey(msgspec.Struct, frozen=True):
    decisions: Decisions
    layout: Layout
    chunks: tuple[Chunk, ...]
    sample: Sample  # of the records as they were

    @property
    def rows(self) -> int:
        return sum(chunk.rows for chunk in self.chunks)


def survey(path: Path, options: Options, on_bytes: Callable[[int], None] = lambda _: None) -> Survey:
    """`on_bytes` is told how far it is, and may raise. Raises `StepError` if the file has no table."""
    decisions = decide(path, options)
    with opened(path) as fd:
        layout = layout_of(fd, decisions)
        spread = Spread(layout.table, PLACES)
        chunks = tuple(joined(spread.over(pieces(fd, layout.table, layout.grammar, on_bytes))))
        sample = cells_before(fd, layout, spread)
    return Survey(decisions, layout, chunks, sample)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
