"""Expressions in definitions: `${{ steps.fetch.output.rows > inputs.limit }}`.

Python's own syntax, parsed by Python and walked by us: names, members, literals, comparisons, arithmetic and a table of
functions, nothing else. Whatever it is given, an evaluation ends soon and stays small: there are no loops, work is
counted, and text, lists, numbers and results have a largest size.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from processor.language.evaluation import LARGEST_RESULT, check_result, evaluate
from processor.language.expression_syntax import (
    DEEPEST,
    LONGEST_TEXT,
    MOST_NODES,
    Path,
    Reference,
    parse,
    path_of,
    references,
)
from processor.language.functions import FUNCTIONS
from processor.language.operands import LARGEST_LIST, LARGEST_STRING, ExpressionError, Work, as_text, joined

__all__ = [
    "DEEPEST",
    "FUNCTIONS",
    "LARGEST_LIST",
    "LARGEST_RESULT",
    "LARGEST_STRING",
    "LONGEST_TEXT",
    "MOST_NODES",
    "Expression",
    "ExpressionError",
    "Reference",
    "Template",
    "as_text",
    "condition",
    "split",
]

_DEEPEST_VALUE = 200

_OPENED = "${{"
_INSIDE = re.compile(r""""[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\.[^'\\]*+)*+'|[{}]""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    references: frozenset[Reference]  # every path that it reads, as far as it is written out
    path: Path | None  # if it is nothing but one
    _root: ast.expr = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "Expression":
        """Without the `${{ }}` around it."""
        root = parse(text)
        path = path_of(root)
        read = frozenset(references(root))
        return cls(text.strip(), read, path if read else None, root)

    def evaluate(self, scope: Mapping[str, Any], work: Work | None = None) -> Any:
        work = Work() if work is None else work
        value = self.evaluate_within(scope, work)
        check_result(value, work)
        return value

    def evaluate_within(self, scope: Mapping[str, Any], work: Work) -> Any:
        work.spend(len(self.text) >> 1)  # it has no more parts than that
        return evaluate(self._root, scope, work)


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value in whose strings expressions may stand. A string that is nothing but one expression becomes its
    value, whatever its type; among other text, a value becomes text."""

    references: frozenset[Reference]
    expressions: Sequence[Expression]
    _value: Any = field(repr=False)

    @classmethod
    def parse(cls, value: Any) -> "Template":
        found: list[Expression] = []
        compiled = _compile(value, found, _DEEPEST_VALUE)
        return cls(frozenset().union(*(one.references for one in found)), tuple(found), compiled)

    @property
    def literal(self) -> bool:
        return not self.expressions

    @property
    def whole(self) -> Expression | None:
        """The one expression that it is, if it is nothing else."""
        return self._value if isinstance(self._value, Expression) else None

    def evaluate(self, scope: Mapping[str, Any], work: Work | None = None) -> Any:
        if self.literal:
            return self._value
        work = Work() if work is None else work
        value = _fill(self._value, scope, work)
        check_result(value, work)
        return value

    def items(self, scope: Mapping[str, Any], work: Work) -> Any:
        """For a map: each item is only written out by itself, so they may be large together."""
        return self._value if self.literal else _fill(self._value, scope, work)


def condition(text: str) -> Expression:
    """Where an expression is expected anyway, `${{ }}` may be left out."""
    if _OPENED not in text:
        return Expression.parse(text)
    whole = Template.parse(text.strip()).whole
    if whole is None:
        raise ExpressionError("syntax", "This must be one expression, with nothing before and nothing behind it.")
    return whole


class _Text(tuple[Any, ...]):
    """Text with expressions in it."""

    __slots__ = ()


def _compile(value: Any, found: list[Expression], deepest: int) -> Any:
    if deepest == 0:
        raise ExpressionError("too_deep", f"A value may be nested {_DEEPEST_VALUE} levels deep.")
    match value:
        case str() if _OPENED in value:
            pieces = [Expression.parse(part) if is_expression else part for part, is_expression in split(value)]
            found.extend(piece for piece in pieces if isinstance(piece, Expression))
            return pieces[0] if len(pieces) == 1 else _Text(pieces)
        case dict():
            return {key: _compile(member, found, deepest - 1) for key, member in value.items()}
        case list() | tuple():
            return [_compile(member, found, deepest - 1) for member in value]
        case _:
            return value


def split(text: str) -> Iterator[tuple[str, bool]]:
    """Its parts, and whether each is an expression."""
    place = 0
    while (opened := text.find(_OPENED, place)) >= 0:
        if opened > place:
            yield text[place:opened], False
        begin = opened + len(_OPENED)
        closed = _closing(text, begin)
        yield text[begin:closed], True
        place = closed + 2
    if place < len(text):
        yield text[place:], False


def _closing(text: str, begin: int) -> int:
    """Where the `}}` is that ends the expression: not within a text, and not what ends objects in it."""
    window = text[begin : begin + LONGEST_TEXT + 2]
    open_objects = 0
    for mark in _INSIDE.finditer(window):
        match mark.group():
            case "{":
                open_objects += 1
            case "}" if open_objects:
                open_objects -= 1
            case "}" if window.startswith("}}", mark.start()):
                return begin + mark.start()
    if len(window) > LONGEST_TEXT:
        raise ExpressionError("too_long", f"An expression may have {LONGEST_TEXT} characters.")
    raise ExpressionError("syntax", "An expression that begins with ${{ must end with }}.")


def _fill(value: Any, scope: Mapping[str, Any], work: Work) -> Any:
    match value:
        case Expression():
            return value.evaluate_within(scope, work)
        case _Text():
            pieces = [piece if isinstance(piece, str) else _fill(piece, scope, work) for piece in value]
            return joined(work, [as_text(piece) for piece in pieces])
        case dict():
            work.spend(len(value))
            return {key: _fill(member, scope, work) for key, member in value.items()}
        case list():
            work.spend(len(value))
            return [_fill(member, scope, work) for member in value]
        case _:
            return value
