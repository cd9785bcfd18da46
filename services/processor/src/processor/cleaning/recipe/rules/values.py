"""Values of a recipe beside the values of a column."""

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Annotated, TypeAlias

from msgspec import Meta

from processor.cleaning.recipe.rules.rule import WrongRule
from processor.cleaning.recipe.sheet import Column
from processor.cleaning.sql import TEXT, literal
from processor.language.problems import Path

Value: TypeAlias = Annotated[
    str | int | float | bool, Meta(description="A text, a number, true or false. A date is a text: 2021-04-03.")
]

_MOST_DIGITS = 38  # of a DECIMAL
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
# Python reads more forms as such, which of them by its version, and DuckDB others.
_DATE = re.compile(_DAY)
_TIMESTAMP = re.compile(_DAY + r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?")


def value_of(column: Column, value: Value, path: Path, *, to_have: bool = False) -> str:
    """In SQL, to be compared with the column, or what its cells are `to_have`."""
    written = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return _in_sql(column.type, written, to_have)
    except (ValueError, InvalidOperation):
        detail = f"{written[:80]!r} is no {column.type}, which the column is at this place of the recipe."
        raise WrongRule(path, "wrong_value", detail) from None


def is_more(value: Value, other: Value) -> bool:
    """Whether it is, in any column that has a type and can have both."""
    try:
        one, two = _ordered(value), _ordered(other)
        return one > two  # type: ignore[operator]
    except (ValueError, InvalidOperation, TypeError):
        return False  # the column will tell which of them it cannot have


def _ordered(value: Value) -> Decimal | datetime:
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        return datetime.fromisoformat(value)
    return Decimal(str(value) if isinstance(value, float) else value)


def _in_sql(type_: str, written: str, to_have: bool) -> str:
    """Raises `ValueError` for what such a column cannot have."""
    match type_.partition("(")[0]:
        case "BOOLEAN":
            text = _that(written, written in ("true", "false"))
        case "BIGINT":
            number = int(written)
            text = _that(str(number), -(2**63) <= number < 2**63)
        case "DOUBLE":
            text = _that(repr(float(written)), isfinite(float(written)))
        case "DECIMAL":
            return _decimal(type_, Decimal(written), to_have)
        case "DATE":
            text = _that(written, _DATE.fullmatch(written) and date.fromisoformat(written))
        case "TIMESTAMP":
            text = _that(written, _TIMESTAMP.fullmatch(written) and datetime.fromisoformat(written))
        case _:
            return literal(written)
    return f"CAST({literal(text)} AS {type_})"


def _that(text: str, is_so: object) -> str:
    if not is_so:
        raise ValueError
    return text


def _decimal(type_: str, number: Decimal, to_have: bool) -> str:
    """What is compared with a column may have more digits than that, and is as exact as it is written."""
    precision, scale = map(int, type_.removeprefix("DECIMAL(").rstrip(")").split(","))
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError
    text = f"{number:f}"
    before, _, after = text.lstrip("-").partition(".")
    whole, places = len(before.lstrip("0")), len(after.rstrip("0"))
    if to_have and (places > scale or whole > precision - scale):
        raise ValueError
    whole, places = max(whole, precision - scale), max(places, scale)
    if whole + places > _MOST_DIGITS:
        raise ValueError
    return f"CAST({literal(text)} AS DECIMAL({whole + places},{places}))"


def is_number(column: Column) -> bool:
    return column.type != TEXT and column.type.partition("(")[0] in ("BIGINT", "DOUBLE", "DECIMAL")
