"""Values of a query, read by the type of the column that they are compared with."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?")
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(rf"({_DATE.pattern})(?:[T ]([0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?))?")
_DECIMAL_TYPE = re.compile(r"DECIMAL\(([0-9]+),([0-9]+)\)")
_BITS: Mapping[str, int] = MappingProxyType({"INTEGER": 32, "BIGINT": 64})

TEXT = "VARCHAR"
ORDERED = frozenset({TEXT, "INTEGER", "BIGINT", "DECIMAL", "DOUBLE", "DATE", "TIMESTAMP"})
KNOWN = ORDERED | {"BOOLEAN"}


class WrongValue(ValueError):
    """What was expected, to go on behind `expected`."""


def kind_of(type_: str) -> str:
    """DECIMAL, whatever its precision; a type that we do not know stays as it is."""
    return "DECIMAL" if _DECIMAL_TYPE.fullmatch(type_) else type_


def value_of(type_: str, text: str) -> Any:
    """Raises `WrongValue`."""
    return _READERS[kind_of(type_)](type_, text if type_ == TEXT else text.strip())


def _integer(type_: str, text: str) -> int:
    bits = _BITS[type_]
    if _INTEGER.fullmatch(text) and -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
        return int(text)
    raise WrongValue(f"a whole number of {bits} bits, such as 42")


def _decimal(type_: str, text: str) -> Decimal:
    """Only what the column could hold: anything else would be compared less exactly than it is written."""
    match = _DECIMAL_TYPE.fullmatch(type_)
    assert match is not None
    precision, scale = int(match[1]), int(match[2])
    expected = f"a number with at most {precision - scale} digits before its point and {scale} behind it"
    if _DECIMAL.fullmatch(text) is None:
        raise WrongValue(expected)
    before, _, behind = text.lstrip("+-").partition(".")
    if len(before.lstrip("0")) > precision - scale or len(behind.rstrip("0")) > scale:
        raise WrongValue(expected)
    return Decimal(text)


def _number(_: str, text: str) -> float:
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    raise WrongValue("a number, such as -1.5 or 2e9")


def _boolean(_: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise WrongValue("true or false")
    return text.lower() == "true"


def _date(_: str, text: str) -> date:
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise WrongValue("a date, such as 2024-02-29")


def _timestamp(_: str, text: str) -> datetime:
    try:
        if match := _TIMESTAMP.fullmatch(text):
            return datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}")
    except ValueError:
        pass
    raise WrongValue("a time without a zone, such as 2024-02-29T13:37:00 or 2024-02-29")


_READERS: Mapping[str, Callable[[str, str], Any]] = MappingProxyType(
    {
        "VARCHAR": lambda _, text: text,
        "INTEGER": _integer,
        "BIGINT": _integer,
        "DECIMAL": _decimal,
        "DOUBLE": _number,
        "BOOLEAN": _boolean,
        "DATE": _date,
        "TIMESTAMP": _timestamp,
    }
)
