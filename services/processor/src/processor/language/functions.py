"""The functions of expressions. Each says what it was given wrong, and pays for its work before it does it."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

LARGEST_STRING = 1 << 20  # characters
LARGEST_LIST = 100_000
LARGEST_NUMBER = 1 << 53  # beyond, JSON's readers disagree
# Items looked at, or 64 characters of text, in one evaluation: some 50 ms on the loop that everybody else is served by.
MOST_WORK = 125_000

_NUMBER = re.compile(r"[+-]?\d{1,17}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?", re.ASCII)


class ExpressionError(Exception):
    """What is wrong with an expression, or with what it was given."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Missing(ExpressionError):
    pass


class Work:
    """What is left of an evaluation's allowance."""

    __slots__ = ("left",)

    def __init__(self, left: int = MOST_WORK) -> None:
        self.left = left

    def spend(self, items: int) -> None:
        self.left -= items + 1
        if self.left < 0:
            raise ExpressionError("too_much_work", "The expression would take too long with what it was given.")

    def spend_on(self, text: str) -> None:
        self.spend(len(text) >> 6)


class Function(NamedTuple):
    signature: str
    fewest: int
    most: int
    call: Callable[..., Any]


_KINDS: Mapping[type, str] = MappingProxyType(
    {
        type(None): "null", bool: "boolean", int: "number", float: "number", str: "text", dict: "object", list: "list",
        tuple: "list",
    }
)  # fmt: skip


def kind(value: Any) -> str:
    found = _KINDS.get(type(value))
    return found if found is not None else "object" if isinstance(value, Mapping) else "list"


def as_text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int() | float():
            return str(number(value))
        case _:
            raise ExpressionError("type", f"A {kind(value)} cannot stand in the middle of a text.")


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError("type", f"A {kind(value)} is not a text.")
    if len(value) > LARGEST_STRING:
        raise ExpressionError("too_large", f"A text may have {LARGEST_STRING} characters.")
    return value


def items_of(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ExpressionError("type", f"A {kind(value)} is not a list.")
    if len(value) > LARGEST_LIST:
        raise ExpressionError("too_large", f"A list may have {LARGEST_LIST} items.")
    return value if isinstance(value, list) else list(value)


def number(value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError("type", f"A {kind(value)} is not a number.")
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:  # nor is NaN
        raise ExpressionError("too_large", "The number is too large.")
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: Any) -> int:
    if not isinstance(number(value), int):
        raise ExpressionError("type", f"{value} is not a whole number.")
    return int(value)


def joined(work: Work, pieces: list[str], separator: str = "") -> str:
    """Its length is known before it is made."""
    length = sum(map(len, pieces)) + len(separator) * max(0, len(pieces) - 1)
    if length > LARGEST_STRING:
        raise ExpressionError("too_large", f"A text may have {LARGEST_STRING} characters.")
    work.spend(length >> 6)
    return separator.join(pieces)


def are_all(type_: type, items: Iterable[Any]) -> bool:
    return {*map(type, items)} <= {type_}


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
