"""A chunk of which most cells come out as they went in, as their bytes tell: DuckDB reads them where they are. What
becomes of the other rows is computed by the rules, and put in their places as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.arrow import ArrowColumn, numbers, registered, texts, views_of
from processor.cleaning.parquet.writing import copied, planned_simply
from processor.cleaning.parts.told import Told
from processor.cleaning.reading.cells import Cells, Column, column_of
from processor.cleaning.reading.feed import slots_of
from processor.cleaning.recipe.applying import Applied, apply, tell_nothing
from processor.cleaning.recipe.passes import OutColumn, Pass
from processor.cleaning.recipe.plain import Plain
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.sql import TEXT, identifier

_MOST_OTHERS = 4  # rows of which one is no plain one: with more, all are computed sooner
_BLOCK_ROWS = 16 << 10  # that stay in the processor's caches while they are looked at
_IN_CHUNK, _ELSEWHERE = 0, 1  # where a text is


def write_plain(
    connection: duckdb.DuckDBPyConnection,
    rules: Pass,
    plain: Plain,
    cells: Cells,
    beside: Mapping[str, NDArray[np.int64]],
    path: Path,
) -> Told | None:
    """With columns `beside`, the others are called by their slots. None if it is not worth it."""
    out, views = np.ones(len(cells.columns[0].starts), np.bool_), []
    out[cells.single] = False
    for one in rules.columns:
        told = plain.columns[one.name]
        views.append(np.empty((len(out), 2), np.uint64))
        for first in range(0, len(out), _BLOCK_ROWS):
            block = slice(first, first + _BLOCK_ROWS)
            column = cells.columns[told.source].of(block)
            heads = column.heads()
            out[block] &= told.tell(column, heads)
            views[-1][block] = views_of(column, heads, _IN_CHUNK)
    if plain.asked is not None and not _are_many(out):
        out[_marked(connection, plain.asked, cells.columns)] = False
    if _are_many(out):
        return None
    others = np.flatnonzero(~out)
    tell_nothing(connection)
    rejected, changed, rows = Counter[str](), Counter[tuple[int, str]](), others
    mended = [(column_of(b"", np.zeros(0, np.int32)), np.zeros(0, np.bool_))] * len(rules.columns)
    if len(others):
        done = _applied(connection, rules, cells, others)
        rejected, changed = done.rejected, done.changed
        found, mended = _mended(connection, done, rules.columns)
        rows = others[found]
        out[rows] = True
    kept = np.flatnonzero(out)
    columns = {name: numbers(values[kept]) for name, values in beside.items()}
    for at, one in enumerate(rules.columns):
        column, (other, other_nulls) = cells.columns[plain.columns[one.name].source], mended[at]
        nulls = np.zeros(len(out), np.bool_) if one.type == TEXT else column.lengths == 0
        views[at][rows], nulls[rows] = views_of(other, other.heads(), _ELSEWHERE), other_nulls
        columns[one.slot] = texts(views[at].take(kept, axis=0), (column.bytes, other.bytes), nulls[kept])
        views[at] = np.empty((0, 2), np.uint64)
    cells.columns.clear()  # since memory is scarce
    selected = [*beside, *(_selected(one, by_slot=bool(beside)) for one in rules.columns)]
    with registered(connection, "cells", columns, len(kept)):
        rows_out = copied(connection, f"SELECT {', '.join(selected)} FROM cells", path)  # noqa: S608 - see sql.py
    return Told(others, rows_out, rejected, changed)


def _are_many(out: NDArray[np.bool_]) -> bool:
    """The others."""
    return (len(out) - int(np.count_nonzero(out))) * _MOST_OTHERS > len(out)


def _marked(connection: duckdb.DuckDBPyConnection, asked: Pass, cells: Sequence[Column]) -> NDArray[np.intp]:
    rows = len(cells[0].starts)
    columns = {ROW: numbers(np.arange(rows))}
    columns |= {slot: _raw(cells[at]) for at, slot in enumerate(slots_of(len(cells))) if slot in asked.sources}
    with registered(connection, "cells", columns, rows), planned_simply(connection):
        found = connection.execute(asked.marks(Source("cells", ROW, is_table=False))).fetchnumpy()[ROW]
    return np.asarray(found).astype(np.intp)


def _applied(connection: duckdb.DuckDBPyConnection, rules: Pass, cells: Cells, rows: NDArray[np.intp]) -> Applied:
    single = np.searchsorted(rows, cells.single)
    columns = {
        slot: _raw(column.of(rows), elsewhere, single)
        for slot, column, elsewhere in zip(slots_of(len(cells.columns)), cells.columns, cells.elsewhere, strict=True)
    }
    with registered(connection, "cells", columns, len(rows)):
        connection.execute("CREATE OR REPLACE TEMP TABLE raw AS FROM cells")
    return apply(connection, rules, Source("raw"))


def _raw(column: Column, elsewhere: Column | None = None, single: NDArray[np.intp] | None = None) -> ArrowColumn:
    views, data = views_of(column, column.heads(), _IN_CHUNK), [column.bytes]
    if elsewhere is not None:
        views[single] = views_of(elsewhere, elsewhere.heads(), _ELSEWHERE)
        data.append(elsewhere.bytes)
    return texts(views, data, np.zeros(len(views), np.bool_))


def _selected(column: OutColumn, *, by_slot: bool) -> str:
    read = column.slot if column.type == TEXT else f"CAST({column.slot} AS {column.type})"
    return f"{read} AS {column.slot if by_slot else identifier(column.name)}"


def _mended(
    connection: duckdb.DuckDBPyConnection, done: Applied, columns: Sequence[OutColumn]
) -> tuple[NDArray[np.intp], list[tuple[Column, NDArray[np.bool_]]]]:
    """Which rows come out, and of each column the texts, and which are null."""
    texts_ = ", ".join(f"CAST({one.slot} AS VARCHAR) AS {one.slot}" for one in columns)
    lengths = ", ".join(f"coalesce(strlen({one.slot}), 0)::INTEGER AS length_{one.slot}" for one in columns)
    query = f"SELECT *, {lengths} FROM (SELECT {ROW}, {texts_} FROM ({done.cleaned})) ORDER BY {ROW}"  # noqa: S608
    found = connection.execute(query).fetchnumpy()
    mended = []
    for one in columns:
        cells = found[one.slot]
        text = "".join(np.ma.filled(cells, "").tolist()).encode()
        mended.append((column_of(text, np.asarray(found[f"length_{one.slot}"])), np.ma.getmaskarray(cells)))
    return np.asarray(found[ROW]).astype(np.intp), mended
