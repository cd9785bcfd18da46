"""Some records of a file as a table, for who wants to see what becomes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.layout import Layout
from processor.cleaning.reading.chunks import pieces
from processor.cleaning.reading.chunks_content import Content, read_chunk
from processor.cleaning.reading.feed import Feed, feed_of, read_raw
from processor.cleaning.reading.records_grammar import Fault
from processor.cleaning.sampling import Some, Spread, evenly, first
from processor.step import Report

SAMPLE = "sample"  # the table: row_, line_, and the cells as text, c0, c1, …
_PLACES = 40  # of a spread sample
_LONGEST_TEXT = 2_000  # characters that are shown of a record


@dataclass(frozen=True, slots=True)
class Misfit:
    """A record that is no row of the table."""

    row: int
    line: int
    column: str | None
    reason: str
    text: str  # its beginning


@dataclass(frozen=True, slots=True)
class Sampled:
    records: int
    is_all: bool  # whether the file has no others
    misfits: tuple[Misfit, ...]


def take_sample(
    connection: duckdb.DuckDBPyConnection,
    fd: int,
    layout: Layout,
    most: int,
    scratch: str,
    report: Report,
    *,
    spread: bool,
) -> Sampled:
    """Makes the table `sample`."""
    slots = [f"c{at}" for at in range(len(layout.names))]
    cells = ", ".join(f"{slot} VARCHAR" for slot in slots)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {SAMPLE} (row_ BIGINT, line_ BIGINT, {cells})")
    taken, misfits = 0, list[Misfit]()
    chosen_of, is_all = _chosen(fd, layout, most, report, spread=spread)
    for chunk, chosen in chosen_of:
        content = read_chunk(fd, chunk, layout.table, layout.grammar)
        with feed_of(content, layout.grammar, len(slots), scratch) as feed:
            read_raw(connection, feed, slots)
            misfits += _misfits(content, feed, layout, chosen)
            _insert(connection, content, feed, np.flatnonzero(np.isin(feed.rows, chosen)))
        taken += len(chosen)
    return Sampled(taken, is_all, tuple(misfits))


def _chosen(fd: int, layout: Layout, most: int, report: Report, *, spread: bool) -> tuple[Sequence[Some], bool]:
    """And whether there are no others."""
    size = max(1, layout.table.end)

    def look(read: int) -> None:
        report(0.8 * read / size, f"Looking through the file: {read / 1e6:.1f} of {size / 1e6:.1f} MB")

    found = pieces(fd, layout.table, layout.grammar, look)
    if not spread:
        chosen = list(first(found, most))
        is_all = next(found, None) is None and all(len(rows) == chunk.rows for chunk, rows in chosen)
        return chosen, is_all
    places = Spread(layout.table, _PLACES)
    for _ in places.over(found):
        pass
    chosen = list(evenly(places.chosen, most))
    return chosen, sum(len(rows) for _, rows in chosen) == places.rows


def _insert(connection: duckdb.DuckDBPyConnection, content: Content, feed: Feed, chosen: NDArray[np.intp]) -> None:
    records = feed.rows[chosen]
    places = {
        "fed": chosen.astype(np.int64),
        "row_": records.astype(np.int64) + content.chunk.row,
        "line_": content.records.lines[records].astype(np.int64) + content.chunk.line,
    }
    connection.register("places", places)
    connection.execute(
        f"INSERT INTO {SAMPLE} SELECT p.row_, p.line_, r.* FROM raw r JOIN places p ON r.rowid = p.fed ORDER BY p.row_"  # noqa: S608
    )
    connection.unregister("places")


def _misfits(content: Content, feed: Feed, layout: Layout, chosen: NDArray[np.intp]) -> Iterator[Misfit]:
    rejects, records = feed.rejects, content.records
    for at in np.flatnonzero(np.isin(rejects.records, chosen)).tolist():
        record = int(rejects.records[at])
        column = int(rejects.columns[at])
        data = content.data[int(records.starts[record]) : int(records.ends[record])]
        yield Misfit(
            record + content.chunk.row,
            int(records.lines[record]) + content.chunk.line,
            layout.names[column] if column >= 0 else None,
            Fault(int(rejects.faults[at])).code,
            data[: 4 * _LONGEST_TEXT].decode(content.encoding, "replace")[:_LONGEST_TEXT],
        )
