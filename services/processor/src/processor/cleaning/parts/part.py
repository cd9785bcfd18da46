"""One chunk of a file, cleaned: what comes out, what is rejected, and each cell that is changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
from msgspec.structs import replace as replaced

from processor.cleaning.layout import Layout
from processor.cleaning.parts.counts import Changed, PartCounts
from processor.cleaning.parts.outputs import write_output
from processor.cleaning.parts.parquet import copied
from processor.cleaning.parts.rejects import write_rejects
from processor.cleaning.reading.chunks import Chunk
from processor.cleaning.reading.chunks_content import Content, read_chunk
from processor.cleaning.reading.feed import Feed, feed_of, read_raw
from processor.cleaning.recipe.applying import CHUNK_CHANGES, apply, prepare
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.recipe.sql import identifier
from processor.cleaning.room import Room


def clean_part(
    fd: int, layout: Layout, chunk: Chunk, plan: Plan, folder: Path, room: Room, offset: int = 0
) -> PartCounts:
    """Leaves in the folder what there is of `cleaned.parquet` (with `row_` and slots for names, if rules follow that
    need all rows), `cleaned.csv` or `cleaned.jsonl`, `rejects.csv`, `rejects.parquet` and `changes.parquet`. `offset`
    is where in the file the bytes of `fd` begin, if it holds `needed_bytes` only."""
    with room.connect() as connection:
        prepare(connection, plan.first)
        return Cleaner(connection, layout, plan, room.scratch).clean(fd, chunk, folder, offset)


# Where the rows of `cleaned.parquet` are in the file, while rules that need all rows may still take them out.
LINE, BYTE_OFFSET, BYTES = "line_", "byte_offset_", "bytes_"


class Cleaner:
    """One connection for many chunks."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, layout: Layout, plan: Plan, scratch: str) -> None:
        self._connection = connection
        self._layout = layout
        self._plan = plan
        self._scratch = scratch

    def clean(self, fd: int, chunk: Chunk, folder: Path, offset: int = 0) -> PartCounts:
        connection, names, grammar = self._connection, self._layout.names, self._layout.grammar
        content = _read(fd, chunk, self._layout, offset)
        with feed_of(content, grammar, len(names), self._scratch) as feed:
            read_raw(connection, feed, [f"c{at}" for at in range(len(names))])
            done = apply(connection, self._plan.first, Source("raw"))
            rejected = done.rejected
            for fault, count in feed.rejects.counts().items():
                rejected[fault] += count
            changed = (Changed(rule, name, cells) for (rule, name), cells in sorted(done.changed.items()))
            counts = PartCounts(
                len(content.records), done.cleaned_rows, dict(rejected), tuple(changed), content.records.blank_lines
            )
            counts.check(chunk.rows)
            self._write_cleaned(done.cleaned, content, feed, folder, offset)
            write_rejects(connection, fd, content, feed, names, folder, offset)
            if counts.changed:
                self._write_changes(content, feed, folder, offset)
        return counts

    def _write_cleaned(self, cleaned: str, content: Content, feed: Feed, folder: Path, offset: int) -> None:
        connection, columns = self._connection, self._plan.first.columns
        if self._plan.stages:
            slots = ", ".join(column.slot for column in columns)
            query = f"""
                SELECT row AS {ROW}, line AS {LINE}, byte_offset AS {BYTE_OFFSET}, bytes AS {BYTES}, {slots}
                FROM ({cleaned}) JOIN places USING ({ROW}) ORDER BY row
            """  # noqa: S608 - see sql.py, here and below
            with _places(connection, content, feed, offset):
                copied(connection, query, folder / "cleaned.parquet")
            return
        named = ", ".join(f"{column.slot} AS {identifier(column.name)}" for column in columns)
        query = f"SELECT {named} FROM ({cleaned})"  # noqa: S608
        copied(connection, query, folder / "cleaned.parquet")
        write_output(connection, query, self._plan.recipe.output, folder)

    def _write_changes(self, content: Content, feed: Feed, folder: Path, offset: int) -> None:
        query = f"""
            SELECT row, line, column_ AS "column", before, after, rule, rule_name
            FROM {CHUNK_CHANGES} JOIN places USING ({ROW}) ORDER BY row, rule
        """  # noqa: S608
        with _places(self._connection, content, feed, offset):
            copied(self._connection, query, folder / "changes.parquet")


def _read(fd: int, chunk: Chunk, layout: Layout, offset: int) -> Content:
    table = replaced(layout.table, begin=layout.table.begin - offset, end=layout.table.end - offset)
    return read_chunk(fd, replaced(chunk, start=chunk.start - offset, end=chunk.end - offset), table, layout.grammar)


@contextmanager
def _places(connection: duckdb.DuckDBPyConnection, content: Content, feed: Feed, offset: int) -> Iterator[None]:
    """The relation `places`: where in the file the rows of the feed are."""
    starts, ends = content.extents(feed.rows)
    places = {
        ROW: np.arange(len(feed.rows)),
        "row": feed.rows.astype(np.int64) + content.chunk.row,
        "line": content.records.lines[feed.rows].astype(np.int64) + content.chunk.line,
        "byte_offset": starts + offset,
        "bytes": ends - starts,
    }
    connection.register("places", places)
    try:
        yield
    finally:
        connection.unregister("places")
