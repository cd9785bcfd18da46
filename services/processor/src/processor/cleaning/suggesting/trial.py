"""What rules do to all rows, by doing them: exactly what a clean with them would. More rules can be tried on what the
ones before have left, so that nothing is done twice."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from processor.cleaning.recipe.applying import apply_to_all, prepare
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.passes import OutColumn, Pass
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.whole import WholeRule
from processor.cleaning.recipe.sheet import ROW, Column, Sheet, Source
from processor.cleaning.recipe.stage import CHANGES, DUPLICATES, FINDINGS, REJECTS, Stage
from processor.cleaning.room import Room
from processor.cleaning.running import interruptible
from processor.cleaning.sql import literal
from processor.cleaning.suggesting.proposal import recipe_with
from processor.cleaning.suggesting.rows import Rows, copy

_REFUSED, _REMOVED = "refused_rows", "removed_rows"  # by the rules of a pass, and by those for all rows
Cell = tuple[int, str | None]  # the rule's place in the recipe, and a column


@dataclass(slots=True)
class Counts:
    rows: int = 0  # that come out
    cells: Counter[Cell] = field(default_factory=Counter)  # that are changed, of rows that come out
    rejects: Counter[Cell] = field(default_factory=Counter)  # rows
    reasons: Counter[str] = field(default_factory=Counter)  # the same rows
    duplicates: Counter[int] = field(default_factory=Counter)  # rows, by rule
    findings: Counter[int] = field(default_factory=Counter)  # cells, by rule


class Trial:
    def __init__(self, rows: Rows, folder: Path, room: Room, look: Callable[[], None]) -> None:
        """`look` is called now and then, and may raise to end it all."""
        self.counts = Counts(rows.count)
        self.rules: list[Rule] = []
        self._passes: list[tuple[Pass, tuple[Path, ...]]] = []  # each with the files that it was done to
        self._names = rows.names
        self._files = rows.files
        self._folder, self._room, self._look = folder, room, look

    @property
    def columns(self) -> Sequence[OutColumn]:
        """Of the rows that are left."""
        return self._passes[-1][0].columns

    @property
    def relation(self) -> str:
        """The rows that are left: `row_`, and the columns' slots. There is at least one rule, and one row."""
        return _of(self._files)

    def try_rules(self, rules: Sequence[Rule], on_share: Callable[[float], None]) -> None:
        """Those that look at one row by itself, and then, as the last ones of all, those that need all rows."""
        sheet = self._sheet()
        whole = [rule for rule in rules if isinstance(rule, WholeRule) and rule.needs_all_rows]
        for rule in rules[: len(rules) - len(whole)]:
            sheet.rule = len(self.rules)
            rule.apply(sheet)
            self.rules.append(rule)
        done = Pass(sheet, [_name(rule) for rule in self.rules])
        with self._room.connect() as connection, interruptible(connection, self._look):
            for table in (_REFUSED, _REMOVED):
                connection.execute(f"CREATE TEMP TABLE {table} ({ROW} BIGINT)")
            files = self._files
            self._files = self._over_rows(connection, done, on_share)
            if whole and self._files:
                self._over_all(connection, done, whole)
                self._take_back(connection, done, files, (_REMOVED,))
            for earlier, its_files in self._passes:
                self._take_back(connection, earlier, its_files, (_REFUSED, _REMOVED))
        self._passes.append((done, files))
        self.counts.cells = +self.counts.cells

    def _sheet(self) -> Sheet:
        if self._passes:
            return self._passes[-1][0].next_sheet(f"p{len(self._passes)}_")
        return Sheet({name: Column(f"c{at}") for at, name in enumerate(self._names)})

    def _over_rows(
        self, connection: duckdb.DuckDBPyConnection, rules: Pass, on_share: Callable[[float], None]
    ) -> tuple[Path, ...]:
        """The files of what is left."""
        prepare(connection, rules)
        if self._passes and self._files and self._changes_nothing(connection, rules):
            return self._files
        left: list[Path] = []
        for at, file in enumerate(self._files):
            cleaned = self._done(connection, rules, f"FROM {_of([file])}", 1)
            connection.execute(f"INSERT INTO {_REFUSED} SELECT {ROW} FROM worked WHERE NOT ({rules.out})")  # noqa: S608 - see sql.py, here and below
            left.append(self._folder / f"left-{len(self._passes)}-{at}.parquet")
            copy(connection, cleaned, left[-1])
            on_share((at + 1) / len(self._files))
        return tuple(left)

    def _changes_nothing(self, connection: duckdb.DuckDBPyConnection, rules: Pass) -> bool:
        if any(rules.sheet.is_made(column.slot) for column in rules.sheet.columns.values()):
            return False
        worked = f"({rules.work(Source(_of(self._files), ROW, is_table=True))})"
        return not connection.execute(rules.refused(worked)).fetchall()

    def _done(self, connection: duckdb.DuckDBPyConnection, rules: Pass, query: str, times: int) -> str:
        """A query for what comes out. What is changed is counted so many times; what is refused, if that is 1."""
        connection.execute(f"CREATE OR REPLACE TEMP TABLE raw AS {query}")
        source = Source("raw", ROW)
        connection.execute(f"CREATE OR REPLACE TEMP TABLE worked AS {rules.work(source)}")
        _, *cells = connection.execute(rules.count("worked")).fetchall()[0]
        for change, count in zip(rules.sheet.changes, cells, strict=True):
            self.counts.cells[change.rule, change.column] += times * count
        for at, count in connection.execute(rules.refused("worked")).fetchall() if times == 1 else ():
            one = rules.sheet.rejects[at]
            self._rejected(one.rule, one.column, one.reason, count)
        return rules.cleaned(source, "worked")

    def _rejected(self, rule: int, column: str | None, reason: str, rows: int) -> None:
        self.counts.rejects[rule, column] += rows
        self.counts.reasons[reason] += rows
        self.counts.rows -= rows

    def _over_all(self, connection: duckdb.DuckDBPyConnection, before: Pass, rules: Sequence[WholeRule]) -> None:
        columns, stages = before.next_sheet("").columns, list[Stage]()
        for rule in rules:
            stage = Stage(f"stage_{len(stages) + 1}", dict(columns), len(self.rules), _name(rule), {})
            rule.plan(stage)
            stages.append(stage)
            self.rules.append(rule)
        apply_to_all(connection, Plan(recipe_with(self.rules), before, tuple(stages)), self.relation)
        counts = self.counts
        for row in connection.execute(
            f"SELECT rule, column_, reason, count(*) FROM {REJECTS} GROUP BY ALL"  # noqa: S608
        ).fetchall():
            self._rejected(*row)
        for table, by_rule in ((DUPLICATES, counts.duplicates), (FINDINGS, counts.findings)):
            by_rule.update(
                dict(connection.execute(f"SELECT rule, count(*) FROM {table} GROUP BY 1").fetchall())  # noqa: S608
            )
        for at, column, cells in connection.execute(
            f"SELECT rule, column_, count(*) FROM {CHANGES} GROUP BY ALL"  # noqa: S608
        ).fetchall():
            counts.cells[at, column] += cells
        counts.rows -= counts.duplicates.total()
        for table in (REJECTS, DUPLICATES):
            connection.execute(f"INSERT INTO {_REMOVED} SELECT {ROW} FROM {table}")  # noqa: S608

    def _take_back(
        self, connection: duckdb.DuckDBPyConnection, rules: Pass, files: Sequence[Path], tables: Sequence[str]
    ) -> None:
        """What was changed in rows that are gone since is in no log."""
        gone = " UNION ALL ".join(f"SELECT {ROW} FROM {table}" for table in tables)  # noqa: S608
        if rules.sheet.changes and connection.execute(f"{gone} LIMIT 1").fetchall():
            prepare(connection, rules)
            self._done(connection, rules, f"FROM {_of(files)} WHERE {ROW} IN ({gone})", -1)


def _name(rule: Rule) -> str:
    return str(rule.__struct_config__.tag)


def _of(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(literal(str(file)) for file in files)}])"
