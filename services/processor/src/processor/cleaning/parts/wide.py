"""A chunk of a table with very many columns: DuckDB needs memory for each column that a query has, so that there are
several queries, each of some of the columns. Which rows are refused is known before any of them is written."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.parquet.writing import copied, planned_simply, side_by_side
from processor.cleaning.parts.told import Told
from processor.cleaning.reading.feed import Feed, columns_of, relation_of
from processor.cleaning.recipe.applying import CHUNK_CHANGES, CHUNK_REJECTS, apply
from processor.cleaning.recipe.passes import REFUSED, Pass
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.recipe.stage import CHANGES, REJECTS, TABLES
from processor.cleaning.sql import identifier

WIDEST = 64  # columns of a query
OUT = "out_"
_TOLD = (("told_rejects", CHUNK_REJECTS, REJECTS), ("told_changes", CHUNK_CHANGES, CHANGES))


@contextmanager
def feeds_of(feed: Feed, groups: Sequence[Pass], scratch: str) -> Iterator[list[Feed]]:
    """For each group its columns."""
    with columns_of(feed, [_columns(rules) for rules in groups], np.arange(len(feed.rows)), scratch) as feeds:
        yield feeds


def refused_and_touched(
    connection: duckdb.DuckDBPyConnection, groups: Sequence[Pass], feeds: Sequence[Feed]
) -> tuple[NDArray[np.bool_], list[NDArray[np.intp]]] | None:
    """Which rows of the feed are refused, and by group those that are refused or changed. `places` is there. None if
    DuckDB reads something else than we do."""
    refused = np.zeros(len(feeds[0].rows), np.bool_)
    touched: list[NDArray[np.intp]] = []
    with planned_simply(connection):
        for rules, feed in zip(groups, feeds, strict=True):
            relation = relation_of(feed, _slots(rules))
            (count,) = connection.execute(f"SELECT count(*) FROM {relation}").fetchall()  # noqa: S608 - see sql.py
            if count[0] != len(feed.rows):
                return None
            found = connection.execute(rules.marks(_source(rules, feed))).fetchnumpy()
            touched.append(found[ROW].astype(np.intp))
            refused[touched[-1][found[REFUSED].astype(np.bool_)]] = True
    return refused, touched


def write_groups(
    connection: duckdb.DuckDBPyConnection,
    groups: Sequence[Pass],
    feeds: Sequence[Feed],
    beside: Sequence[tuple[str, str]],
    path: Path,
    *,
    by_slots: bool,
) -> int:
    """The rows for which `places` says that they come out. `beside`: columns of it, and what they are to be called."""
    paths = []
    for at, (rules, feed) in enumerate(zip(groups, feeds, strict=True)):
        own = beside if at == 0 else ()
        rows = rules.cells(_source(rules, feed), [name for name, _ in own], OUT)
        columns = [f"{name} AS {other}" for name, other in own]
        columns += [c.slot if by_slots else f"{c.slot} AS {identifier(c.name)}" for c in rules.columns]
        paths.append(path.with_suffix(f".{at}"))
        written = copied(connection, f"SELECT {', '.join(columns)} FROM ({rows})", paths[-1])  # noqa: S608 - see sql.py
    side_by_side(paths, path)
    for one in paths:
        one.unlink()
    return written


def tell(
    connection: duckdb.DuckDBPyConnection,
    groups: Sequence[Pass],
    feed: Feed,
    touched: Sequence[NDArray[np.intp]],
    rows_out: int,
    scratch: str,
) -> Told:
    """Everything is in the tables of `apply`, as if it had been one pass."""
    again = np.unique(np.concatenate(touched))
    for told, _, columns in _TOLD:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {told} ({TABLES[columns]}, group_ INTEGER)")
    for at, (rules, rows) in enumerate(zip(groups, touched, strict=True)):
        if not len(rows):
            continue
        with columns_of(feed, [_columns(rules)], rows, scratch) as (part,):
            connection.execute(f"CREATE OR REPLACE TEMP TABLE raw AS FROM {relation_of(part, _slots(rules))}")
            apply(connection, rules, Source("raw"))
        connection.register("numbers", {ROW: np.arange(len(rows)), "again": np.searchsorted(again, rows)})
        for told, table, _ in _TOLD:
            connection.execute(
                f"INSERT INTO {told} SELECT again AS {ROW}, t.* EXCLUDE ({ROW}), {at} FROM {table} t "  # noqa: S608
                f"JOIN numbers USING ({ROW})"
            )
        connection.unregister("numbers")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {CHUNK_REJECTS} AS SELECT DISTINCT ON ({ROW}) * EXCLUDE (group_) "  # noqa: S608
        f"FROM told_rejects ORDER BY {ROW}, rule, group_"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {CHUNK_CHANGES} AS SELECT * EXCLUDE (group_) FROM told_changes "  # noqa: S608
        f"WHERE {ROW} NOT IN (SELECT {ROW} FROM {CHUNK_REJECTS})"
    )
    rejected = connection.execute(f"SELECT reason, count(*) FROM {CHUNK_REJECTS} GROUP BY 1").fetchall()  # noqa: S608
    changed = connection.execute(f"SELECT rule, column_, count(*) FROM {CHUNK_CHANGES} GROUP BY 1, 2").fetchall()  # noqa: S608
    return Told(again, rows_out, Counter(dict(rejected)), Counter({(at, name): cells for at, name, cells in changed}))


def _slots(rules: Pass) -> list[str]:
    return rules.sources or ["c0"]  # whatever it is, it says how many rows there are


def _columns(rules: Pass) -> list[int]:
    return [int(slot.removeprefix("c")) for slot in _slots(rules)]


def _source(rules: Pass, feed: Feed) -> Source:
    return Source(f"(FROM {relation_of(feed, _slots(rules))} POSITIONAL JOIN places)", ROW, is_table=False)
