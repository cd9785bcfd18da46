"""What is to be seen only in all rows together: keys, rows that are there again, numbers far from the others, columns
that say what another one is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import duckdb

from processor.cleaning.recipe.passes import OutColumn
from processor.cleaning.recipe.rules.conditions import Expected, Schema
from processor.cleaning.recipe.rules.dependencies import Dependency
from processor.cleaning.recipe.rules.duplicates import Deduplicate
from processor.cleaning.recipe.rules.keys import Unique
from processor.cleaning.recipe.rules.outliers import Outliers
from processor.cleaning.sql import missing
from processor.cleaning.suggesting.proposal import Proposal

_FEWEST_ROWS = 20
_FEWEST_TO_REQUIRE = 1_000  # fewer rows say little of those to come
_KEY_NAMES = re.compile(
    r"(?:^|[^a-z])(?:id|key|uuid|guid|code|no|nr|num|number|sku|iban|isbn)$|(?<=[a-z])(?:Id|ID)$|^id", re.IGNORECASE
)
_KEY_TYPES = ("VARCHAR", "BIGINT")
_MOSTLY = 0.8  # share of the rows that differ; of fewer, anything seems to be a key
_MOST_KEYS = 20  # columns that are looked at
_NUMBERS = ("BIGINT", "DOUBLE", "DECIMAL")
_FAR = 3.0  # times the distance of the quartiles
_MOST_RELATED = 12  # columns
_FEWEST_EACH = 5  # rows that each value of a determining column has on average
_MOST_VIOLATIONS = 0.01  # share of the rows
_MOST_BY_CHANCE = 10  # times as many violations there are at least, if the key says nothing
_LOOKED_AT = 100_000  # rows, for dependencies; how many violations there are is counted in all


@dataclass(frozen=True, slots=True)
class Filled:
    """Of one column of the cleaned rows."""

    column: OutColumn
    present: int
    distinct: int  # about


def look_at_columns(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[OutColumn]
) -> tuple[int, list[Filled]]:
    """The rows, and what the columns have."""
    rows, found = 0, list[Filled]()
    for begin in range(0, len(columns), 100):
        some = columns[begin : begin + 100]
        parts = ", ".join(
            f"count(*) FILTER (NOT {missing(one.slot, one.type)}), approx_count_distinct({one.slot})" for one in some
        )
        rows, *counts = connection.execute(f"SELECT count(*), {parts} FROM {relation}").fetchall()[0]  # noqa: S608 - see sql.py, here and below
        found += [Filled(one, counts[2 * at], counts[2 * at + 1]) for at, one in enumerate(some)]
    return rows, found


def propose_required(rows: int, columns: Sequence[Filled]) -> Iterator[Proposal]:
    full = [one.column.name for one in columns if one.present == rows]
    if rows >= _FEWEST_TO_REQUIRE and full:
        why = "In these columns no cell is missing: a row in which one is would be something new."
        yield Proposal(Schema(columns={name: Expected(required=True) for name in full}), why)


def propose_duplicates() -> Proposal:
    return Proposal(Deduplicate(), "Rows are there again, cell by cell, with the same key: the first one stays.")


def different_rows(connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[OutColumn]) -> int:
    every = ", ".join(column.slot for column in columns)
    return _count(connection, f"SELECT DISTINCT {every} FROM {relation}")  # noqa: S608


def find_keys(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: int, columns: Sequence[Filled], different: int
) -> list[str]:
    """Columns that number the rows by their names, or the first one, and have another value in each `different` row."""
    likely = [
        one
        for at, one in enumerate(columns)
        if one.column.type in _KEY_TYPES
        and one.present == rows >= _FEWEST_ROWS
        and (at == 0 or _KEY_NAMES.search(one.column.name))
        and different >= _MOSTLY * rows
        and one.distinct >= different / 2
    ]
    return [
        one.column.name
        for one in likely[:_MOST_KEYS]
        if _count(connection, f"SELECT DISTINCT {one.column.slot} FROM {relation}") == different  # noqa: S608
    ]


def propose_unique(keys: Sequence[str]) -> Iterator[Proposal]:
    for name in keys:
        yield Proposal(
            Unique(columns=(name,)), f"Each row has another {name}: one that comes again would be a mistake."
        )


def propose_outliers(columns: Sequence[Filled], keys: Sequence[str]) -> Iterator[Proposal]:
    for one in columns:
        is_number = one.column.type.partition("(")[0] in _NUMBERS and one.column.name not in keys
        if is_number and one.distinct > _FEWEST_ROWS and one.present > 5 * _FEWEST_ROWS:
            why = "Numbers that are far from the column's others are told, and left as they are."
            yield Proposal(Outliers(columns=(one.column.name,), factor=_FAR, action="report"), why)


def propose_dependencies(
    connection: duckdb.DuckDBPyConnection, relation: str, rows: int, columns: Sequence[Filled]
) -> Iterator[Proposal]:
    """Those that nearly hold. What does not fit is told, and left."""
    few = [one for one in columns if one.distinct > 1 and _FEWEST_EACH * one.distinct <= one.present][:_MOST_RELATED]
    if len(few) < 2 or rows < _FEWEST_ROWS:
        return
    cells = ", ".join(one.column.slot for one in few)
    some = "" if rows <= _LOOKED_AT else f" WHERE hash(row_) % {rows} < {_LOOKED_AT}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE related AS SELECT {cells} FROM {relation}{some}")  # noqa: S608
    for key, other in permutations(few, 2):
        # What has about as many values as the other, or fewer, determines it only by chance.
        if key.distinct <= other.distinct:
            continue
        total, against = _violations(connection, key.column.slot, key.column, other.column)
        if total < _FEWEST_ROWS or not 0 < against <= _MOST_VIOLATIONS * total:
            continue
        # Of a column in which nearly all is the same, everything tells what it is.
        _, by_chance = _violations(connection, "NULL::INTEGER", key.column, other.column)
        if by_chance >= _MOST_BY_CHANCE * against:
            says = f"Nearly each {key.column.name} has one {other.column.name}. Where it has another one, that is told."
            yield Proposal(Dependency(columns=(key.column.name,), determines=other.column.name), says)


def _violations(connection: duckdb.DuckDBPyConnection, by: str, key: OutColumn, other: OutColumn) -> tuple[int, int]:
    """Rows with both cells, and those of them that have not what most with the same `by` have."""
    there = f"NOT {missing(key.slot, key.type)} AND NOT {missing(other.slot, other.type)}"
    pairs = f"SELECT {by} AS k, count(*) AS n FROM related WHERE {there} GROUP BY {by}, {other.slot}"  # noqa: S608
    query = f"""
        SELECT coalesce(sum(n), 0), coalesce(sum(n - most), 0)
        FROM (SELECT sum(n) AS n, max(n) AS most FROM ({pairs}) GROUP BY k)
    """  # noqa: S608
    total, against = connection.execute(query).fetchall()[0]
    return int(total), int(against)


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM ({query})").fetchall()[0][0])  # noqa: S608


def empty_columns(rows: int, columns: Sequence[Filled]) -> list[str]:
    return [one.column.name for one in columns if rows and not one.present]


def categories_of(
    connection: duckdb.DuckDBPyConnection, relation: str, column: OutColumn, most: int
) -> Mapping[str, int]:
    query = f"""
        SELECT {column.slot}, count(*) FROM {relation}
        WHERE NOT {missing(column.slot, column.type)} GROUP BY 1 LIMIT {most + 1}
    """  # noqa: S608
    return {str(text): int(rows) for text, rows in connection.execute(query).fetchall()}
