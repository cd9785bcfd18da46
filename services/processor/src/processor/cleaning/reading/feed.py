"""What DuckDB is given of a chunk: records that by our grammar are rows of the table, as UTF-8, so that it has nothing
to reject. If it finds another number of rows, it is not asked any more."""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.chunks_content import Content
from processor.cleaning.reading.feed_rejects import NO_REJECTS, Rejects, rejects_of, with_ragged
from processor.cleaning.reading.feed_text import Text
from processor.cleaning.reading.records_fields import written
from processor.cleaning.reading.records_grammar import Fault, Grammar
from processor.cleaning.sql import identifier, literal

_MARK = "\ufeff".encode()
_IN_MEMORY = sys.platform == "linux"
_BATCH_ROWS = 50_000
_OURS = Grammar()
_MOST_GROWTH = 8  # of a record that is written anew, each field in quotes, and to UTF-8


@dataclass(frozen=True, slots=True)
class Feed:
    path: str
    bytes: int
    rows: NDArray[np.intp]  # which record of the chunk each row is
    rejects: Rejects
    grammar: Grammar
    text: Text


@contextmanager
def feed_of(content: Content, grammar: Grammar, columns: int, scratch: str) -> Iterator[Feed]:
    """For a table with as many columns."""
    text = Text(content, grammar, with_ragged(content, columns))
    with _file(scratch) as file:
        _write(file, text.pieces())
        rejects = rejects_of(content, grammar, columns, text.faults)
        yield _feed(file, np.flatnonzero(text.faults == Fault.NONE), rejects, grammar, text)


@contextmanager
def part_of(feed: Feed, rows: NDArray[np.intp], scratch: str) -> Iterator[Feed]:
    """Some of its rows, by their places in it."""
    with _file(scratch) as file:
        records = feed.rows[rows]
        _write(file, feed.text.only(records))
        yield _feed(file, records, NO_REJECTS, feed.grammar, feed.text)


@contextmanager
def columns_of(
    feed: Feed, groups: Sequence[Sequence[int]], rows: NDArray[np.intp], scratch: str
) -> Iterator[list[Feed]]:
    """A feed for each group of columns, of some rows: to read very many columns for the sake of a few takes much longer
    than to write these by themselves."""
    records = feed.rows[rows]
    with ExitStack() as stack:
        files = [stack.enter_context(_file(scratch)) for _ in groups]
        for record in records.tolist():
            values = feed.text.raw_values(record)
            for file, group in zip(files, groups, strict=True):
                file.write(written([values[column] for column in group], _OURS) + b"\n")
        yield [_feed(file, records, NO_REJECTS, _OURS, feed.text) for file in files]


def _write(file: IO[bytes], pieces: Iterable[bytes | memoryview]) -> None:
    is_empty = True
    for piece in pieces:
        if is_empty and bytes(piece[: len(_MARK)]) == _MARK:
            file.write(_MARK)  # DuckDB takes the first one for a byte order mark
        is_empty = is_empty and not len(piece)
        file.write(piece)


def _feed(file: IO[bytes], rows: NDArray[np.intp], rejects: Rejects, grammar: Grammar, text: Text) -> Feed:
    file.flush()
    path = f"/proc/self/fd/{file.fileno()}" if _IN_MEMORY else file.name
    return Feed(path, file.tell(), rows, rejects, grammar, text)


def slots_of(columns: int) -> list[str]:
    """Names of ours, since a column's can be anything."""
    return [f"c{number}" for number in range(columns)]


def read_raw(connection: duckdb.DuckDBPyConnection, feed: Feed, columns: Sequence[str]) -> None:
    """Make the table `raw` of the feed's rows, all of them text as it stands in the file. Its `rowid` is the place that
    the row has in `feed.rows`."""
    if not len(feed.rows):
        _make_table(connection, columns)
    elif _read_by_duckdb(connection, feed, columns) != len(feed.rows):
        _read_ourselves(connection, feed, columns)


def relation_of(feed: Feed, names: Sequence[str]) -> str:
    """What DuckDB reads of it, in SQL: all columns are text. The names are ours."""
    grammar = feed.grammar
    quote, escape = grammar.quote or b"", grammar.escape or grammar.quote or b""
    longest = _MOST_GROWTH * grammar.most_record_bytes
    buffer = max(longest, feed.bytes) + 1  # one: a record that two buffers share is a risk for nothing
    types = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    return f"""
        read_csv({literal(feed.path)}, columns = {{{types}}}, force_not_null = {list(names)},
            delim = {literal(grammar.delimiter.decode())}, quote = {literal(quote.decode())},
            escape = {literal(escape.decode())}, new_line = '\\n', comment = '', header = false,
            auto_detect = false, parallel = false, max_line_size = {longest}, buffer_size = {buffer})
    """


def _make_table(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> None:
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE raw ({', '.join(f'{identifier(name)} VARCHAR' for name in columns)})"
    )


def _read_by_duckdb(connection: duckdb.DuckDBPyConnection, feed: Feed, columns: Sequence[str]) -> int | None:
    """How many rows it takes it for; None if it cannot read it."""
    _make_table(connection, columns)
    query = f"INSERT INTO raw FROM {relation_of(feed, slots_of(len(columns)))}"
    try:
        (inserted,) = connection.execute(query).fetchall()
    except duckdb.InvalidInputException:
        return None
    return int(inserted[0])


def _read_ourselves(connection: duckdb.DuckDBPyConnection, feed: Feed, columns: Sequence[str]) -> None:
    _make_table(connection, columns)
    for first in range(0, len(feed.rows), _BATCH_ROWS):
        rows = [feed.text.values(int(record)) for record in feed.rows[first : first + _BATCH_ROWS]]
        batch = {f"c{at}": np.array(values, object) for at, values in enumerate(zip(*rows, strict=True))}
        connection.register("own_reading", batch)
        connection.execute("INSERT INTO raw FROM own_reading")
        connection.unregister("own_reading")


def _file(scratch: str) -> IO[bytes]:
    """In memory where there is such a thing."""
    return os.fdopen(os.memfd_create("feed"), "wb") if _IN_MEMORY else tempfile.NamedTemporaryFile(dir=scratch)
