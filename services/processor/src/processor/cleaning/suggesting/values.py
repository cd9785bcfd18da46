"""What the cells of a column are, and how many of them a rule could read: of a sample, or of all rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import msgspec

from processor.cleaning.recipe.applying import prepare
from processor.cleaning.recipe.compiling import compile_recipe
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.text import NOTHING
from processor.cleaning.recipe.sheet import Source
from processor.cleaning.sql import WHITE, WHITE_CLASS, literal, literals
from processor.cleaning.suggesting.proposal import recipe_with
from processor.cleaning.suggesting.rows import Rows

_MOST_CELLS = 4_000_000  # of the sample
_FEWEST_ROWS = 100
_AT_ONCE = 50  # columns


@dataclass(frozen=True, slots=True)
class Fits:
    values: int  # that there are
    read: int  # of them

    @property
    def share(self) -> float:
        return self.read / self.values if self.values else 0.0


@dataclass(frozen=True, slots=True)
class Values:
    """Of one column: how often there is what, trimmed, and without the words for nothing. A relation with `c0`, `n`."""

    connection: duckdb.DuckDBPyConnection
    name: str
    relation: str

    def count(self, condition: str = "true") -> int:
        """Cells. The condition is on `c0`."""
        query = f"SELECT coalesce(sum(n), 0) FROM {self.relation} WHERE {condition}"  # noqa: S608 - see sql.py, here and below
        return int(self.connection.execute(query).fetchall()[0][0])

    def distinct(self) -> int:
        return int(self.connection.execute(f"SELECT count(*) FROM {self.relation}").fetchall()[0][0])  # noqa: S608

    def figures(self, *aggregates: str) -> tuple[int, ...]:
        """Of expressions over `c0` and `n`; 0 for those that are of nothing."""
        wanted = ", ".join(f"coalesce({aggregate}, 0)" for aggregate in aggregates)
        (found,) = self.connection.execute(f"SELECT {wanted} FROM {self.relation}").fetchall()  # noqa: S608
        return tuple(int(figure) for figure in found)

    def frequent(self, most: int) -> list[tuple[str, int]]:
        query = f"SELECT c0, n FROM {self.relation} ORDER BY n DESC, c0 LIMIT {most}"  # noqa: S608
        return [(str(text), int(count)) for text, count in self.connection.execute(query).fetchall()]

    def fits(self, rule: Rule) -> Fits:
        """`rule` is for the one column of this name."""
        values, read, _ = self._read(rule)
        return Fits(values, read)

    def changed(self, rule: Rule) -> int:
        """Cells that it would write otherwise."""
        return self._read(rule)[2]

    def digest(self, rule: Rule) -> str:
        """The same for two rules that read the same of all values."""
        query = f"SELECT bit_xor(hash(text, CAST(value AS DOUBLE))) FROM ({self._reading(rule)})"  # noqa: S608
        return str(self.connection.execute(query).fetchall()[0][0])

    def unread(self, rule: Rule, most: int) -> list[str]:
        query = f"""
            SELECT text FROM ({self._reading(rule)}) WHERE value IS NULL
            GROUP BY 1 ORDER BY sum(row_) DESC, text LIMIT {most}
        """  # noqa: S608
        return [str(text) for (text,) in self.connection.execute(query).fetchall()]

    def _read(self, rule: Rule) -> tuple[int, int, int]:
        query = f"""
            SELECT coalesce(sum(row_), 0), coalesce(sum(row_) FILTER (value IS NOT NULL), 0),
                coalesce(sum(row_) FILTER (CAST(value AS VARCHAR) <> text), 0) FROM ({self._reading(rule)})
        """  # noqa: S608
        values, read, changed = self.connection.execute(query).fetchall()[0]
        return int(values), int(read), int(changed)

    def _reading(self, rule: Rule) -> str:
        """`row_` is how often there is such a cell."""
        lenient = msgspec.structs.replace(rule, on_error="null")
        first = compile_recipe(recipe_with([lenient]), [self.name]).first
        prepare(self.connection, first)
        slot = first.sheet.columns[self.name].slot
        return first.sheet.select({"text": "c0", "value": slot}, Source(f"{self.relation} AS v", "n", is_table=False))


class Sample:
    """Rows from everywhere in the file, as many as are looked at to have ideas."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, rows: Rows, most: int) -> None:
        self._connection = connection
        self._rows = rows
        most = max(_FEWEST_ROWS, min(most, _MOST_CELLS // max(1, len(rows.names))))
        self.is_all = rows.count <= most
        some = "" if self.is_all else f" WHERE hash(row_) % {rows.count} < {most}"
        connection.execute(f"CREATE TEMP TABLE some_rows AS SELECT * FROM {rows.relation}{some}")  # noqa: S608

    def values(self, name: str, nulls: Sequence[str] = ()) -> Values:
        at = self._rows.names.index(name)
        table = f"values_{at}"
        cells = _cells("some_rows", f"c{at}", nulls)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {cells} GROUP BY 1")
        return Values(self._connection, name, table)

    def all_values(self, name: str, nulls: Sequence[str] = ()) -> Values:
        """Of all rows: each look goes through the whole column."""
        cells = _cells(self._rows.relation, self._rows.slot(name), nulls, "1")
        return Values(self._connection, name, f"({cells})")

    def words_for_nothing(self, name: str) -> tuple[str, ...]:
        """Those of the usual ones that some row has, as they are written in small letters."""
        slot, longest = self._rows.slot(name), max(map(len, NOTHING))
        trimmed = f"trim({slot}, {literal(WHITE)})"
        query = f"""
            SELECT DISTINCT lower({trimmed}) FROM {self._rows.relation}
            WHERE strlen({slot}) <= {longest + 8} AND NOT ({slot} >= '0' AND {slot} < ':')
                AND list_contains([{literals(NOTHING)}], lower({trimmed}))
        """  # noqa: S608
        return tuple(sorted(str(word) for (word,) in self._connection.execute(query).fetchall()))


def _cells(relation: str, slot: str, nulls: Sequence[str], count: str = "count(*)") -> str:
    trimmed = f"trim({slot}, {literal(WHITE)})"
    none = f" AND NOT list_contains([{literals(nulls)}], lower({trimmed}))" if nulls else ""
    return f"SELECT {trimmed} AS c0, {count} AS n FROM {relation} WHERE {trimmed} <> ''{none}"  # noqa: S608


def white_space(connection: duckdb.DuckDBPyConnection, rows: Rows, most: int) -> tuple[set[str], set[str], set[str]]:
    """Of the first columns, at most so many: those in which some cell has white space around it, those with odd
    white space within one, and those with several lines in one."""
    found: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    for begin in range(0, min(most, len(rows.names)), _AT_ONCE):
        names = rows.names[begin : begin + _AT_ONCE]
        looks = [f"bool_or({look})" for at in range(len(names)) for look in _white_space_in(f"c{begin + at}")]
        (seen,) = connection.execute(f"SELECT {', '.join(looks)} FROM {rows.relation}").fetchall()  # noqa: S608
        for at, name in enumerate(names):
            for which, is_there in zip(found, seen[3 * at : 3 * at + 3], strict=True):
                if is_there:
                    which.add(name)
    return found


def _white_space_in(slot: str) -> tuple[str, str, str]:
    """What most cells are is seen cheaply: they begin and end with a visible character of ASCII, and have single blanks
    between such."""
    trimmed = f"trim({slot}, {literal(WHITE)})"
    ends = " AND ".join(f"{end} >= '!' AND {end} < chr(128)" for end in (slot, f"right({slot}, 1)"))
    lines = " OR ".join(f"contains({trimmed}, chr({line_end}))" for line_end in (10, 13))
    odd = literal(f"[{WHITE_CLASS}]{{2,}}|[{WHITE_CLASS.replace(' ', '')}]")
    may_be = " OR ".join(f"contains({slot}, {mark})" for mark in ("'  '", *(f"chr({code})" for code in range(9, 14))))
    return (
        f"CASE WHEN {ends} THEN false ELSE {trimmed} <> {slot} END",
        f"CASE WHEN {may_be} OR strlen({slot}) <> length({slot}) THEN regexp_matches({trimmed}, {odd}) ELSE false END",
        f"CASE WHEN contains({slot}, chr(10)) OR contains({slot}, chr(13)) THEN {lines} ELSE false END",
    )
