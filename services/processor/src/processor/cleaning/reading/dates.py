"""Dates of many forms, and which of their numbers is the day."""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from typing import NamedTuple

from processor.cleaning.reading.decisions import counted
from processor.cleaning.reading.months import MONTHS
from processor.cleaning.sql import lowered

_TIME = (
    r"(?P<between>[T ]+)(?P<hour>\d{1,2}):\d\d(?P<second>:\d\d)?(?P<fraction>[.,]\d{1,9})?"
    r"(?P<half>\s?[AaPp][Mm])?(?P<zone>Z|\s?UTC|\s?[+-]\d\d:?\d\d)?"
)
_YEAR = r"(?P<year>\d{4}|\d{2})"
_FORMS = tuple(
    re.compile(rf"{form}(?:{_TIME})?")
    for form in (
        r"(?P<year>\d{4})(?P<sep>[-/. ])(?P<a>\d{1,2})(?P=sep)(?P<b>\d{1,2})",
        rf"(?P<a>\d{{1,2}})(?P<sep>[-/. ])(?P<b>\d{{1,2}})(?P=sep){_YEAR}",
        rf"(?P<a>\d{{1,2}})(?P<dot>\.?)(?P<sep>[-/ ]?)(?P<month>[^\W\d_]{{3,12}})(?P<tail>\.?,?)(?P=sep){_YEAR}",
        r"(?P<month>[^\W\d_]{3,12})(?P<tail>\.?)(?P<sep> )(?P<a>\d{1,2})(?P<comma>,?) (?P<year>\d{4})",
        r"(?P<year>\d{4})(?P<sep>[-/ ])(?P<month>[^\W\d_]{3,12})(?P=sep)(?P<a>\d{1,2})",
        r"(?P<year>(?:19|20)\d\d)(?P<a>0[1-9]|1[0-2])(?P<b>0[1-9]|[12]\d|3[01])",
    )
)
_YEAR_FIRST, _ORDERED, _DAY_NAMED, _MONTH_FIRST, _YEAR_NAMED, _COMPACT = range(len(_FORMS))
_LONGEST = 60
_FEWEST_IN_ORDER = 8  # values, of which the order says which number is the day
_DAY, _MONTH = "%d", "%m"


class _Value(NamedTuple):
    form: str  # its format, with {a} and {b} where day and month are in an order that is not known
    a: int
    b: int
    year: int
    is_timestamp: bool
    month: str | None  # its name


class Dates(NamedTuple):
    fitting: float  # share of the values that are dates
    formats: tuple[str, ...]
    language: str
    are_timestamps: bool
    sure: float  # of the order of day and month
    reason: str
    other: tuple[str, ...]  # the formats, were the order the other one
    order: str | None  # "day" or "month" comes first, where only evidence could tell


def read_dates(values: Counter[str], in_order: Iterable[str], usual_order: str | None) -> Dates | None:
    """None if most values are no dates. `in_order` are values as rows have them; `usual_order` is the one of the file's
    other columns."""
    whole = sum(values.values())
    parsed = {value: found for value in values if (found := _parse(value))}
    if not parsed or sum(values[value] for value in parsed) < whole / 2:
        return None
    forms: Counter[str] = Counter()
    for value, found in parsed.items():
        forms[found.form] += values[value]
    open_forms = {form for form in forms if "{a}" in form}
    order, sure, reason, is_evident = None, 0.98, "", False
    if open_forms:
        ordered = [found for value in in_order if (found := parsed.get(value)) and found.form in open_forms]
        order, sure, reason, is_evident = _order(ordered, usual_order)
    formats = tuple(dict.fromkeys(_filled(form, order) for form, _ in forms.most_common(10)))
    opposite = {"day": "month", "month": "day"}.get(order or "")
    other = tuple(dict.fromkeys(_filled(form, opposite) for form, _ in forms.most_common(10))) if opposite else ()
    fitting = sum(values[value] for value, found in parsed.items() if _is_day(found, order)) / whole
    months = [found.month for found in parsed.values() if found.month]
    language = max(MONTHS, key=lambda each: sum(month in MONTHS[each] for month in months))
    are_timestamps = any(found.is_timestamp for found in parsed.values())
    return Dates(fitting, formats, language, are_timestamps, sure, reason, other, order if is_evident else None)


def _parse(value: str) -> _Value | None:
    if len(value) > _LONGEST or not any(sign.isdigit() for sign in value):
        return None
    for number, form in enumerate(_FORMS):
        if found := form.fullmatch(value):
            return _value(number, found)
    return None


def _value(number: int, found: re.Match[str]) -> _Value | None:
    part = found.groupdict()
    sep, year, a = part.get("sep") or "", found["year"], int(found["a"])
    years = "%Y" if len(year) == len("2021") else "%y"
    name = None
    match number:
        case 0 if int(found["b"]) > 12 or a <= 12:
            form, b, a = f"%Y{sep}%m{sep}%d", a, int(found["b"])
        case 0:
            form, b = f"%Y{sep}%d{sep}%m", int(found["b"])
        case 1:
            form, b = f"{{a}}{sep}{{b}}{sep}{years}", int(found["b"])
        case 5:
            form, b, a = "%Y%m%d", a, int(found["b"])
        case _:
            word = part["month"] or ""
            spellings = (lowered(word), lowered(word.replace("I", "ı")))  # in Turkish, a capital I is no i
            name = next((one for one in spellings if any(one in names for names in MONTHS.values())), None)
            if name is None:
                return None
            b, is_full = next(names[name] for names in MONTHS.values() if name in names)
            named = "%B" if is_full else "%b"
            if number == _DAY_NAMED:
                form = f"%d{part['dot']}{sep}{named}{part['tail']}{sep}{years}"
            elif number == _MONTH_FIRST:
                form = f"{named}{part['tail']} %d{part['comma']} %Y"
            else:
                form = f"%Y{sep}{named}{sep}%d"
    if not (1 <= a <= 31 and 1 <= b <= 31 and (min(a, b) <= 12)):
        return None
    return _Value(form + _time(part), a, b, int(year), part["hour"] is not None, name)


def _time(part: dict[str, str | None]) -> str:
    if part["hour"] is None or part["between"] is None:
        return ""
    form = part["between"] + ("%I" if part["half"] else "%H") + ":%M"
    form += ":%S" if part["second"] else ""
    form += part["fraction"][0] + "%f" if part["fraction"] else ""
    if part["half"]:
        form += " %p" if part["half"][0].isspace() else "%p"
    zone = part["zone"] or ""
    return form + ("%z" if zone[-1:].isdigit() and zone[0] in "+-" else " %z" if zone[-1:].isdigit() else zone)


def _filled(form: str, order: str | None) -> str:
    first, second = (_MONTH, _DAY) if order == "month" else (_DAY, _MONTH)
    return form.replace("{a}", first).replace("{b}", second)


def _is_day(value: _Value, order: str | None) -> bool:
    """As the order has it; of those in no order, `a` is the day."""
    day, month = (value.b, value.a) if "{a}" in value.form and order == "month" else (value.a, value.b)
    try:
        date(value.year if value.year > 99 else 2000 + value.year, month, day)
    except ValueError:
        return False
    return True


def _order(values: list[_Value], usual: str | None) -> tuple[str, float, str, bool]:
    """Which comes first, how sure that is, why, and whether these values say so themselves."""
    days_first = sum(value.a > 12 for value in values)
    months_first = sum(value.b > 12 for value in values)
    if days_first or months_first:
        order = "day" if days_first >= months_first else "month"
        clear, against = max(days_first, months_first), min(days_first, months_first)
        but = f", though in {against:,} it is the other way round" if against else ""
        place = "first" if order == "day" else "second"
        reason = f"In {counted(clear, 'value')} the {place} number is larger than 12, so that it is the day{but}."
        return order, (clear + 1) / (clear + against + 1) * (1 - 0.5 ** (clear + 1)), reason, clear > 2 * against
    steps = {order: _steps(values, order) for order in ("day", "month")}
    if len(values) >= _FEWEST_IN_ORDER and max(steps.values()) > 3 * min(steps.values()):
        order = min(steps, key=lambda each: steps[each])
        reason = f"No number is larger than 12; with the {order} first, the dates follow each other over the rows."
        return order, 0.85, reason, True
    if usual:
        return usual, 0.85, f"No number is larger than 12; in other columns the {usual} comes first.", False
    if any("." in value.form or "-" in value.form for value in values):
        return "day", 0.8, "No number is larger than 12; with points or hyphens, the day usually comes first.", False
    return "day", 0.5, "No number is larger than 12: whether the day or the month comes first cannot be told.", False


def _steps(values: list[_Value], order: str) -> int:
    """The days between neighbouring rows, all together."""
    days = [
        372 * value.year + (31 * value.b + value.a if order == "day" else 31 * value.a + value.b)
        for value in values[:1000]
    ]
    return sum(abs(after - before) for before, after in pairwise(days))
