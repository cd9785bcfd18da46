"""Cells of the file as numbers and times, by what their column was recognised as: for the plots of before."""

from collections import Counter

import numpy as np

from processor.cleaning.reading.kind import Kind
from processor.cleaning.report.binning import Numbers
from processor.cleaning.report.tables import Tables
from processor.cleaning.sql import literal, literals

TIMES = ("date", "timestamp")


def is_missing(text: str | None) -> bool:
    return text is None or text == ""


def numbers_of(tables: Tables, cells: Counter[str], kind: Kind, unit: str | None) -> Numbers | None:
    """Those that can be read, in no order; of text, how long each is. None if the column is of another kind than the
    plot."""
    if unit == "characters":
        return np.array([len(cell) for cell in cells.elements()], np.float64)
    sql = _sql(kind)
    if sql is None or unit is None or (kind.kind in TIMES) != (unit in TIMES):
        return None
    read, times = tables.numbers(sql, list(cells), list(cells.values()))
    there = np.isfinite(read)
    numbers: Numbers = np.repeat(read[there], times[there])
    return numbers


def told(kind: Kind) -> str:
    """In words."""
    match kind.kind:
        case "integer" | "decimal":
            marks = [f"decimal mark “{kind.decimal}”"] if kind.kind == "decimal" else []
            marks += [f"thousands by “{kind.thousands}”"] if kind.thousands else []
            return f"{kind.kind}{', ' if marks else ''}{', '.join(marks)}"
        case "date" | "timestamp" if kind.formats:
            return f"{kind.kind} as {' or '.join(kind.formats[:3])}"
        case "boolean" if kind.true or kind.false:
            return f"boolean as {', '.join((*kind.true[:3], *kind.false[:3]))}"
        case _:
            return kind.kind


def _sql(kind: Kind) -> str | None:
    """Over `cell`. None for what has no place on a line: text, yes and no."""
    match kind.kind:
        case "integer" | "decimal":
            plain = "trim(cell)"
            if kind.thousands:
                plain = f"replace({plain}, {literal(kind.thousands)}, '')"
            if kind.decimal != ".":
                plain = f"replace({plain}, {literal(kind.decimal)}, '.')"
            return f"TRY_CAST({plain} AS DOUBLE)"
        case "date" | "timestamp" if kind.formats:
            return f"epoch(try_strptime(trim(cell), [{literals(kind.formats)}]))"
        case _:
            return None
