"""What a rule that needs all rows does: to a relation of all rows that are left, with `row_` and the slots' columns.

The rows themselves are never copied. A rule puts what it found into small tables: rows that go, and cells that are
mended; the next relation is a view over those and the one before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import duckdb

from processor.cleaning.recipe.sheet import ROW, Column
from processor.cleaning.sql import literal, written

REJECTS, DUPLICATES, CHANGES, FINDINGS = "whole_rejects", "whole_duplicates", "whole_changes", "whole_findings"
TABLES = {
    REJECTS: f"{ROW} BIGINT, column_ VARCHAR, reason VARCHAR, detail VARCHAR, rule INTEGER, rule_name VARCHAR",
    DUPLICATES: f"{ROW} BIGINT, survivor BIGINT, rule INTEGER, rule_name VARCHAR",
    CHANGES: f"{ROW} BIGINT, column_ VARCHAR, before VARCHAR, after VARCHAR, rule INTEGER, rule_name VARCHAR",
    # What was seen and left as it is.
    FINDINGS: f"{ROW} BIGINT, column_ VARCHAR, found VARCHAR, expected VARCHAR, confidence DOUBLE, rule INTEGER, "
    "rule_name VARCHAR",
}

# A statement, or what one statement cannot do.
Step: TypeAlias = str | Callable[[duckdb.DuckDBPyConnection], None]


@dataclass(slots=True)
class Stage:
    source: str  # the relation that it reads
    columns: dict[str, Column]
    rule: int
    rule_name: str
    tables: dict[str, tuple[str, list[str]]]  # of other uploads: the relation, and what its columns are called
    steps: list[Step] = field(default_factory=list)
    _mended: dict[str, str] = field(default_factory=dict)  # a table by slot
    _count: int = 0

    def table(self) -> str:
        """The name of a table of this stage's own."""
        self._count += 1
        return f"{self.source}_{self._count}"

    def reject(self, query: str, column: str | None, reason: str) -> None:
        """`query` gives the rows that go, and a sentence for each: `row_`, `detail`."""
        name = "NULL" if column is None else literal(column)
        self.steps.append(
            f"INSERT INTO {REJECTS} SELECT DISTINCT ON ({ROW}) {ROW}, {name}, {literal(reason)}, detail, {self._rule} "  # noqa: S608
            f"FROM ({query}) WHERE {ROW} NOT IN (SELECT {ROW} FROM {REJECTS} WHERE rule = {self.rule})"
        )

    def remove(self, query: str) -> None:
        """`query` gives the rows that are again what another is: `row_`, `survivor`."""
        self.steps.append(f"INSERT INTO {DUPLICATES} SELECT {ROW}, survivor, {self._rule} FROM ({query})")  # noqa: S608

    def find(self, query: str, column: str) -> None:
        """`row_`, `found`, `expected`, `confidence`."""
        self.steps.append(
            f"INSERT INTO {FINDINGS} SELECT {ROW}, {literal(column)}, found, expected, confidence, {self._rule} "  # noqa: S608
            f"FROM ({query})"
        )

    def mend(self, query: str, name: str) -> None:
        """`query` gives the cells that become others: `row_`, `value` of the column's type."""
        column, fixes = self.columns[name], self.table()
        self._mended[column.slot] = fixes
        before, after = written(f"s.{column.slot}", column.type), written("f.value", column.type)
        self.steps.append(f"CREATE OR REPLACE TEMP TABLE {fixes} AS {query}")
        self.steps.append(
            f"INSERT INTO {CHANGES} SELECT {ROW}, {literal(name)}, {before}, {after}, {self._rule} "  # noqa: S608
            f"FROM {self.source} s JOIN {fixes} f USING ({ROW})"
        )

    def view(self, name: str) -> str:
        """The statement for the relation of what is left."""
        cells = [
            f"CASE WHEN f{at}.{ROW} IS NULL THEN s.{column.slot} ELSE f{at}.value END AS {column.slot}"
            if column.slot in self._mended
            else f"s.{column.slot}"
            for at, column in enumerate(self.columns.values())
        ]
        joins = (
            f" LEFT JOIN {self._mended[column.slot]} f{at} ON f{at}.{ROW} = s.{ROW}"
            for at, column in enumerate(self.columns.values())
            if column.slot in self._mended
        )
        gone = " UNION ALL ".join(
            f"SELECT {ROW} FROM {table} WHERE rule <= {self.rule}"  # noqa: S608
            for table in (REJECTS, DUPLICATES)
        )
        return (
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {', '.join((f's.{ROW}', *cells))} "  # noqa: S608
            f"FROM {self.source} s{''.join(joins)} WHERE s.{ROW} NOT IN ({gone})"
        )

    @property
    def _rule(self) -> str:
        return f"{self.rule}, {literal(self.rule_name)}"
