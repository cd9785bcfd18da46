"""What a recipe does to all rows, by doing it: exactly what a clean with it would."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from processor.cleaning.recipe.applying import CHUNK_REJECTS, apply, apply_to_all, prepare
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.recipe.sql import literal
from processor.cleaning.recipe.stage import CHANGES, DUPLICATES, FINDINGS, REJECTS
from processor.cleaning.room import Room
from processor.cleaning.suggesting.rows import Rows, copy

Cell = tuple[int, str | None]  # the rule's place in the recipe, and a column


@dataclass(slots=True)
class Measured:
    out: int = 0
    cells: Counter[Cell] = field(default_factory=Counter)  # that it changes, of rows that come out
    rejects: Counter[Cell] = field(default_factory=Counter)  # rows
    reasons: Counter[str] = field(default_factory=Counter)  # the same rows
    duplicates: Counter[int] = field(default_factory=Counter)  # rows, by rule
    findings: Counter[int] = field(default_factory=Counter)  # cells, by rule
    files: tuple[Path, ...] = ()  # `row_` and the columns as `plan.first.columns` has them, before rules for all rows

    @property
    def relation(self) -> str:
        return f"read_parquet([{', '.join(literal(str(file)) for file in self.files)}])"


def measure(rows: Rows, plan: Plan, folder: Path, room: Room, on_share: Callable[[float], None]) -> Measured:
    """`on_share` is told how far it is, and may raise. The files that it leaves in the folder are those of the last
    time."""
    done = Measured()
    with room.connect() as connection:
        prepare(connection, plan.first)
        for at, file in enumerate(rows.files):
            cleaned = _apply(connection, plan, f"FROM {_file(file)}", done, 1)
            staged = folder / f"staged-{at}.parquet"
            copy(connection, cleaned, staged)
            done.files = (*done.files, staged)
            on_share((at + 1) / len(rows.files))
        if plan.stages and done.files:
            _apply_to_all(connection, plan, rows, done)
    return done


def _apply(connection: duckdb.DuckDBPyConnection, plan: Plan, query: str, done: Measured, times: int) -> str:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE raw AS {query}")
    applied = apply(connection, plan.first, Source("raw", ROW))
    for cell, count in applied.changed.items():
        done.cells[cell] += times * count
    if times > 0:
        _take_rejects(connection, CHUNK_REJECTS, done)
        done.out += applied.cleaned_rows
    return applied.cleaned


def _take_rejects(connection: duckdb.DuckDBPyConnection, table: str, done: Measured) -> None:
    found = connection.execute(f"SELECT rule, column_, reason, count(*) FROM {table} GROUP BY ALL").fetchall()  # noqa: S608 - see sql.py, here and below
    for rule, column, reason, count in found:
        done.rejects[rule, column] += count
        done.reasons[reason] += count


def _apply_to_all(connection: duckdb.DuckDBPyConnection, plan: Plan, rows: Rows, done: Measured) -> None:
    done.out = apply_to_all(connection, plan, done.relation).cleaned_rows
    _take_rejects(connection, REJECTS, done)
    for table, counts in ((DUPLICATES, done.duplicates), (FINDINGS, done.findings)):
        counts.update(dict(connection.execute(f"SELECT rule, count(*) FROM {table} GROUP BY 1").fetchall()))  # noqa: S608
    for rule, column, count in connection.execute(
        f"SELECT rule, column_, count(*) FROM {CHANGES} GROUP BY ALL"  # noqa: S608
    ).fetchall():
        done.cells[rule, column] += count
    gone = f"CREATE TEMP TABLE gone AS SELECT {ROW} FROM {REJECTS} UNION ALL SELECT {ROW} FROM {DUPLICATES}"  # noqa: S608
    if connection.execute(gone).fetchall()[0][0]:
        # What was changed in rows that are gone then is in no log.
        for file in rows.files:
            _apply(connection, plan, f"FROM {_file(file)} WHERE {ROW} IN (FROM gone)", done, -1)
    done.cells = +done.cells


def _file(path: Path) -> str:
    return f"read_parquet({literal(str(path))})"
