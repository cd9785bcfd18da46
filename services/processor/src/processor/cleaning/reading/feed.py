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


@dataclass(slots=True)
class Feed:
    rows: NDArray[np.intp]  # which record of the chunk each row is
    rejects: Rejects
    grammar: Grammar
    text: Text
    _file: IO[bytes]
    _unwritten: Iterable[bytes | memoryview] = ()

    def written(self) -> tuple[str, int]:
        """The file, and its bytes."""
        _write(self._file, self._unwritten)
        self._unwritten = ()
        return (f"/proc/self/fd/{self._file.fileno()}" if _IN_MEMORY else self._file.name), self._file.tell()


@contextmanager
def feed_of(content: Content, grammar: Grammar, columns: int, scratch: str) -> Iterator[Feed]:
    """For a table with as many columns."""
    text = Text(content, grammar, with_ragged(content, columns))
    with _file(scratch) as file:
        unwritten = text.pieces()
        if not text.is_utf8:
            _write(file, unwritten)  # which tells what is no text
        rejects = rejects_of(content, grammar, columns, text.faults)
        yield Feed(np.flatnonzero(text.faults == Fault.NONE), rejects, grammar, text, file, unwritten)


@contextmanager
def part_of(feed: Feed, rows: NDArray[np.intp], scratch: str) -> Iterator[Feed]:
    """Some of its rows, by their places in it."""
    with _file(scratch) as file:
        records = feed.rows[rows]
        yield Feed(records, NO_REJECTS, feed.grammar, feed.text, file, feed.text.only(records))


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
        yield [Feed(records, NO_REJECTS, _OURS, feed.text, file) for file in files]


def _write(file: IO[bytes], pieces: Iterable[bytes | memoryview]) -> None:
    is_empty = True
    for piece in pieces:
        if is_empty and bytes(piece[: len(_MARK)]) == _MARK:
            file.write(_MARK)  # DuckDB takes the first one for a byte order mark
        is_empty = is_empty and not len(piece)
        file.write(piece)
    file.flush()


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
    path, size = feed.written()
    buffer = max(longest, size) + 1  # one: a record that two buffers share is a risk for nothing
    types = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    return f"""
        read_csv({literal(path)}, columns = {{{types}}}, force_not_null = {list(names)},
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
