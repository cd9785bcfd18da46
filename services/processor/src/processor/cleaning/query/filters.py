"""The parameters of a query as SQL: columns are slots of ours (c0, c1, …), and values are bound."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from processor.cleaning.query.syntax import Comparison, Unreadable, comparison, names, order
from processor.cleaning.query.values import KNOWN, ORDERED, TEXT, WrongValue, kind_of, value_of
from processor.language.problems import Problem, did_you_mean, shortened
from processor.step import StepError

_MOST_CONDITIONS = 50
_MOST_VALUES = 1_000  # of `in`
_ORDERING = frozenset({"<", "<=", ">", ">=", "between"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # of DuckDB
    slot: str


@dataclass(frozen=True, slots=True)
class Condition:
    sql: str = "true"
    values: tuple[Any, ...] = ()


class Table:
    """What may be asked of a table with these columns. Raises `StepError` that names the parameter, and what in it."""

    def __init__(self, columns: Sequence[tuple[str, str]]) -> None:
        self.columns = [Column(name, type_, f"c{at}") for at, (name, type_) in enumerate(columns)]
        self._named: Mapping[str, Column] = {column.name: column for column in self.columns}

    def selected(self, text: str | None) -> list[Column]:
        if text is None:
            return self.columns
        found = [self._column(name, "columns") for name in _read("columns", names, text)]
        if len({column.name for column in found}) < len(found):
            raise _wrong("columns", "repeated", "Name each column once.")
        return found

    def ordered(self, text: str | None) -> list[str]:
        """Missing values come last, whichever way."""
        if text is None:
            return []
        wanted = [(self._column(one.column, "order"), one.descending) for one in _read("order", order, text)]
        return [f"{column.slot} {'DESC' if descending else 'ASC'} NULLS LAST" for column, descending in wanted]

    def filtered(self, texts: Sequence[str]) -> Condition:
        """All conditions hold."""
        if len(texts) > _MOST_CONDITIONS:
            raise _wrong("where", "too_many", f"There are at most {_MOST_CONDITIONS} conditions.")
        found: list[Condition] = []
        for at, text in enumerate(texts):
            place = f"where[{at}]"
            found.append(self._condition(_read(place, comparison, text), place))
        return Condition(
            " AND ".join(f"({one.sql})" for one in found) or "true",
            tuple(value for one in found for value in one.values),
        )

    def _condition(self, said: Comparison, place: str) -> Condition:
        column = self._column(said.column, place)
        slot, kind, operator = column.slot, kind_of(column.type), said.operator
        if operator in ("is", "not"):
            if said.values != ("null",):
                raise _wrong(place, "wrong_value", "Only null can be asked for so: amount:is:null, amount:not:null.")
            return Condition(f"{slot} IS {'NOT ' * (operator == 'not')}NULL")
        if kind not in KNOWN:
            detail = f"The column {shortened(column.name)} is {column.type:.80}, of which only null can be asked for."
            raise _wrong(place, "wrong_type", detail)
        if (operator in _ORDERING and kind not in ORDERED) or (operator == "~" and kind != TEXT):
            detail = f"The column {shortened(column.name)} is {column.type}, which does not go with {operator}."
            raise _wrong(place, "wrong_type", detail)
        if operator == "between" and len(said.values) != 2:
            raise _wrong(place, "wrong_value", "Between takes two values: day:between:2024-01-01,2024-01-31.")
        if len(said.values) > _MOST_VALUES:
            raise _wrong(place, "too_many", f"There are at most {_MOST_VALUES:,} values in a list.")
        values = tuple(_value(column, text, place) for text in said.values)
        bound = f"CAST(? AS {column.type})"
        match operator:
            case "in":
                return Condition(f"{slot} IN ({', '.join([bound] * len(values))})", values)
            case "between":
                return Condition(f"{slot} BETWEEN {bound} AND {bound}", values)
            case "~":
                return Condition(f"contains({slot}, {bound})", values)
            case "!=":
                return Condition(f"{slot} IS DISTINCT FROM {bound}", values)
            case _:
                return Condition(f"{slot} {operator} {bound}", values)

    def _column(self, name: str, place: str) -> Column:
        column = self._named.get(name)
        if column is None:
            detail = f"There is no column {shortened(name)}.{did_you_mean(name, self._named)}"
            raise _wrong(place, "unknown_column", detail)
        return column


def _value(column: Column, text: str, place: str) -> Any:
    try:
        return value_of(column.type, text)
    except WrongValue as expected:
        detail = f"The column {shortened(column.name)} is {column.type}: {shortened(text)!r} is not {expected}."
        raise _wrong(place, "wrong_value", detail) from None


def _read(place: str, read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except Unreadable as expected:
        raise _wrong(place, "unreadable", str(expected)) from None


def _wrong(place: str, code: str, detail: str) -> StepError:
    return StepError("invalid_query", f"{place}: {detail}", [Problem(place, code, detail)])
