"""What the parts of a file have become, as the files of the whole; and the law, checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import msgspec

from processor.cleaning import files
from processor.cleaning.parquet.joining import join_bytes, join_parquet
from processor.cleaning.parquet.writing import copied
from processor.cleaning.parts.counts import LawBroken, PartCounts, all_changed
from processor.cleaning.progress import Progress
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.room import Room
from processor.cleaning.running import interruptible
from processor.cleaning.sql import identifier
from processor.cleaning.survey import Survey, opened
from processor.cleaning.whole.stages import Parts, apply_stages
from processor.cleaning.whole.tables import Other, load_tables


class Rows(msgspec.Struct, frozen=True, rename={"in_": "in"}):
    in_: int
    out: int
    rejected: int
    duplicates: int


class RuleCount(msgspec.Struct, frozen=True):
    rule: int
    name: str
    column: str
    cells: int


class OutColumn(msgspec.Struct, frozen=True):
    name: str
    type: str


class Cleaned(msgspec.Struct, frozen=True):
    """Of the whole file."""

    rows: Rows
    rejects: dict[str, int]  # rows, by reason
    changed_cells: int
    changes: tuple[RuleCount, ...]
    findings: int
    blank_lines: int
    columns: tuple[OutColumn, ...]


def finish(
    source: Path,
    survey: Survey,
    plan: Plan,
    counts: Sequence[PartCounts],
    parts: Parts,
    folder: Path,
    room: Room,
    progress: Progress,
    tables: Mapping[str, Other],
) -> tuple[Cleaned, list[str]]:
    """Leaves the files of the whole in the folder. Notes are beside what it gives."""
    notes: list[str] = []
    rejected: Counter[str] = Counter()
    for part in counts:
        rejected.update(part.rejected)
    rows_out, changed, duplicates, findings = sum(part.rows_out for part in counts), all_changed(counts), 0, 0
    with room.connect() as connection, interruptible(connection, progress.look):
        if plan.stages:
            staged = Path(room.scratch, "whole")
            staged.mkdir()
            notes = load_tables(connection, tables, room, progress.look)
            with opened(source) as fd:
                done = apply_stages(connection, plan, fd, parts, staged)
            parts = {path.name: [path] for path in staged.iterdir()}
            rejected.update(done.rejected)
            rows_out, changed, duplicates, findings = done.rows_out, done.changed, done.duplicates, done.findings
        _join(connection, plan, parts, folder)
    rows = Rows(sum(part.rows_in for part in counts), rows_out, rejected.total(), duplicates)
    if not survey.rows == rows.in_ == rows.out + rows.rejected + rows.duplicates:
        raise LawBroken(f"Not each of {survey.rows:,} records is accounted for: {rows}.")
    rules = [str(rule.__struct_config__.tag) for rule in plan.recipe.rules]
    cleaned = Cleaned(
        rows,
        dict(rejected),
        sum(one.cells for one in changed),
        tuple(RuleCount(one.rule, rules[one.rule], one.column, one.cells) for one in changed),
        findings,
        sum(part.blank_lines for part in counts),
        tuple(OutColumn(column.name, column.type) for column in plan.columns),
    )
    return cleaned, notes


def _join(connection: duckdb.DuckDBPyConnection, plan: Plan, parts: Parts, folder: Path) -> None:
    """All files are there, also those with nothing in them."""
    output, names = plan.recipe.output, [column.name for column in plan.columns]
    empty = {name: f"CREATE OR REPLACE TEMP TABLE nothing ({columns})" for name, columns in files.LOGS.items()}
    columns = ", ".join(f"{identifier(column.name)} {column.type}" for column in plan.columns)
    empty[files.CLEANED] = f"CREATE OR REPLACE TEMP TABLE nothing ({columns})"
    for name, statement in empty.items():
        if of_parts := parts.get(name):
            join_parquet(of_parts, folder / name)
        else:
            connection.execute(statement)
            copied(connection, "FROM nothing", folder / name)
    join_bytes(parts.get(files.REJECTED_BYTES, ()), folder / files.REJECTED_BYTES)
    if (text := files.text_file(output)) is not None:
        join_bytes(parts.get(text, ()), folder / text, files.text_head(output, names))
