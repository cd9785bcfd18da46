"""A chunk of which most cells come out as they went in, as their bytes tell: DuckDB reads them where they are. What
becomes of the other rows is computed by the rules, and put in their places as text."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.arrow import numbers, registered, texts, views_of
from processor.cleaning.parquet.writing import copied
from processor.cleaning.parts.told import Told
from processor.cleaning.reading.cells import HEAD_BYTES, Column
from processor.cleaning.reading.feed import slots_of
from processor.cleaning.recipe.applying import Applied, apply
from processor.cleaning.recipe.passes import OutColumn, Pass
from processor.cleaning.recipe.plain import PlainColumn
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.sql import TEXT, identifier

_MOST_OTHERS = 4  # rows of which one is no plain one: with more, all are computed sooner
_IN_CHUNK, _IN_OTHERS = 0, 1  # where a text is


def write_plain(
    connection: duckdb.DuckDBPyConnection,
    rules: Pass,
    plain: Mapping[str, PlainColumn],
    cells: Sequence[Column],
    beside: Mapping[str, NDArray[np.int64]],
    path: Path,
) -> Told | None:
    """With columns `beside`, the others are called by their slots. None if it is not worth it."""
    out, views = np.ones(len(cells[0].starts), np.bool_), []
    for one in rules.columns:
        column = cells[plain[one.name].source]
        heads = column.heads()
        out &= plain[one.name].tell(column, heads)
        views.append(views_of(column, heads, _IN_CHUNK))
    others = np.flatnonzero(~out)
    if len(others) * _MOST_OTHERS > len(out):
        return None
    done = _applied(connection, rules, [column.of(others) for column in cells])
    mended = _Mended(connection, done, rules.columns)
    rows = others[mended.rows]
    out[rows] = True
    kept = np.flatnonzero(out)
    columns = {name: numbers(values[kept]) for name, values in beside.items()}
    for at, one in enumerate(rules.columns):
        column, (other, other_nulls) = cells[plain[one.name].source], mended.columns[at]
        nulls = np.zeros(len(out), np.bool_) if one.type == TEXT else column.lengths == 0
        views[at][rows], nulls[rows] = views_of(other, other.heads(), _IN_OTHERS), other_nulls
        columns[one.slot] = texts(views[at].take(kept, axis=0), (column.bytes, other.bytes), nulls[kept])
        views[at] = np.empty(0, np.uint64)
    selected = [*beside, *(_selected(one, by_slot=bool(beside)) for one in rules.columns)]
    with registered(connection, "cells", columns, len(kept)):
        rows_out = copied(connection, f"SELECT {', '.join(selected)} FROM cells", path)  # noqa: S608 - see sql.py
    return Told(others, rows_out, done.rejected, done.changed)


def _applied(connection: duckdb.DuckDBPyConnection, rules: Pass, cells: Sequence[Column]) -> Applied:
    columns = {}
    for slot, column in zip(slots_of(len(cells)), cells, strict=True):
        views = views_of(column, column.heads(), _IN_CHUNK)
        columns[slot] = texts(views, (column.bytes,), np.zeros(len(views), np.bool_))
    with registered(connection, "cells", columns, len(cells[0].starts)):
        connection.execute("CREATE OR REPLACE TEMP TABLE raw AS FROM cells")
    return apply(connection, rules, Source("raw"))


def _selected(column: OutColumn, *, by_slot: bool) -> str:
    read = column.slot if column.type == TEXT else f"CAST({column.slot} AS {column.type})"
    return f"{read} AS {column.slot if by_slot else identifier(column.name)}"


class _Mended:
    """What has become of the other rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, done: Applied, columns: list[OutColumn]) -> None:
        texts_ = ", ".join(f"CAST({one.slot} AS VARCHAR) AS {one.slot}" for one in columns)
        lengths = ", ".join(f"strlen({one.slot}) AS length_{one.slot}" for one in columns)
        found = connection.execute(
            f"SELECT *, {lengths} FROM (SELECT {ROW}, {texts_} FROM ({done.cleaned})) ORDER BY {ROW}"  # noqa: S608
        ).fetchnumpy()
        self.rows: NDArray[np.intp] = np.asarray(found[ROW]).astype(np.intp)
        self.columns = [_column(found[one.slot], found[f"length_{one.slot}"]) for one in columns]


def _column(cells: NDArray[np.object_], lengths: NDArray[np.int64]) -> tuple[Column, NDArray[np.bool_]]:
    """And which are null."""
    nulls = np.ma.getmaskarray(cells)
    length = np.ma.filled(lengths, 0).astype(np.int32)
    text = "".join(np.ma.filled(cells, "").tolist()).encode()
    bytes_ = np.frombuffer(text + bytes(HEAD_BYTES), np.uint8)
    return Column(bytes_, np.cumsum(length, dtype=np.int32) - length, length), nulls
