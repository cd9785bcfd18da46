"""Columns that hold numbers, dates, or yes and no."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from processor.cleaning.reading.decisions import counted
from processor.cleaning.reading.kind import Kind
from processor.cleaning.reading.kinds import Column
from processor.cleaning.recipe.rules.booleans import Boolean
from processor.cleaning.recipe.rules.dates import Date, Timestamp
from processor.cleaning.recipe.rules.numbers import Decimal, Integer, Number
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.sql import literal
from processor.cleaning.suggesting.proposal import Choice, Found, Proposal, Question, nothing
from processor.cleaning.suggesting.values import Values

_MOST_SCALE, _MOST_DIGITS, _USUAL_DIGITS = 6, 38, 18  # of more digits after the mark, numbers are measured, not counted
_ISO = re.compile(r"%Y-%m-%d(?:[T ]%H:%M(?::%S(?:\.%f)?)?)?")
_NUMERIC_DAY = re.compile(r"%[dm]([-/. ])%[dm]\1%[yY]")  # first in a form: which of the two comes first must be known
_PAIR = r"^([0-9]{1,2})[-/. ]([0-9]{1,2})[-/. ]"
_LARGEST_MONTH = 12
_WINDOWS = (1950, 1925)  # that years of two digits are mostly meant in


def propose_type(column: Column, values: Values) -> Found:
    """`values` are those of all rows."""
    kind = column.kind.value
    match kind.kind:
        case "text":
            return nothing()
        case "boolean":
            return _boolean(column.name, kind)
        case "integer" | "decimal":
            return _number(column, values)
        case _:
            return _day(column, values)


def _boolean(name: str, kind: Kind) -> Found:
    if not kind.true or not kind.false:
        return nothing()
    yes, no = (tuple(dict.fromkeys(word.lower() for word in words)) for words in (kind.true, kind.false))
    why = f"The values mean yes ({_listed(yes)}) or no ({_listed(no)})."
    return Found([Proposal(Boolean(columns=(name,), true=yes, false=no), why)], [])


def _number(column: Column, values: Values) -> Found:
    name, kind = column.name, column.kind.value
    rule = numeric(name, kind, values)
    others = [
        numeric(name, other.value, values)
        for other in column.kind.alternatives
        if other.value.kind in ("integer", "decimal") and (other.value.decimal, other.value.thousands) != _marks(kind)
    ]
    for other in others if not column.kind.overridden else []:
        mine, its = values.fits(rule), values.fits(other)
        if mine.read == its.read:
            asks = (
                f"In {name}, {_marks_told(kind)} can be read in two ways: all {mine.read:,} numbers are such in both. "
                "Which one is meant?"
            )
            return Found([], [Question((name,), asks, (Choice(_written(rule), rule), Choice(_written(other), other)))])
        if its.read > mine.read:
            rule = other
    marks = f" {_written(rule)}" if kind.thousands or not isinstance(rule, Integer) else ""
    return Found([Proposal(rule, f"{_what(rule)}{marks}")], [])


def numeric(name: str, kind: Kind, values: Values) -> Rule:
    """The rule that reads such numbers, and loses no digit of them."""
    thousands = kind.thousands or ""
    if kind.kind == "integer":
        return Integer(columns=(name,), thousands=thousands)
    number = Number(columns=(name,), decimal=kind.decimal, thousands=thousands)
    return fixed(number, values) or number


def fixed(rule: Number, values: Values) -> Decimal | None:
    """A number of fixed digits, if the values have few after the mark and none has an exponent."""
    mark = literal(rule.decimal)
    # What is beside the digits may make the numbers seem longer than they are, and so does what is no number.
    bare = "regexp_replace(c0, '[^0-9.,]', '', 'g')" if rule.currency or rule.percent or rule.parentheses else "c0"
    numbers = "FILTER (c0 < ':')" if bare == "c0" else ""
    powers, scale, whole = values.figures(
        "count_if(contains(lower(c0), 'e') AND regexp_matches(c0, '[0-9][eE][-+]?[0-9]'))",
        f"max(strlen(split_part({bare}, {mark}, 2))) {numbers}",
        f"max(strlen(split_part({bare}, {mark}, 1))) {numbers}",
    )
    if powers:
        return None
    if scale > _MOST_SCALE or whole + scale > _MOST_DIGITS:
        return None
    scale = max(scale, 1) + (2 if rule.percent else 0)
    precision = _USUAL_DIGITS if whole + scale <= _USUAL_DIGITS else _MOST_DIGITS
    return Decimal(
        columns=rule.columns,
        decimal=rule.decimal,
        thousands=rule.thousands,
        currency=rule.currency,
        percent=rule.percent,
        parentheses=rule.parentheses,
        scale=scale,
        precision=precision,
    )


def _day(column: Column, values: Values) -> Found:
    name, kind = column.name, column.kind.value
    formats = kind.formats
    if any("%z" in form or form.endswith(("Z", "UTC")) for form in formats):
        return _zoned(name, kind)
    if column.kind.overridden or not any(_NUMERIC_DAY.match(form) for form in formats):
        return _with_years(name, kind, formats)
    pair = [f"TRY_CAST(regexp_extract(c0, {literal(_PAIR)}, {at}) AS INTEGER)" for at in (1, 2)]
    first, second = values.figures(*(f"sum(n) FILTER ({part} > {_LARGEST_MONTH})" for part in pair))
    orders = {order: tuple(_ordered(form, order) for form in formats) for order in ("dm", "md")}
    if bool(first) == bool(second):
        both = f"In {first:,} values the first number is larger than 12, in {second:,} the second is"
        none = "No number is larger than 12 in any row"
        asks = (
            f"{both if first else none}: whether the day or the month comes first in {name} cannot be told. Which one?"
        )
        choices = tuple(
            Choice(f"The {word} comes first.", _temporal(name, kind, orders[order]))
            for word, order in (("day", "dm"), ("month", "md"))
        )
        return Found([], [Question((name,), asks, choices)])
    order, count, place = ("dm", first, "first") if first else ("md", second, "second")
    why = f"In {counted(count, 'value')} the {place} number is larger than 12, and nowhere the other: it is the day."
    return _with_years(name, kind, orders[order], why)


def _zoned(name: str, kind: Kind) -> Found:
    marks = {
        form[-3:] if form.endswith("UTC") else form[-1:] if form.endswith("Z") else form[-2:] for form in kind.formats
    }
    if len(marks) > 1:
        return Found(
            [], [Question((name,), f"Some times in {name} name a time zone and some do not, or in another way.")]
        )
    zone = "UTC" if marks == {"%z"} else None
    rule = msgspec.structs.replace(_temporal(name, kind, kind.formats), zone=zone)
    why = f"The values are times as {_told_forms(kind.formats)}{', and are written as those of UTC' if zone else ''}."
    return _checked(rule, why)


def _with_years(name: str, kind: Kind, formats: Sequence[str], why: str = "") -> Found:
    said = f"The values are {kind.kind}s as {_told_forms(formats)}. {why}".rstrip()
    rule = _temporal(name, kind, tuple(formats))
    if not any("%y" in form for form in formats):
        return _checked(rule, said)
    asks = f"{said} The years in {name} have two digits. Which hundred years are meant?"
    choices = (Choice(f"{first} to {first + 99}", _temporal(name, kind, tuple(formats), first)) for first in _WINDOWS)
    return Found([], [Question((name,), asks, tuple(choices))])


def _temporal(name: str, kind: Kind, formats: Sequence[str], first_year: int | None = None) -> Rule:
    said: dict[str, Any] = {}
    if not all(_ISO.fullmatch(form) for form in formats):
        said["formats"] = tuple(formats)
    if kind.language != "en":
        said["languages"] = (kind.language,)
    if first_year is not None:
        said["two_digit_years"] = first_year
    return Date(columns=(name,), **said) if kind.kind == "date" else Timestamp(columns=(name,), **said)


def _checked(rule: Rule, why: str) -> Found:
    """What our rules do not read stays text."""
    return Found([], []) if any(rule.check()) else Found([Proposal(rule, why)], [])


def _ordered(form: str, order: str) -> str:
    found = _NUMERIC_DAY.match(form)
    if found is None:
        return form
    mark = found[1]
    return f"%{order[0]}{mark}%{order[1]}{mark}{form[found.end() - 2 :]}"


def _told_forms(formats: Sequence[str]) -> str:
    return " or ".join(formats[:3]) + (" …" if len(formats) > 3 else "")


def _marks(kind: Kind) -> tuple[str, str | None]:
    return kind.decimal, kind.thousands


def _marks_told(kind: Kind) -> str:
    sign = kind.thousands or kind.decimal
    return {",": "a comma", ".": "a point"}.get(sign, "a mark")


def _what(rule: Rule) -> str:
    return {
        Integer: "The values are whole numbers.",
        Decimal: "The values are numbers with a few digits after the mark.",
    }.get(type(rule), "The values are numbers.")


def _written(rule: Rule) -> str:
    assert isinstance(rule, Integer | Number | Decimal)
    groups = f"{rule.thousands!r} parts thousands" if rule.thousands else "nothing parts thousands"
    return f"{groups}{'' if isinstance(rule, Integer) else f', {rule.decimal!r} is before decimals'}.".capitalize()


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (" …" if len(words) > 5 else "")
