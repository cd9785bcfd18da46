"""Numbers, and the marks that they are written with."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from processor.cleaning.reading.kind import Decimal, Thousands

_MOST_DIGITS = 18  # of a whole number that a BIGINT holds
_THOUSANDS: tuple[Thousands | None, ...] = (None, ",", ".", " ", "\xa0", "\u202f", "'", "’", "_")
_DECIMALS: tuple[Decimal, ...] = (".", ",")
_LOOKS_NUMERIC = re.compile(r"[+-]?[\d.,][\d.,'’_ \xa0\u202f]*(?:[eE][+-]?\d+)?")
_NO_MARKS = dict.fromkeys(map(ord, "0123456789+-eE"))
_CODE = re.compile(r"[+-]?0\d+|\+\d{7,}")  # of a place, or a phone
_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2}([.,])\d{3}")


class Marks(NamedTuple):
    thousands: Thousands | None
    decimal: Decimal


_MARKS = [Marks(thousands, decimal) for decimal in _DECIMALS for thousands in _THOUSANDS if thousands != decimal]
Chosen = tuple[Marks, float, str, Marks | None]  # with how sure, why, and what else


class Numbers(NamedTuple):
    fitting: float  # share of the values that are numbers
    marks: Marks
    is_whole: bool
    codes: float  # share of the values with zeros before them, or too long: they name something, and count nothing
    sure: float  # of the marks
    reason: str
    other: Marks | None  # what the marks could be, too


def read_numbers(values: Counter[str], usual_decimal: Decimal | None) -> Numbers | None:
    """None if most values are no numbers. `usual_decimal` is the mark of the file's other columns."""
    whole = sum(values.values())
    numeric = Counter({value: count for value, count in values.items() if _LOOKS_NUMERIC.fullmatch(value)})
    if not numeric or sum(numeric.values()) < whole / 2:
        return None
    used = _signs(numeric)
    fitting = {marks: _share(numeric, marks, whole) for marks in _MARKS if marks.thousands in used}
    most = max(fitting.values())
    best = [marks for marks, share in fitting.items() if share == most]
    if most == 0:
        return None
    digits = sum(
        count for value, count in numeric.items() if len(value.lstrip("+-")) > _MOST_DIGITS and value.isdigit()
    )
    codes = (sum(count for value, count in numeric.items() if _CODE.fullmatch(value)) + digits) / whole
    marks, sure, reason, other = _choose(best, numeric, usual_decimal)
    is_whole = all(
        marks.decimal not in value and "e" not in value.lower() for value in numeric if _pattern(marks).fullmatch(value)
    )
    return Numbers(most, marks, is_whole, codes, sure, reason, other)


def _signs(numeric: Iterable[str]) -> set[str | None]:
    """What is in the numbers beside digits; None, since there may be no mark at all."""
    return {None, *"".join(numeric).translate(_NO_MARKS)}


def _share(numeric: Counter[str], marks: Marks, whole: int) -> float:
    return sum(count for value, count in numeric.items() if _pattern(marks).fullmatch(value)) / whole


@lru_cache
def _pattern(marks: Marks) -> re.Pattern[str]:
    thousands, decimal = re.escape(marks.thousands or ""), re.escape(marks.decimal)
    grouped = rf"|[1-9]\d{{0,2}}(?:{thousands}\d{{3}})+" if thousands else ""
    if marks.thousands == ",":
        grouped += r"|[1-9]\d?(?:,\d\d)+,\d{3}"  # as India does
    return re.compile(rf"[+-]?(?:(?:\d+{grouped})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?")


def _choose(best: list[Marks], numeric: Counter[str], usual: Decimal | None) -> Chosen:
    """Of all marks that fit as many values, those that are needed."""
    used = {sign for sign in _signs(numeric) if sign}
    plain = [marks for marks in best if marks.thousands is None]
    if not used:
        return Marks(None, usual or "."), 1.0, "They are written with digits alone.", None
    if not plain:
        marks = next((each for each in best if each.decimal in used), None) or next(
            (each for each in best if each.decimal == usual), best[0]
        )
        return marks, 0.97, f"Groups of three digits are parted by {_told(marks.thousands)}.", None
    grouped = [marks for marks in best if marks.thousands and marks.thousands in ".,"]
    sign = next(iter(used & set(".,")), None)
    as_decimal = next((marks for marks in plain if marks.decimal == sign), None)
    as_thousands = next((marks for marks in grouped if marks.thousands == sign), None)
    if sign is None or as_decimal is None:
        return (as_thousands or plain[0]), 0.9, f"Groups of three digits are parted by {_told(sign)}.", None
    if as_thousands is None or not all(_AMBIGUOUS.fullmatch(value) for value in numeric if sign in value):
        return (
            as_decimal,
            0.97,
            f"The decimal mark is {_told(sign)}: what follows it is no group of three digits.",
            None,
        )
    return _settle(as_decimal, as_thousands, numeric, usual)


def _settle(as_decimal: Marks, as_thousands: Marks, numeric: Counter[str], usual: Decimal | None) -> Chosen:
    sign = as_decimal.decimal
    bare = [int(value) for value in numeric if value.lstrip("+-").isdigit()]
    if usual is not None:
        meant, other = (as_decimal, as_thousands) if usual == sign else (as_thousands, as_decimal)
        reason = f"{_told(sign)} could mark thousands or decimals; other columns have {_told(usual)} before decimals."
        return meant, 0.85, reason, other
    if any(abs(number) >= 1000 for number in bare):
        return as_decimal, 0.85, f"{_told(sign)} marks decimals: larger numbers are written without it.", as_thousands
    if bare:
        return (
            as_thousands,
            0.8,
            f"{_told(sign)} marks thousands: only smaller numbers are written without it.",
            as_decimal,
        )
    meant, other = (as_thousands, as_decimal) if sign == "," else (as_decimal, as_thousands)
    what = "thousands" if sign == "," else "decimals"
    return meant, 0.6, f"{_told(sign)} is before three digits in all values; it is taken to mark {what}.", other


def _told(sign: str | None) -> str:
    return {",": "a comma", ".": "a point", "'": "an apostrophe", "’": "an apostrophe", "_": "an underscore"}.get(
        sign or "", "a blank"
    )
