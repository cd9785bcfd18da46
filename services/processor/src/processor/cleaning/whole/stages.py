"""Rules that need all rows, done to the cleaned rows of all parts; and the parts' logs together with theirs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from processor.cleaning import files
from processor.cleaning.parquet.writing import copied
from processor.cleaning.parts.counts import Changed
from processor.cleaning.parts.outputs import write_output
from processor.cleaning.parts.part import BYTE_OFFSET, BYTES, LINE
from processor.cleaning.reading.chunks_content import original_bytes
from processor.cleaning.recipe.applying import apply_to_all
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.sheet import ROW
from processor.cleaning.recipe.stage import CHANGES, DUPLICATES, FINDINGS, REJECTS
from processor.cleaning.sql import identifier, literal

Parts = Mapping[str, Sequence[Path]]  # files of the parts in their order, by name

_STAGED = "staged"
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class AllCounts:
    """Of what only a look at all rows has found."""

    rows_out: int
    rejected: Counter[str]
    duplicates: int
    changed: tuple[Changed, ...]  # by all rules, in rows that come out
    findings: int


def apply_stages(connection: duckdb.DuckDBPyConnection, plan: Plan, fd: int, parts: Parts, folder: Path) -> AllCounts:
    """Leaves the files in the folder, as if all rows were one part. `fd` is the input."""
    if cleaned := parts.get(files.CLEANED):
        connection.execute(f"CREATE TEMP VIEW {_STAGED} AS SELECT * FROM {_all(cleaned)}")  # noqa: S608 - see sql.py, here and below
    else:
        slots = "".join(f", {column.slot} {column.type}" for column in plan.first.columns)
        places = f"{ROW} BIGINT, {LINE} BIGINT, {BYTE_OFFSET} BIGINT, {BYTES} BIGINT"
        connection.execute(f"CREATE TEMP TABLE {_STAGED} ({places}{slots})")
    done = apply_to_all(connection, plan, _STAGED)
    names = ", ".join(f"{column.slot} AS {identifier(column.name)}" for column in plan.columns)
    # Of `done`, since a column may be called as ours is.
    rows = f"SELECT {names} FROM ({done.cleaned}) AS done ORDER BY done.{ROW}"  # noqa: S608
    copied(connection, rows, folder / files.CLEANED)
    write_output(connection, folder, plan.recipe.output)
    for name, query in _logs(parts).items():
        copied(connection, query, folder / name)
    _write_rejected_bytes(connection, fd, folder)
    changed = connection.execute(
        f'SELECT rule, "column", count(*) FROM {_all([folder / files.CHANGES])} GROUP BY ALL ORDER BY ALL'  # noqa: S608
    ).fetchall()
    findings = connection.execute(f"SELECT count(*) FROM {FINDINGS}").fetchall()[0][0]  # noqa: S608
    return AllCounts(
        done.cleaned_rows, done.rejected, done.duplicates, tuple(Changed(*one) for one in changed), int(findings)
    )


def _logs(parts: Parts) -> dict[str, str]:
    """What the parts have told, without what was said of rows that are gone, and what all rows have told."""
    place = f"{ROW} AS row, {LINE} AS line, {BYTE_OFFSET} AS byte_offset, {BYTES} AS bytes"
    cell = f'{ROW} AS row, {LINE} AS line, column_ AS "column"'
    own = {
        files.REJECTS: f'SELECT {place}, column_ AS "column", reason, detail, rule, rule_name FROM {REJECTS}',  # noqa: S608
        files.DUPLICATES: f"SELECT {place}, survivor AS survivor_row, rule, rule_name FROM {DUPLICATES}",  # noqa: S608
        files.CHANGES: f"SELECT {cell}, before, after, rule, rule_name FROM {CHANGES}",  # noqa: S608
        files.FINDINGS: f"SELECT {cell}, found, expected, confidence, rule, rule_name FROM {FINDINGS}",  # noqa: S608
    }
    gone = f"SELECT {ROW} FROM {REJECTS} UNION ALL SELECT {ROW} FROM {DUPLICATES}"  # noqa: S608
    queries: dict[str, str] = {}
    for name, query in own.items():
        told = [f"{query} JOIN {_STAGED} USING ({ROW})"]
        if of_parts := parts.get(name):
            stay = f" WHERE row NOT IN ({gone})" if name == files.CHANGES else ""
            told.append(f"SELECT * FROM {_all(of_parts)}{stay}")  # noqa: S608
        order = "row, rule" if name == files.DUPLICATES else 'row, rule, "column"'
        queries[name] = f"SELECT * FROM ({' UNION ALL '.join(told)}) ORDER BY {order}"  # noqa: S608
    return queries


def _write_rejected_bytes(connection: duckdb.DuckDBPyConnection, fd: int, folder: Path) -> None:
    found = connection.execute(f"SELECT byte_offset, bytes FROM {_all([folder / files.REJECTS])} ORDER BY row")  # noqa: S608
    with (folder / files.REJECTED_BYTES).open("wb") as target:
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            for start, length in rows:
                target.writelines(original_bytes(fd, start, start + length))


def _all(paths: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(literal(str(path)) for path in paths)}])"
