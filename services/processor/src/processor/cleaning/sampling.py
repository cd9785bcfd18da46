"""Some records of a file, for who wants to see what becomes of them: the first ones, or some of each part of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.layout import Layout
from processor.cleaning.reading.chunks import Chunk, cut
from processor.cleaning.reading.chunks_content import Content, read_chunk
from processor.cleaning.reading.feed import Feed, feed_of, read_raw
from processor.cleaning.reading.records_grammar import Fault
from processor.step import Report

SAMPLE = "sample"  # the table: row_, line_, and the cells as text, c0, c1, …
_PLACES = 20  # of a spread sample
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
    taken, whole, misfits = 0, 0, list[Misfit]()
    chunks, is_all = _chunks(fd, layout, most, report, spread=spread)
    for chunk, wanted in chunks:
        content = read_chunk(fd, chunk, layout.table, layout.grammar)
        chosen = _evenly(chunk.rows, wanted) if spread else np.arange(wanted)
        with feed_of(content, layout.grammar, len(slots), scratch) as feed:
            read_raw(connection, feed, slots)
            misfits += _misfits(content, feed, layout, chosen)
            _insert(connection, content, feed, np.flatnonzero(np.isin(feed.rows, chosen)))
        taken += min(wanted, chunk.rows)
        whole += chunk.rows
    return Sampled(taken, is_all and taken == whole, tuple(misfits))


def _chunks(
    fd: int, layout: Layout, most: int, report: Report, *, spread: bool
) -> tuple[Sequence[tuple[Chunk, int]], bool]:
    """With how many records of each; and whether these are all chunks."""
    size = max(1, layout.table.end)

    def look(read: int) -> None:
        report(0.8 * read / size, f"Looking through the file: {read / 1e6:.1f} of {size / 1e6:.1f} MB")

    found = cut(fd, layout.table, layout.grammar, look)
    if not spread:
        first = list(_until(found, most))
        return first, next(found, None) is None
    every = list(found)
    count = min(_PLACES, len(every), most)
    chosen = [every[at * len(every) // count] for at in range(count)]
    # What the short ones do not have, others give.
    shares: list[tuple[Chunk, int]] = []
    left = most
    for at, chunk in enumerate(sorted(chosen, key=lambda chunk: chunk.rows)):
        wanted = min(chunk.rows, left // (count - at))
        shares.append((chunk, wanted))
        left -= wanted
    return sorted(shares, key=lambda share: share[0].row), len(chosen) == len(every)


def _until(chunks: Iterator[Chunk], most: int) -> Iterator[tuple[Chunk, int]]:
    while most > 0 and (chunk := next(chunks, None)) is not None:
        yield chunk, min(most, chunk.rows)
        most -= chunk.rows


def _evenly(records: int, wanted: int) -> NDArray[np.intp]:
    return (np.arange(wanted) * records) // max(1, wanted)


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
