"""What expressions work with: texts, numbers and lists, how large they may be, and how much work that may be."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

LARGEST_STRING = 1 << 20  # characters
LARGEST_LIST = 100_000
LARGEST_NUMBER = 1 << 53  # beyond, JSON's readers disagree
# Items looked at, or 64 characters of text, in one evaluation: some 50 ms on the loop that everybody else is served by.
MOST_WORK = 125_000


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
