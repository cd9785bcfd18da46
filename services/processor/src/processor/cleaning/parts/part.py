"""One chunk of a file, cleaned: what comes out, what is rejected, and each cell that is changed.

Most rows come out as they went in but for their columns' types: they go from DuckDB's CSV reader straight to Parquet.
For those of which a rule makes something else, or which it refuses, everything is computed once more, with the logs.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from processor.cleaning.layout import Layout
from processor.cleaning.parquet.writing import copied, without_last_columns
from processor.cleaning.parts import wide
from processor.cleaning.parts.counts import Changed, PartCounts
from processor.cleaning.parts.outputs import write_output
from processor.cleaning.parts.plain import write_plain
from processor.cleaning.parts.rejects import write_rejects
from processor.cleaning.parts.told import Told
from processor.cleaning.reading.cells import cells_of
from processor.cleaning.reading.chunks import Chunk
from processor.cleaning.reading.chunks_content import Content, read_chunk
from processor.cleaning.reading.feed import Feed, feed_of, part_of, read_raw, relation_of, slots_of
from processor.cleaning.recipe.applying import CHUNK_CHANGES, apply, prepare, tell_nothing
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.passes import CHANGED
from processor.cleaning.recipe.plain import plain_of
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.sql import identifier, literal

# Where the rows of `cleaned.parquet` are in the file, while rules that need all rows may still take them out.
LINE, BYTE_OFFSET, BYTES = "line_", "byte_offset_", "bytes_"
_NUMBER = "number_"  # a row's in the table; `row_` is its place in what DuckDB reads


class Cleaner:
    """One connection for many chunks.

    Leaves in the folder what there is of `cleaned.parquet` (with `row_` and slots for names, if rules follow that need
    all rows), `cleaned.csv` or `cleaned.jsonl`, `rejects.csv`, `rejects.parquet` and `changes.parquet`. `offset` is
    where in the file the bytes of `fd` begin, if it holds `needed_bytes` only."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, layout: Layout, plan: Plan, scratch: str) -> None:
        self._connection = connection
        self._layout = layout
        self._plan = plan
        self._scratch = scratch
        connection.execute("SET enable_progress_bar = false")
        prepare(connection, plan.first)
        self._groups = plan.first.groups(wide.WIDEST)
        self._plain = plain_of(plan, layout.names) if len(self._groups) == 1 else None

    def clean(self, fd: int, chunk: Chunk, folder: Path, offset: int = 0) -> PartCounts:
        connection, names, grammar = self._connection, self._layout.names, self._layout.grammar
        content = _read(fd, chunk, self._layout, offset)
        with feed_of(content, grammar, len(names), self._scratch) as feed:
            told = self._write_plain(content, feed, folder, offset)
            if told is None:
                write = self._write_streamed if len(self._groups) == 1 else self._write_wide
                told = write(content, feed, folder, offset)
            if told is None:
                told = self._write_computed(content, feed, folder, offset)
            if not self._plan.stages:
                write_output(connection, folder, self._plan.recipe.output)
            rejected = Counter(feed.rejects.counts()) + told.rejected
            changed = (Changed(rule, name, cells) for (rule, name), cells in sorted(told.changed.items()))
            counts = PartCounts(
                len(content.records), told.rows_out, dict(rejected), tuple(changed), content.records.blank_lines
            )
            counts.check(chunk.rows)
            write_rejects(connection, fd, content, feed, told.rows, names, folder, offset)
            if counts.changed:
                self._write_changes(content, feed.rows[told.rows], folder, offset)
        return counts

    def _write_plain(self, content: Content, feed: Feed, folder: Path, offset: int) -> Told | None:
        cells = None if self._plain is None else cells_of(content, feed, len(self._layout.names))
        if self._plain is None or cells is None:
            return None
        beside = {}
        if self._plan.stages:
            beside = _places_of(content, feed.rows, offset)
            beside = {ROW: beside.pop(_NUMBER), **beside}
        path = folder / "cleaned.parquet"
        return write_plain(self._connection, self._plan.first, self._plain, cells, beside, path)

    def _write_streamed(self, content: Content, feed: Feed, folder: Path, offset: int) -> Told | None:
        """None if DuckDB reads something else than we do."""
        if not len(feed.rows):
            return None
        connection, rules, path = self._connection, self._plan.first, folder / "cleaned.parquet"
        beside = (_NUMBER, LINE, BYTE_OFFSET, BYTES) if self._plan.stages else ()
        width = len(self._layout.names)
        with _places(connection, content, feed.rows, offset, all_=bool(beside)):
            source = f"(FROM {relation_of(feed, slots_of(width))} POSITIONAL JOIN places)"
            rows = rules.stream(Source(source, ROW, is_table=False), beside)
            columns = self._named() + f", {CHANGED}, {ROW}"
            if self._plan.stages:
                slots = ", ".join(column.slot for column in rules.columns)
                columns = f"{_NUMBER} AS {ROW}, {', '.join(beside[1:])}, {slots}, {CHANGED}, {ROW} AS place_"
            try:
                query = f"SELECT {columns} FROM ({rows})"  # noqa: S608 - see sql.py, here and below
                rows_out = copied(connection, query, path)
            except duckdb.InvalidInputException:
                return None
        # By their places, since a column of the file may have any name.
        slots = ", ".join(f"v{at}" for at in range(len(rules.columns) + len(beside)))
        found = connection.execute(
            f"SELECT place, changed FROM read_parquet({literal(str(path))}) AS t({slots}, changed, place)"  # noqa: S608
        ).fetchnumpy()
        without_last_columns(path, 2)
        places = found["place"]
        if np.ma.isMaskedArray(places):
            return None
        came_out = np.zeros(len(feed.rows), np.bool_)
        came_out[places] = True
        again = ~came_out
        again[places[found["changed"]]] = True
        rows_again = np.flatnonzero(again)
        rejected: Counter[str] = Counter()
        changed: Counter[tuple[int, str]] = Counter()
        tell_nothing(connection)
        if len(rows_again):
            with part_of(feed, rows_again, self._scratch) as part:
                read_raw(connection, part, slots_of(width))
                done = apply(connection, rules, Source("raw"))
            rejected, changed = done.rejected, done.changed
            if rejected.total() != len(feed.rows) - rows_out:
                return None
        return Told(rows_again, rows_out, rejected, changed)

    def _write_wide(self, content: Content, feed: Feed, folder: Path, offset: int) -> Told | None:
        if not len(feed.rows):
            return None
        connection, groups = self._connection, self._groups
        has_stages = bool(self._plan.stages)
        beside = [(_NUMBER, ROW), (LINE, LINE), (BYTE_OFFSET, BYTE_OFFSET), (BYTES, BYTES)] if has_stages else []
        path = folder / "cleaned.parquet"
        with wide.feeds_of(feed, groups, self._scratch) as feeds:
            with _places(connection, content, feed.rows, offset, all_=False):
                found = wide.refused_and_touched(connection, groups, feeds)
            if found is None:
                return None
            refused, touched = found
            with _places(connection, content, feed.rows, offset, all_=has_stages, out=~refused):
                rows_out = wide.write_groups(connection, groups, feeds, beside, path, by_slots=has_stages)
        return wide.tell(connection, groups, feed, touched, rows_out, self._scratch)

    def _write_computed(self, content: Content, feed: Feed, folder: Path, offset: int) -> Told:
        connection, columns = self._connection, self._plan.first.columns
        read_raw(connection, feed, slots_of(len(self._layout.names)))
        done = apply(connection, self._plan.first, Source("raw"))
        query = f"SELECT {self._named()} FROM ({done.cleaned})"  # noqa: S608
        if self._plan.stages:
            slots = ", ".join(column.slot for column in columns)
            query = f"""
                SELECT {_NUMBER} AS {ROW}, {LINE}, {BYTE_OFFSET}, {BYTES}, {slots}
                FROM ({done.cleaned}) JOIN places USING ({ROW}) ORDER BY {_NUMBER}
            """  # noqa: S608
        with _places(connection, content, feed.rows, offset):
            copied(connection, query, folder / "cleaned.parquet")
        return Told(np.arange(len(feed.rows)), done.cleaned_rows, done.rejected, done.changed)

    def _named(self) -> str:
        return ", ".join(f"{column.slot} AS {identifier(column.name)}" for column in self._plan.first.columns)

    def _write_changes(self, content: Content, records: NDArray[np.intp], folder: Path, offset: int) -> None:
        query = f"""
            SELECT {_NUMBER} AS row, {LINE} AS line, column_ AS "column", before, after, rule, rule_name
            FROM {CHUNK_CHANGES} JOIN places USING ({ROW}) ORDER BY row, rule, column_
        """  # noqa: S608
        with _places(self._connection, content, records, offset):
            copied(self._connection, query, folder / "changes.parquet")


def _read(fd: int, chunk: Chunk, layout: Layout, offset: int) -> Content:
    table = replace(layout.table, begin=layout.table.begin - offset, end=layout.table.end - offset)
    return read_chunk(fd, replace(chunk, start=chunk.start - offset, end=chunk.end - offset), table, layout.grammar)


@contextmanager
def _places(
    connection: duckdb.DuckDBPyConnection,
    content: Content,
    records: NDArray[np.intp],
    offset: int,
    *,
    all_: bool = True,
    out: NDArray[np.bool_] | None = None,
) -> Iterator[None]:
    """The relation `places`: where in the file the records are."""
    places: dict[str, NDArray[Any]] = {ROW: np.arange(len(records))}
    if out is not None:
        places[wide.OUT] = out
    if all_:
        places |= _places_of(content, records, offset)
    connection.register("places", places)
    try:
        yield
    finally:
        connection.unregister("places")


def _places_of(content: Content, records: NDArray[np.intp], offset: int) -> dict[str, NDArray[np.int64]]:
    starts, ends = content.extents(records)
    return {
        _NUMBER: records.astype(np.int64) + content.chunk.row,
        LINE: content.records.lines[records].astype(np.int64) + content.chunk.line,
        BYTE_OFFSET: starts + offset,
        BYTES: ends - starts,
    }
