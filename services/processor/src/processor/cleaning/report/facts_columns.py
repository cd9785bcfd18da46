"""What the columns of the cleaned table hold: of all of them what Parquet says of itself, and of some a closer look at
rows that are evenly spread, which are all rows of a table that is not large."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from processor.cleaning.report.binning import Numbers, bins_of, edges_of
from processor.cleaning.report.document import Spread, Value
from processor.cleaning.report.facts_log import shortened
from processor.cleaning.report.tables import Tables, filled, stretches
from processor.cleaning.sql import TEXT, identifier, literal

_MOST_CELLS = 1_000_000
_MOST_ROWS, _FEWEST_ROWS = 50_000, 2_000
_MOST_TOP = 10
_AT_ONCE = 100  # columns in one query
_LONGEST = 600  # characters of a text that are kept
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")


@dataclass(frozen=True, slots=True)
class Basics:
    missing: int
    least: str | None
    most: str | None


def is_number(type_: str) -> bool:
    return type_.partition("(")[0] in _NUMBERS


def unit_of(type_: str) -> str | None:
    """What its plot is over; None for what has only a few values."""
    if is_number(type_):
        return "number"
    if type_ == "DATE" or type_.startswith("TIMESTAMP"):
        return "date" if type_ == "DATE" else "timestamp"
    return "characters" if type_ == TEXT else None


def basics(tables: Tables, columns: Sequence[tuple[str, str]]) -> list[Basics]:
    """Exactly, and without reading the values, but for texts that may be empty."""
    path = literal(str(tables.files / "cleaned.parquet"))
    found = tables.run(f"""
        SELECT column_id, sum(stats_null_count), bool_or(stats_null_count IS NULL),
            arg_min(stats_min_value, try_cast(stats_min_value AS DOUBLE)),
            arg_max(stats_max_value, try_cast(stats_max_value AS DOUBLE)),
            min(stats_min_value), max(stats_max_value),
            bool_or(coalesce(stats_min_value, '') = '' AND num_values > coalesce(stats_null_count, 0))
        FROM parquet_metadata({path}) GROUP BY 1
    """)  # noqa: S608
    said = {int(column): rest for column, *rest in found}
    unsure = [at for at in said if said[at][1] or (columns[at][1] == TEXT and said[at][6])]
    missing = {at: int(said[at][0] or 0) for at in said} | _missing(tables, columns, unsure)
    return [
        Basics(missing.get(at, 0), *_ends(said[at], type_)) if at in said else Basics(0, None, None)
        for at, (_, type_) in enumerate(columns)
    ]


def _missing(tables: Tables, columns: Sequence[tuple[str, str]], which: Sequence[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for first in range(0, len(which), _AT_ONCE):
        part = which[first : first + _AT_ONCE]
        counts = ", ".join(f"count_if({_is_missing(*columns[at])})" for at in part)
        found |= zip(part, tables.run(f"SELECT {counts} FROM {tables.parquet('cleaned')}")[0], strict=True)  # noqa: S608
    return found


def _is_missing(name: str, type_: str) -> str:
    column = identifier(name)
    return f"{column} IS NULL OR {column} = ''" if type_ == TEXT else f"{column} IS NULL"


def _ends(said: Sequence[Any], type_: str) -> tuple[str | None, str | None]:
    if is_number(type_):
        return said[2], said[3]
    if unit_of(type_) in ("date", "timestamp"):
        return said[4], said[5]
    return None, None  # of texts, Parquet may say the beginning only


class Closer:
    """Some columns of some rows, evenly spread, in a table of their own."""

    def __init__(self, tables: Tables, columns: dict[int, tuple[str, str]], rows: int) -> None:
        """`columns` by their places."""
        most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_CELLS // max(1, len(columns))))
        self._tables = tables
        self._columns = columns
        cells = ", ".join(self._cell(at) for at in columns)
        tables.run(
            f"CREATE OR REPLACE TEMP TABLE closer AS SELECT {cells or 'NULL'} FROM {tables.by_slots('cleaned')} "  # noqa: S608
            f"WHERE {stretches(rows, most)}"
        )
        self.rows = int(tables.run("SELECT count(*) FROM closer")[0][0])
        self.is_all = self.rows == rows

    def _cell(self, at: int) -> str:
        column = f"s{at}"
        if self._columns[at][1] != TEXT:
            return f"{column} AS v{at}"
        kept = f"CASE WHEN length({column}) > {_LONGEST} THEN left({column}, {_LONGEST}) || md5({column}) ELSE {column}"
        return f"{kept} END AS v{at}, length({column}) AS n{at}"

    def numbers(self, at: int) -> Numbers:
        """The values that are there, as numbers; of text, how long they are."""
        values = self.with_gaps([at])[0]
        present: Numbers = values[np.isfinite(values)]
        return present

    def with_gaps(self, places: Sequence[int]) -> list[Numbers]:
        """In the order of the rows; NaN where there is none."""
        cells = ", ".join(f"{self._number(at)} AS x{at}" for at in places)
        got = self._tables.arrays(f"SELECT {cells} FROM closer")  # noqa: S608
        return [filled(got[f"x{at}"]) for at in places]

    def _number(self, at: int) -> str:
        match unit_of(self._columns[at][1]):
            case "number":
                return f"CAST(v{at} AS DOUBLE)"
            case "characters":
                return f"CAST(CASE WHEN n{at} > 0 THEN n{at} END AS DOUBLE)"
            case _:
                return f"epoch(v{at})"

    def spread(self, at: int, edges: Numbers | None, numbers: Numbers | None) -> Spread:
        type_ = self._columns[at][1]
        there_is = f"v{at} IS NOT NULL AND v{at} <> ''" if type_ == TEXT else f"v{at} IS NOT NULL"
        ((there, distinct),) = self._tables.run(
            f"SELECT count(*) FILTER ({there_is}), count(DISTINCT v{at}) FILTER ({there_is}) FROM closer"  # noqa: S608
        )
        top = self._tables.run(
            f"SELECT CAST(v{at} AS VARCHAR), count(*) FROM closer WHERE {there_is} GROUP BY 1 "  # noqa: S608
            f"ORDER BY 2 DESC, 1 LIMIT {_MOST_TOP}"
        )
        values = tuple(Value(shortened(value) or "", count) for value, count in top) if distinct < there else ()
        return _spread(self.rows, self.is_all, self.rows - there, distinct, values, (edges, numbers, unit_of(type_)))


def spread_before(
    counts: Counter[str], rows: int, is_all: bool, edges: Numbers | None, numbers: Numbers | None, unit: str | None
) -> Spread:
    """Of a column as it stood in the file, by how many times each of its values is there."""
    there = counts.total()
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_TOP] if len(counts) < there else []
    values = tuple(Value(shortened(value) or "", count) for value, count in top)
    return _spread(rows, is_all, rows - there, len(counts), values, (edges, numbers, unit))


def common_edges(after: Numbers, before: Numbers | None, unit: str) -> Numbers | None:
    samples = [values for values in (after, before) if values is not None and len(values)]
    return edges_of(samples, unit) if samples else None


def _spread(
    rows: int,
    is_all: bool,
    missing: int,
    distinct: int,
    top: tuple[Value, ...],
    plotted: tuple[Numbers | None, Numbers | None, str | None],
) -> Spread:
    edges, numbers, unit = plotted
    if numbers is None or edges is None or unit is None:
        return Spread(rows, is_all, missing, distinct, top)
    bins, readable = bins_of(numbers, edges, unit), len(numbers)
    if not readable:
        return Spread(rows, is_all, missing, distinct, top, bins, readable)
    low, middle, high = (float(at) for at in np.quantile(numbers, [0.25, 0.5, 0.75]))
    deviation = float(numbers.std(ddof=1)) if readable > 1 else None
    return Spread(
        rows, is_all, missing, distinct, top, bins, readable, float(numbers.mean()), deviation, (low, middle, high)
    )
