"""The first look at a file: what it is, where its table lies, and which chunks can be cleaned by themselves."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from processor.cleaning.layout import Layout, layout_of
from processor.cleaning.reading.chunks import Chunk, cut
from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.options import Options
from processor.cleaning.report.sampling import Sample, take_sample


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
        chunks = tuple(cut(fd, layout.table, layout.grammar, on_bytes))
    return Survey(decisions, layout, chunks, take_sample(path, decisions))


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
