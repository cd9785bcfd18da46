"""What the columns hold, by their values in a sample: integers, decimals, yes and no, dates, or text."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import msgspec
from msgspec import UNSET

from processor.cleaning.reading.dates import Dates, read_dates
from processor.cleaning.reading.decisions import Decision, decided, overridden
from processor.cleaning.reading.kind import Decimal, Kind, Name
from processor.cleaning.reading.numbers import Marks, Numbers, read_numbers
from processor.cleaning.reading.options import Options
from processor.cleaning.reading.words import is_null, may_be_null, nulls_in, yes_and_no
from processor.step import StepError

_FITTING = 0.9  # share of its values that a column's kind must fit
_CODES = 0.01  # share of numbers with zeros before them that makes codes of them all
_FIRST_COLUMNS, _FIRST_LOOK = 300, 300  # columns, and values of each, to find what they have in common
_FEWEST_COMPACT_DATES = 3
_TEXT = Kind("text")

T = TypeVar("T")
Found = tuple[Kind, float, str, list[tuple[Kind, float]]]


class Column(msgspec.Struct, frozen=True):
    name: str
    kind: Decision[Kind]
    seen: int  # values in the sample
    missing: int  # empty fields, and null tokens


@dataclass(slots=True)
class _Usual:
    """What the columns have in common that say so themselves."""

    decimal: Decimal | None = None
    order: str | None = None


def decide_columns(
    names: Sequence[str], rows: Sequence[Sequence[str]], options: Options, hint: Decimal | None
) -> list[Column]:
    """Of rows that are as wide as the names are many. `hint` is the decimal mark that the dialect makes likely."""
    given = {} if options.columns is UNSET else dict(options.columns)
    unknown = [name for name in given if name not in names]
    if unknown:
        detail = f"The option `columns.{unknown[0]:.100}` cannot be: there is no such column."
        raise StepError("invalid_option", detail)
    nulls = () if options.nulls is UNSET else tuple(options.nulls)
    values = [[row[at].strip() for row in rows] for at in range(len(names))]
    usual = _usual(values, nulls)
    usual.decimal = usual.decimal or hint
    columns: list[Column] = []
    for name, column in zip(names, values, strict=True):
        decision = overridden(given[name]) if name in given else _decide(column, usual, options.nulls is UNSET, nulls)
        missing = sum(not value or value in decision.value.nulls for value in column)
        columns.append(Column(name, decision, len(column), missing))
    return columns


def _usual(values: Iterable[Sequence[str]], nulls: tuple[str, ...]) -> _Usual:
    decimals: Counter[Decimal] = Counter()
    orders: Counter[str] = Counter()
    for column in islice(values, _FIRST_COLUMNS):
        filled = _filled(column[:_FIRST_LOOK], nulls, is_typed=True)
        counted = Counter(filled)
        if (numbers := read_numbers(counted, None)) and numbers.sure > 0.9 and not numbers.is_whole:
            decimals[numbers.marks.decimal] += 1
        elif (dates := read_dates(counted, filled, None)) and dates.order:
            orders[dates.order] += 1
    return _Usual(_commonest(decimals), _commonest(orders))


def _commonest(counted: Counter[T]) -> T | None:
    return counted.most_common(1)[0][0] if counted else None


def _filled(column: Iterable[str], nulls: tuple[str, ...], *, is_typed: bool) -> list[str]:
    return [
        value
        for value in column
        if value and value not in nulls and not is_null(value) and not (is_typed and may_be_null(value))
    ]


def _decide(column: Sequence[str], usual: _Usual, may_find_nulls: bool, given: tuple[str, ...]) -> Decision[Kind]:
    typed = _typed(_filled(column, given, is_typed=True), usual)
    kind, sure, reason, others = typed or _text(_filled(column, given, is_typed=False))
    nulls = (*given, *(nulls_in(column, is_typed=kind.kind != "text") if may_find_nulls else ()))
    if typed and nulls:
        reason = f"{reason} {_listed(nulls)} for no value."
    return decided(_with(kind, nulls), sure, reason, [(_with(other, nulls), likely) for other, likely in others])


def _with(kind: Kind, nulls: tuple[str, ...]) -> Kind:
    return msgspec.structs.replace(kind, nulls=tuple(dict.fromkeys(nulls)))


def _listed(nulls: tuple[str, ...]) -> str:
    return f"{', '.join(repr(null) for null in nulls[:5])} {'stands' if len(nulls) == 1 else 'stand'}"


def _text(filled: Sequence[str]) -> Found:
    if not filled:
        return _TEXT, 0.3, "It has no value in the sample.", []
    return _TEXT, 1 - 0.5 ** min(10, len(filled)), "Its values are neither numbers nor dates nor yes and no.", []


def _typed(filled: Sequence[str], usual: _Usual) -> Found | None:
    if not filled:
        return None
    values = Counter(filled)
    dates = read_dates(values, filled, usual.order)
    if (
        dates
        and dates.fitting >= _FITTING
        and not (dates.formats == ("%Y%m%d",) and (len(values) < _FEWEST_COMPACT_DATES or dates.fitting < 1))
    ):
        return _dates(dates, len(filled))
    words = yes_and_no(values)
    if words and words[2] >= _FITTING:
        trues, falses, fitting = words
        kind = Kind("boolean", true=trues, false=falses)
        sure = _sure(fitting, len(filled)) * (1.0 if trues and falses else 0.8)
        reason = f"{_fits(fitting)} are {' or '.join(repr(word) for word in (*trues, *falses)[:6])}."
        return kind, sure, reason, [(_TEXT, 1 - sure)]
    numbers = read_numbers(values, usual.decimal)
    return _numbers(numbers, values, len(filled)) if numbers and numbers.fitting >= _FITTING else None


def _dates(dates: Dates, count: int) -> Found:
    name: Name = "timestamp" if dates.are_timestamps else "date"
    kind = Kind(name, formats=dates.formats, language=dates.language)
    sure = _sure(dates.fitting, count) * dates.sure
    others = [(Kind(name, formats=dates.other, language=dates.language), 1 - dates.sure)] if dates.other else []
    reason = f"{_fits(dates.fitting)} are {name}s as {' or '.join(dates.formats[:3])}. {dates.reason}".rstrip()
    return kind, sure, reason, [*others, (_TEXT, 1 - dates.fitting)]


def _numbers(numbers: Numbers, values: Counter[str], count: int) -> Found:
    kind = _number(numbers.marks, numbers.is_whole)
    sure = _sure(numbers.fitting, count) * numbers.sure
    if numbers.codes > _CODES:
        reason = "Its numbers have zeros or a plus before them, or very many digits, which they would lose."
        return _TEXT, 0.9, reason, [(kind, 0.1)]
    others = [(_TEXT, 1 - numbers.fitting)]
    if numbers.other:
        others.append((_number(numbers.other, numbers.other.thousands is not None), 1 - numbers.sure))
    if set(values) <= {"0", "1"}:
        others.append((Kind("boolean", true=("1",), false=("0",)), 0.4))
    return kind, sure, f"{_fits(numbers.fitting)} are numbers. {numbers.reason}", others


def _number(marks: Marks, is_whole: bool) -> Kind:
    if is_whole and marks.thousands is None:
        return Kind("integer")
    return Kind("integer" if is_whole else "decimal", decimal=marks.decimal, thousands=marks.thousands)


def _fits(fitting: float) -> str:
    return "All values" if fitting == 1 else f"{min(0.999, fitting):.1%} of the values"


def _sure(fitting: float, count: int) -> float:
    """One value proves little, and ten prove much."""
    return fitting * (1 - 0.5 ** min(10, count))
