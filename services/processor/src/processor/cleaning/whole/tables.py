"""Other files that rules look something up in: for DuckDB the relations `table_0`, `table_1`, …"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import msgspec

from processor.cleaning.layout import Layout, layout_of
from processor.cleaning.reading.chunks import Chunk, cut
from processor.cleaning.reading.chunks_content import read_chunk
from processor.cleaning.reading.deciding import decide
from processor.cleaning.reading.decisions import counted
from processor.cleaning.reading.feed import feed_of, read_raw, slots_of
from processor.cleaning.reading.options import options_from
from processor.cleaning.room import Room
from processor.cleaning.survey import opened
from processor.inputs.opening import open_input
from processor.step import StepError, Task


class Found(msgspec.Struct, frozen=True):
    """What such a file is."""

    layout: Layout
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Other:
    path: Path
    found: Found


def open_tables(names: Sequence[str], task: Task, paths: Sequence[str], look: Callable[[], None]) -> dict[str, Path]:
    """By their names, decompressed. `look` may raise, to end it."""
    files: dict[str, Path] = {}
    for at, (name, path) in enumerate(zip(names, paths, strict=True)):
        folder = Path(task.scratch, f"table-{at}")
        folder.mkdir()
        own = msgspec.structs.replace(task, input=path, options={}, scratch=str(folder))
        with _of(name):
            files[name] = open_input(own, lambda _share, _message: look()).path
    return files


def look_at(tables: Mapping[str, Path], room: Room, look: Callable[[], None]) -> dict[str, Other]:
    """Raises `StepError` that names the one that is no table."""
    others: dict[str, Other] = {}
    for name, path in tables.items():
        with _of(name), opened(path) as fd:
            layout = layout_of(fd, decide(path, options_from({})))
            room.check_width(len(layout.names))
            chunks = tuple(cut(fd, layout.table, layout.grammar, lambda _read: look()))
            others[name] = Other(path, Found(layout, chunks))
    return others


def columns_of(others: Mapping[str, Other]) -> dict[str, Sequence[str]]:
    return {name: other.found.layout.names for name, other in others.items()}


def load_tables(
    connection: duckdb.DuckDBPyConnection, others: Mapping[str, Other], room: Room, look: Callable[[], None]
) -> list[str]:
    """All cells are text. A record that is no row is in none, of which it gives notes."""
    notes: list[str] = []
    for at, (name, other) in enumerate(others.items()):
        layout = other.found.layout
        slots = slots_of(len(layout.names))
        relation = f"table_{at}"
        connection.execute(f"CREATE TEMP TABLE {relation} ({', '.join(f'{slot} VARCHAR' for slot in slots)})")
        rejected: Counter[str] = Counter()
        with opened(other.path) as fd:
            for chunk in other.found.chunks:
                look()
                content = read_chunk(fd, chunk, layout.table, layout.grammar)
                with feed_of(content, layout.grammar, len(slots), room.scratch) as feed:
                    read_raw(connection, feed, slots)
                    connection.execute(f"INSERT INTO {relation} FROM raw")
                    rejected.update(feed.rejects.counts())
        if rejected:
            reasons = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(rejected.items()))
            said = f"{counted(rejected.total(), 'record')} of the table {name:.80}"
            notes.append(f"Nothing is looked up in {said}, which can be read as no rows: {reasons}.")
    return notes


@contextmanager
def _of(name: str) -> Iterator[None]:
    try:
        yield
    except StepError as wrong:
        raise StepError(wrong.code, f"The table {name:.80}: {wrong.detail}") from None
