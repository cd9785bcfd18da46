"""A plan done to tables of a connection."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.passes import Pass
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.recipe.stage import CHANGES, DUPLICATES, FINDINGS, REJECTS, TABLES, Stage

CHUNK_REJECTS, CHUNK_CHANGES = "rejects_", "changes_"
_AT_ONCE = 16  # queries in a UNION ALL, which is planned in quadratic time

# A pass is a stack of projections. What else there is to optimise takes longer than the work, where columns are many.
_OPTIMIZERS = ("expression_rewriter", "statistics_propagation", "filter_pushdown", "unused_columns", "column_lifetime")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the rows. The tables and the query hold until the next time."""

    rows: int
    cleaned_rows: int
    rejected: Counter[str]  # rows, by reason
    changed: Counter[tuple[int, str]]  # cells, by the rule's place and the column
    cleaned: str  # a query for row_, and the columns as `Pass.columns` has them


@dataclass(frozen=True, slots=True)
class AppliedToAll:
    rows: int
    cleaned_rows: int
    rejected: Counter[str]
    duplicates: int
    cleaned: str  # a query for row_, and the columns as `Plan.columns` has them


def prepare(connection: duckdb.DuckDBPyConnection, rules: Pass) -> None:
    """Once for each connection."""
    for statement in rules.prepare:
        connection.execute(statement)


def apply(connection: duckdb.DuckDBPyConnection, rules: Pass, source: Source) -> Applied:
    """The rules of each chunk. What is told is in two tables, `rejects_` and `changes_`, with the columns of
    `whole_rejects` and `whole_changes`."""
    tell_nothing(connection)
    return _apply(connection, rules, source, ("worked", CHUNK_REJECTS, CHUNK_CHANGES))


def tell_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    """Of a chunk in which the rules have nothing to tell of."""
    for table, columns in ((CHUNK_REJECTS, TABLES[REJECTS]), (CHUNK_CHANGES, TABLES[CHANGES])):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")


def apply_to_all(connection: duckdb.DuckDBPyConnection, plan: Plan, staged: str) -> AppliedToAll:
    """The rules that need all rows, and those after them. `staged` is a relation with `row_` and the columns as
    `plan.first.columns` has them: the cleaned rows of all chunks. What is told is in `whole_rejects`,
    `whole_duplicates`, `whole_changes` and `whole_findings`; what the chunks have logged of rows that go here is not
    taken out of their logs."""
    for table, columns in TABLES.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW stage_1 AS SELECT * FROM {staged}")  # noqa: S608 - see sql.py
    rows = _count(connection, staged)
    for at, stage in enumerate(plan.stages, start=1):
        here, there = f"stage_{at}", f"stage_{at + 1}"
        if isinstance(stage, Stage):
            for step in stage.steps:
                connection.execute(step) if isinstance(step, str) else step(connection)
            connection.execute(stage.view(there))
        else:
            prepare(connection, stage)
            done = _apply(connection, stage, Source(here, ROW, is_table=False), (f"worked_{at}", REJECTS, CHANGES))
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {there} AS {done.cleaned}")
    gone = f"(SELECT {ROW} FROM {REJECTS} UNION ALL SELECT {ROW} FROM {DUPLICATES})"  # noqa: S608
    for table in (CHANGES, FINDINGS):
        connection.execute(f"DELETE FROM {table} WHERE {ROW} IN {gone}")  # noqa: S608
    end = f"stage_{len(plan.stages) + 1}"
    reasons = connection.execute(f"SELECT reason, count(*) FROM {REJECTS} GROUP BY 1").fetchall()  # noqa: S608
    return AppliedToAll(
        rows,
        _count(connection, end),
        Counter(dict(reasons)),
        _count(connection, DUPLICATES),
        f"SELECT * FROM {end}",  # noqa: S608
    )


def _apply(connection: duckdb.DuckDBPyConnection, rules: Pass, source: Source, tables: tuple[str, str, str]) -> Applied:
    worked, rejects, changes = tables
    with _planned_quickly(connection):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {worked} AS {rules.work(source)}")
        refused = dict(connection.execute(rules.refused(worked)).fetchall())
        cleaned_rows, *cells = connection.execute(rules.count(worked)).fetchall()[0]
        _insert(connection, rejects, rules.rejects(source, worked, refused))
        _insert(connection, changes, rules.changes(source, worked, cells))
    rejected: Counter[str] = Counter()
    for at, rows in refused.items():
        rejected[rules.sheet.rejects[at].reason] += rows
    changed: Counter[tuple[int, str]] = Counter()
    for change, count in zip(rules.sheet.changes, cells, strict=False):
        if count:
            changed[change.rule, change.column] += count
    return Applied(cleaned_rows + rejected.total(), cleaned_rows, rejected, changed, rules.cleaned(source, worked))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, queries: Sequence[str]) -> None:
    for at in range(0, len(queries), _AT_ONCE):
        connection.execute(f"INSERT INTO {table} {' UNION ALL '.join(queries[at : at + _AT_ONCE])}")


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {relation}").fetchall()[0][0])  # noqa: S608


@contextmanager
def _planned_quickly(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    names = [name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()]
    connection.execute(f"SET disabled_optimizers = '{','.join(name for name in names if name not in _OPTIMIZERS)}'")
    try:
        yield
    finally:
        connection.execute("RESET disabled_optimizers")
