"""The functions of expressions. Each says what it was given wrong, and pays for its work before it does it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

from processor.language.operands import (
    LARGEST_LIST,
    LARGEST_NUMBER,
    LARGEST_STRING,
    ExpressionError,
    Work,
    are_all,
    as_text,
    is_number,
    items_of,
    joined,
    kind,
    number,
    text,
    whole,
)

_NUMBER = re.compile(r"[+-]?\d{1,17}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?", re.ASCII)


class Function(NamedTuple):
    signature: str
    fewest: int
    most: int
    call: Callable[..., Any]


def _numbers(items: Sequence[Any]) -> Sequence[Any]:
    """One by one only if it cannot be seen at a glance that they are numbers."""
    if items and are_all(int, items) and min(items) >= -LARGEST_NUMBER and max(items) <= LARGEST_NUMBER:
        return items
    return [number(item) for item in items]


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ExpressionError("type", f"A {kind(value)} is not an object.")
    return value


def _flatten(work: Work, lists: Any) -> list[Any]:
    flat: list[Any] = []
    for one in items_of(lists):
        items = items_of(one)
        work.spend(len(items))
        flat.extend(items)
        items_of(flat)
    return flat


def _join(work: Work, items: Any, separator: Any = "") -> str:
    work.spend(len(items_of(items)))
    if not are_all(str, items):
        work.spend(3 * len(items))
        items = [as_text(item) for item in items]
    return joined(work, items, text(separator))


def _len(_: Work, value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise ExpressionError("type", f"A {kind(value)} has no length.")
    return len(value)


def _extreme(choose: Callable[[Any], Any]) -> Callable[[Work, Any], Any]:
    def chosen(work: Work, items: Any) -> Any:
        work.spend(len(items_of(items)))
        if not items:
            raise ExpressionError("empty_list", "An empty list has no smallest and no largest item.")
        if are_all(str, items):
            work.spend(sum(map(len, items)) >> 6)
            return choose(items)
        return choose(_numbers(items))

    return chosen


def _number(work: Work, value: Any) -> Any:
    if is_number(value):
        return number(value)
    work.spend_on(text(value))
    written = value.strip()
    if not _NUMBER.fullmatch(written):
        raise ExpressionError("type", f"{written[:40]!r} is not a number.")
    return number(int(written) if written.lstrip("+-").isdigit() else float(written))


def _quote(work: Work, value: Any) -> str:
    """For a part of a URL, or of its query. It takes its time for each byte."""
    work.spend(len(text(value)))
    return text(quote(value, safe="", errors="replace"))


def _range(work: Work, *limits: Any) -> list[int]:
    bounds = [whole(limit) for limit in limits]
    if len(bounds) == 3 and bounds[2] == 0:
        raise ExpressionError("type", "A range cannot go on by 0.")
    numbers = range(*bounds)
    if len(numbers) > LARGEST_LIST:
        raise ExpressionError("too_large", f"A list may have {LARGEST_LIST} items.")
    work.spend(len(numbers) >> 3)
    return list(numbers)


def _replace(work: Work, within: Any, old: Any, new: Any) -> str:
    work.spend_on(text(within))
    if not text(old):
        raise ExpressionError("type", "What is to be replaced cannot be empty.")
    if len(within) + within.count(old) * (len(text(new)) - len(old)) > LARGEST_STRING:
        raise ExpressionError("too_large", f"A text may have {LARGEST_STRING} characters.")
    return str(within.replace(old, new))


def _round(_: Work, value: Any, digits: Any = 0) -> Any:
    places = whole(digits)
    if not 0 <= places <= 15:
        raise ExpressionError("type", "A number can be rounded to 0 to 15 digits.")
    return number(round(number(value), places) if places else round(number(value)))


def _split(work: Work, within: Any, separator: Any) -> list[str]:
    work.spend_on(text(within))
    if not text(separator):
        raise ExpressionError("type", "A text cannot be split by an empty one.")
    pieces = within.count(separator) + 1
    if pieces > LARGEST_LIST:
        raise ExpressionError("too_large", f"A list may have {LARGEST_LIST} items.")
    work.spend(pieces)
    return list(within.split(separator))


def _sum(work: Work, items: Any) -> Any:
    work.spend(len(items_of(items)))
    numbers = _numbers(items)
    return number(sum(numbers) if are_all(int, numbers) else math.fsum(numbers))


def _changed(change: Callable[[str], str]) -> Callable[[Work, Any], str]:
    def changed(work: Work, value: Any) -> str:
        work.spend(len(text(value)) >> 4)  # letter by letter, where they are not plain ones
        return text(change(value))

    return changed


def _at_edge(holds: Callable[[str, str], bool]) -> Callable[[Work, Any, Any], bool]:
    def at_edge(work: Work, whole_text: Any, edge: Any) -> bool:
        work.spend_on(text(edge))
        return holds(text(whole_text), edge)

    return at_edge


def _names(work: Work, of: Any) -> list[str]:
    work.spend(len(_object(of)))
    return items_of(list(of))


def _members(work: Work, of: Any) -> list[Any]:
    work.spend(len(_object(of)))
    return items_of(list(of.values()))


def _pluck(work: Work, items: Any, name: Any) -> list[Any]:
    work.spend(len(items_of(items)))
    wanted = text(name)
    plucked = []
    for item in items:
        if wanted not in _object(item):
            raise ExpressionError("missing", f"An item of the list has no {wanted[:60]}.")
        plucked.append(item[wanted])
    return plucked


def _default(*_: Any) -> Any:
    raise AssertionError("what is missing is no error in it, so it is not called with values")


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "abs": Function("abs(number)", 1, 1, lambda _, value: abs(number(value))),
        "default": Function("default(value, otherwise, …)", 1, 50, _default),
        "ends_with": Function("ends_with(text, end)", 2, 2, _at_edge(str.endswith)),
        "flatten": Function("flatten(lists)", 1, 1, _flatten),
        "join": Function("join(list, separator)", 1, 2, _join),
        "keys": Function("keys(object)", 1, 1, _names),
        "len": Function("len(text, list or object)", 1, 1, _len),
        "lower": Function("lower(text)", 1, 1, _changed(str.lower)),
        "max": Function("max(list)", 1, 1, _extreme(max)),
        "min": Function("min(list)", 1, 1, _extreme(min)),
        "number": Function("number(text)", 1, 1, _number),
        "pluck": Function("pluck(list, name)", 2, 2, _pluck),
        "quote": Function("quote(text)", 1, 1, _quote),
        "range": Function("range(end) or range(begin, end, step)", 1, 3, _range),
        "replace": Function("replace(text, old, new)", 3, 3, _replace),
        "round": Function("round(number, digits)", 1, 2, _round),
        "split": Function("split(text, separator)", 2, 2, _split),
        "starts_with": Function("starts_with(text, begin)", 2, 2, _at_edge(str.startswith)),
        "sum": Function("sum(list)", 1, 1, _sum),
        "text": Function("text(value)", 1, 1, lambda _, value: text(as_text(value))),
        "trim": Function("trim(text)", 1, 1, _changed(str.strip)),
        "upper": Function("upper(text)", 1, 1, _changed(str.upper)),
        "values": Function("values(object)", 1, 1, _members),
    }
)
