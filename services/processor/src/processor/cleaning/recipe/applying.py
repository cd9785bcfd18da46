"""A pass of rules done to a table of a connection."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb

from processor.cleaning.recipe.passes import Pass
from processor.cleaning.recipe.sheet import ROW, Source

WORKED, REJECTS, CHANGES = "worked", "rejects_", "changes_"
_AT_ONCE = 16  # queries in a UNION ALL, which is planned in quadratic time

# A pass is a stack of projections. What else there is to optimise takes longer than the work, where columns are many.
_OPTIMIZERS = ("expression_rewriter", "statistics_propagation", "filter_pushdown", "unused_columns", "column_lifetime")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the rows. The tables `rejects_` and `changes_`, and the query, hold until the next pass."""

    rows: int
    cleaned_rows: int
    rejected: Counter[str]  # rows, by reason
    changed: Counter[tuple[int, str]]  # cells, by the rule's place and the column
    cleaned: str  # a query for row_, and the columns as `Pass.columns` has them


def apply(connection: duckdb.DuckDBPyConnection, rules: Pass, source: Source, *, log: bool = True) -> Applied:
    """What `rules.prepare` makes must be there. Without `log`, no changes are told.

    `rejects_` has row_, column_, reason, detail, rule and rule_name; `changes_` has row_, column_, before, after, rule
    and rule_name. A rule is its place in the recipe."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {REJECTS} ({ROW} BIGINT, column_ VARCHAR, reason VARCHAR, detail VARCHAR, "
        "rule INTEGER, rule_name VARCHAR)"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {CHANGES} ({ROW} BIGINT, column_ VARCHAR, before VARCHAR, after VARCHAR, "
        "rule INTEGER, rule_name VARCHAR)"
    )
    with _planned_quickly(connection):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {WORKED} AS {rules.work(source, log=log)}")
        refused = dict(connection.execute(rules.refused(WORKED)).fetchall())
        cleaned_rows, *cells = connection.execute(rules.count(WORKED, log=log)).fetchall()[0]
        _insert(connection, REJECTS, rules.rejects(source, WORKED, refused))
        _insert(connection, CHANGES, rules.changes(source, WORKED, cells))
    rejected: Counter[str] = Counter()
    for at, rows in refused.items():
        rejected[rules.sheet.rejects[at].reason] += rows
    changed: Counter[tuple[int, str]] = Counter()
    for change, count in zip(rules.sheet.changes, cells, strict=False):
        if count:
            changed[change.rule, change.column] += count
    return Applied(cleaned_rows + rejected.total(), cleaned_rows, rejected, changed, rules.cleaned(WORKED))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, queries: Sequence[str]) -> None:
    for at in range(0, len(queries), _AT_ONCE):
        connection.execute(f"INSERT INTO {table} {' UNION ALL '.join(queries[at : at + _AT_ONCE])}")


@contextmanager
def _planned_quickly(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    names = [name for (name,) in connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()]
    connection.execute(f"SET disabled_optimizers = '{','.join(name for name in names if name not in _OPTIMIZERS)}'")
    try:
        yield
    finally:
        connection.execute("RESET disabled_optimizers")
