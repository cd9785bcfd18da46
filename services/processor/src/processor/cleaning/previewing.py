"""What a recipe makes of some records of a file: each cell that changes, before and after, and why a row is refused."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from processor.cleaning.layout import layout_of
from processor.cleaning.options import plan_for
from processor.cleaning.preview_sample import SAMPLE, Sampled, take_sample
from processor.cleaning.reading.deciding import decide
from processor.cleaning.reading.decisions import counted
from processor.cleaning.reading.options import Options
from processor.cleaning.recipe.applying import CHUNK_CHANGES, CHUNK_REJECTS, apply, apply_to_all, prepare
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.document import Recipe
from processor.cleaning.recipe.sheet import ROW, Source
from processor.cleaning.recipe.stage import CHANGES, DUPLICATES, FINDINGS, REJECTS
from processor.cleaning.room import Room
from processor.cleaning.survey import opened
from processor.cleaning.whole.tables import columns_of, load_tables, look_at
from processor.step import Report

BEGINNING = "Looking at the files"
_NONE = "(SELECT NULL::BIGINT AS row_ WHERE false)"


def preview(
    path: Path,
    recipe: Recipe,
    reading: Options,
    most: int,
    room: Room,
    report: Report,
    tables: Mapping[str, Path],
    *,
    spread: bool,
) -> dict[str, Any]:
    """Raises `StepError` if the file is no table, or the recipe does not fit it."""

    def look() -> None:
        report(0.0, BEGINNING)

    decisions = decide(path, reading)
    with opened(path) as fd, room.connect() as connection:
        layout = layout_of(fd, decisions)
        others = look_at(tables, room, look)
        plan = plan_for(recipe, layout.names, columns_of(others))
        said = load_tables(connection, others, room, look)
        sampled = take_sample(connection, fd, layout, most, room.scratch, report, spread=spread)
        report(0.9, "Applying the recipe")
        shown = _applied(connection, plan, sampled)
    return {
        "sample": {"rows": sampled.records, "spread": spread, "is_whole_file": sampled.is_all},
        **shown,
        "decisions": msgspec.to_builtins(decisions),
        "notes": [*decisions.notes, *_notes(plan, sampled), *said],
    }


def _applied(connection: duckdb.DuckDBPyConnection, plan: Plan, sampled: Sampled) -> dict[str, Any]:
    prepare(connection, plan.first)
    first = apply(connection, plan.first, Source(SAMPLE, ROW))
    cleaned, gone = first.cleaned, _NONE
    changes, rejects, duplicates, findings = [CHUNK_CHANGES], [CHUNK_REJECTS], list[str](), list[str]()
    if plan.stages:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS {cleaned}")
        cleaned = apply_to_all(connection, plan, "staged").cleaned
        gone = f"(SELECT {ROW} FROM {REJECTS} UNION ALL SELECT {ROW} FROM {DUPLICATES})"  # noqa: S608 - see sql.py
        changes, rejects = [*changes, CHANGES], [*rejects, REJECTS]
        duplicates, findings = [DUPLICATES], [FINDINGS]
    told: dict[str, list[dict[str, Any]]] = {
        "changes": _told(connection, changes, "column_, before, after", f"WHERE {ROW} NOT IN {gone}"),
        "rejects": _told(connection, rejects, "column_, reason, detail"),
        "duplicates": _told(connection, duplicates, "survivor AS survivor_row"),
        "findings": _told(connection, findings, "column_, found, expected, confidence"),
    }
    for misfit in sampled.misfits:
        whole = {"row": misfit.row, "line": misfit.line, "column": misfit.column, "reason": misfit.reason}
        told["rejects"].append({**whole, "detail": None, "rule": None, "rule_name": None, "text": misfit.text})
    told["rejects"].sort(key=lambda one: int(one["row"]))
    cells = ", ".join(f"CAST({column.slot} AS VARCHAR)" for column in plan.columns)
    rows = connection.execute(f"SELECT {ROW}, {cells} FROM ({cleaned}) ORDER BY {ROW}").fetchall()  # noqa: S608
    return {
        "rows": {
            "in": sampled.records,
            "out": len(rows),
            "rejected": len(told["rejects"]),
            "duplicates": len(told["duplicates"]),
        },
        "columns": [{"name": column.name, "type": column.type} for column in plan.columns],
        "cleaned": [{"row": row, "cells": list(values)} for row, *values in rows],
        **told,
        "rules": _counts(plan, told),
    }


def _told(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[str], fields: str, where: str = ""
) -> list[dict[str, Any]]:
    if not tables:
        return []
    parts = " UNION ALL ".join(f"SELECT {ROW}, {fields}, rule, rule_name FROM {table} {where}" for table in tables)  # noqa: S608
    found = connection.execute(
        f"SELECT {ROW}, line_, told.* EXCLUDE ({ROW}) FROM ({parts}) told JOIN {SAMPLE} USING ({ROW}) "  # noqa: S608
        f"ORDER BY {ROW}, rule"
    )
    names = [name.rstrip("_") for name, *_ in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _counts(plan: Plan, told: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    by_rule = {what: Counter(one["rule"] for one in entries) for what, entries in told.items()}
    return [
        {
            "rule": at,
            "name": rule.__struct_config__.tag,
            "needs_all_rows": rule.needs_all_rows,
            "cells": by_rule["changes"][at],
            **{what: by_rule[what][at] for what in ("rejects", "duplicates", "findings")},
        }
        for at, rule in enumerate(plan.recipe.rules)
    ]


def _notes(plan: Plan, sampled: Sampled) -> list[str]:
    if sampled.is_all:
        return []
    notes = [f"This is what becomes of {counted(sampled.records, 'record')}, and not of all that the file has."]
    whole = [
        f"{rule.__struct_config__.tag} (rules[{at}])"
        for at, rule in enumerate(plan.recipe.rules)
        if rule.needs_all_rows
    ]
    if whole:
        notes.append(
            f"What needs all rows has seen these only, and may find more or other things in all: {', '.join(whole)}."
        )
    return notes
