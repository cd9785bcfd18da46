"""Expressions in definitions: `${{ steps.fetch.output.rows > inputs.limit }}`.

Python's own syntax, parsed by Python and walked by us: names, members, literals, comparisons, arithmetic and the
functions below, nothing else. Whatever it is given, an evaluation ends soon and stays small: there are no loops, and
text, lists and numbers have a largest size.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

LONGEST_TEXT = 2_000  # characters of one expression
MOST_NODES = 250
DEEPEST = 32
LARGEST_STRING = 1 << 20
LARGEST_LIST = 100_000
_LARGEST_NUMBER = 1 << 53  # beyond, JSON's readers disagree

Reference: TypeAlias = tuple[str, ...]  # a path from a root: ("steps", "fetch", "output", "rows")

_MARKED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class ExpressionError(Exception):
    """What is wrong with an expression, or with what it was given."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class _Missing(ExpressionError):
    pass


@dataclass(frozen=True, slots=True)
class Expression:
    text: str
    references: frozenset[Reference]  # every path that it reads, as far as it is written out
    _root: ast.expr = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Expression":
        """Without the `${{ }}` around it."""
        text = text.strip()
        if not text:
            raise ExpressionError("empty", "An expression must say something.")
        if len(text) > LONGEST_TEXT:
            raise ExpressionError("too_long", f"An expression may have {LONGEST_TEXT} characters.")
        try:
            root = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
            said = wrong.msg if isinstance(wrong, SyntaxError) else "it cannot be read"
            raise ExpressionError("syntax", f"This is not an expression: {said}.") from None
        _check(root)
        return cls(text, frozenset(_references(root)), root)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        return _evaluate(self._root, scope)


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
        compiled = _compile(value, found)
        return cls(frozenset().union(*(one.references for one in found)), tuple(found), compiled)

    @property
    def literal(self) -> bool:
        return not self.expressions

    @property
    def text(self) -> str:
        """As it was written, as far as it is text."""
        return "".join(piece.text if isinstance(piece, Expression) else str(piece) for piece in self._pieces)

    @property
    def _pieces(self) -> Sequence[Any]:
        return self._value if isinstance(self._value, _Text) else (self._value,)

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        return self._value if self.literal else _fill(self._value, scope)


class _Text(tuple[Any, ...]):
    """Text with expressions in it."""

    __slots__ = ()


def _compile(value: Any, found: list[Expression]) -> Any:
    match value:
        case str():
            parts = _MARKED.split(value)
            if len(parts) == 1:
                return value
            pieces = [Expression.parse(part) if place % 2 else part for place, part in enumerate(parts)]
            found.extend(piece for piece in pieces if isinstance(piece, Expression))
            filled = [piece for piece in pieces if piece != ""]
            return filled[0] if len(filled) == 1 else _Text(filled)
        case dict():
            return {key: _compile(member, found) for key, member in value.items()}
        case list() | tuple():
            return [_compile(member, found) for member in value]
        case _:
            return value


def _fill(value: Any, scope: Mapping[str, Any]) -> Any:
    match value:
        case Expression():
            return value.evaluate(scope)
        case _Text():
            return _bounded(
                "".join([piece if isinstance(piece, str) else as_text(piece.evaluate(scope)) for piece in value])
            )
        case dict():
            return {key: _fill(member, scope) for key, member in value.items()}
        case list():
            return [_fill(member, scope) for member in value]
        case _:
            return value


def as_text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int() | float():
            return str(value)
        case _:
            raise ExpressionError("type", f"A {_kind(value)} cannot stand in the middle of a text.")


# What an expression may be made of.

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = MappingProxyType(
    {
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
    }
)
_JSON_NAMES = MappingProxyType({"true": True, "false": False, "null": None})


def _check(root: ast.expr) -> None:
    nodes, layer, depth = 0, [root], 0
    while layer:
        nodes += len(layer)
        depth += 1
        if nodes > MOST_NODES or depth > DEEPEST:
            raise ExpressionError("too_complex", f"An expression may have {MOST_NODES} parts, {DEEPEST} deep.")
        layer = [part for node in layer for part in _parts(node)]


def _parts(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None):
            return []
        case ast.Name():
            return []
        case ast.Attribute(value=owner):
            return [owner]
        case ast.Subscript(value=owner, slice=ast.expr() as index) if not isinstance(index, ast.Slice | ast.Tuple):
            return [owner, index]
        case ast.List(elts=members):
            return members
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return [*(key for key in keys if key is not None), *values]
        case ast.BoolOp(values=values):
            return values
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return [left, right]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in _COMPARISONS or isinstance(op, ast.In | ast.NotIn) for op in ops
        ):
            return [left, *others]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name not in FUNCTIONS and name != "default":
                there_are = ", ".join(sorted([*FUNCTIONS, "default"]))
                raise ExpressionError("unknown_function", f"There is no function {name}. There are: {there_are}.")
            return arguments
    raise ExpressionError("not_allowed", f"{ast.unparse(node)[:60]} cannot stand in an expression.")


def _references(node: ast.expr) -> list[Reference]:
    path = _path(node)
    if path is not None:
        return [] if path[0] in _JSON_NAMES else [path]
    return [reference for part in _parts(node) for reference in _references(part)]


def _path(node: ast.expr) -> Reference | None:
    """`steps.a.output` or `steps["a"].output`, as far as it is written out."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=owner, attr=member):
            path = _path(owner)
            return None if path is None else (*path, member)
        case ast.Subscript(value=owner, slice=ast.Constant(value=str() as member)):
            path = _path(owner)
            return None if path is None else (*path, member)
        case ast.Subscript(value=owner, slice=ast.Constant(value=int())):
            return _path(owner)  # whatever is behind an index belongs to the list
        case _:
            return None


def _evaluate(node: ast.expr, scope: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=literal):
            return literal
        case ast.Name(id=name):
            if name in _JSON_NAMES:
                return _JSON_NAMES[name]
            return _member(scope, name)
        case ast.Attribute(value=owner, attr=member):
            return _member(_evaluate(owner, scope), member)
        case ast.Subscript(value=owner, slice=index):
            return _member(_evaluate(owner, scope), _evaluate(index, scope))
        case ast.List(elts=members):
            return [_evaluate(member, scope) for member in members]
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {as_text(_evaluate(key, scope)): _evaluate(value, scope) for key, value in pairs if key is not None}
        case ast.BoolOp(op=junction, values=values):
            stops_at = isinstance(junction, ast.Or)
            value: Any = None
            for part in values:
                value = _evaluate(part, scope)
                if bool(value) is stops_at:
                    break
            return value
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, scope)
        case ast.UnaryOp(operand=operand):
            return -_number(_evaluate(operand, scope))
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(op, _evaluate(left, scope), _evaluate(right, scope))
        case ast.Compare(left=left, ops=comparisons, comparators=others):
            one = _evaluate(left, scope)
            for comparison, other in zip(comparisons, others, strict=True):
                another = _evaluate(other, scope)
                if not _holds(comparison, one, another):
                    return False
                one = another
            return True
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _evaluate(body if _evaluate(test, scope) else orelse, scope)
        case ast.Call(func=ast.Name(id="default"), args=arguments):
            return _default(arguments, scope)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _called(name, [_evaluate(argument, scope) for argument in arguments])
    raise AssertionError(f"{node} was let through")


def _member(owner: Any, name: Any) -> Any:
    match owner, name:
        case (Mapping(), str()):
            try:
                return owner[name]
            except KeyError:
                raise _Missing("missing", f"There is no {name!r:.80} in {_kind(owner)} with {_some(owner)}.") from None
        case (list() | tuple(), int()) if not isinstance(name, bool):
            try:
                return owner[name]
            except IndexError:
                raise _Missing("missing", f"There is no item {name} in a list of {len(owner)}.") from None
        case (None, _):
            raise _Missing("missing", f"There is no {name!r:.80} in null.")
        case _:
            raise ExpressionError("type", f"A {_kind(owner)} has no {name!r:.80}.")


def _combined(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(op, ast.Add) and isinstance(left, str) and isinstance(right, str):
        return _bounded(left + right)
    if isinstance(op, ast.Add) and isinstance(left, list) and isinstance(right, list):
        return _bounded(left + right)
    try:
        return _bounded(_BINARY[type(op)](_number(left), _number(right)))
    except ZeroDivisionError:
        raise ExpressionError("division_by_zero", "Nothing can be divided by zero.") from None
    except OverflowError:
        raise ExpressionError("too_large", "The number is too large.") from None


def _holds(op: ast.cmpop, one: Any, other: Any) -> bool:
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(other, str) and not isinstance(one, str):
            raise ExpressionError("type", f"A {_kind(one)} is not looked for in a text.")
        if not isinstance(other, str | list | tuple | Mapping):
            raise ExpressionError("type", f"Nothing is in a {_kind(other)}.")
        if isinstance(other, Mapping) and not isinstance(one, str):
            return isinstance(op, ast.NotIn)
        return (one in other) is isinstance(op, ast.In)
    if not isinstance(op, ast.Eq | ast.NotEq):
        comparable = (_is_number(one) and _is_number(other)) or (isinstance(one, str) and isinstance(other, str))
        if not comparable:
            raise ExpressionError("type", f"A {_kind(one)} is neither more nor less than a {_kind(other)}.")
    elif isinstance(one, bool) is not isinstance(other, bool):
        return isinstance(op, ast.NotEq)  # in Python, True == 1
    return _COMPARISONS[type(op)](one, other)


def _default(arguments: list[ast.expr], scope: Mapping[str, Any]) -> Any:
    """The first that is there and not null. What is missing is no error here."""
    for argument in arguments:
        try:
            value = _evaluate(argument, scope)
        except _Missing:
            continue
        if value is not None:
            return value
    return None


def _called(name: str, arguments: list[Any]) -> Any:
    try:
        return _bounded(FUNCTIONS[name](*arguments))
    except ExpressionError:
        raise
    except (TypeError, ValueError, AttributeError, OverflowError) as wrong:
        kinds = ", ".join(_kind(argument) for argument in arguments)
        raise ExpressionError("type", f"{name} cannot be called with ({kinds}): {wrong}."[:300]) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError("type", f"A {_kind(value)} is not a text.")
    return value


def _number(value: Any) -> Any:
    if not _is_number(value):
        raise ExpressionError("type", f"A {_kind(value)} is not a number.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _range(*limits: Any) -> list[int]:
    numbers = range(*limits)
    if len(numbers) > LARGEST_LIST:
        raise ExpressionError("too_large", f"A list may have {LARGEST_LIST} items.")
    return list(numbers)


def _flat(lists: Any) -> list[Any]:
    return [item for one in lists for item in _bounded(one)]


FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "abs": lambda value: abs(_number(value)),
        "ends_with": lambda text, end: _text(text).endswith(_text(end)),
        "flatten": _flat,
        "join": lambda items, separator="": _text(separator).join([as_text(item) for item in items]),
        "keys": lambda of: list(of.keys()),
        "len": len,
        "lower": lambda text: _text(text).lower(),
        "max": lambda items: max(items),
        "min": lambda items: min(items),
        "number": lambda text: float(text) if any(mark in str(text) for mark in ".eE") else int(text),
        "range": _range,
        "replace": lambda text, old, new: _replaced(_text(text), _text(old), _text(new)),
        "round": lambda value, digits=0: round(_number(value), digits) if digits else round(_number(value)),
        "split": lambda text, separator: _text(text).split(_text(separator)),
        "starts_with": lambda text, begin: _text(text).startswith(_text(begin)),
        "sum": lambda items: sum(_number(item) for item in items),
        "text": as_text,
        "trim": lambda text: _text(text).strip(),
        "upper": lambda text: _text(text).upper(),
        "values": lambda of: list(of.values()),
    }
)


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) * len(new) > LARGEST_STRING:
        raise ExpressionError("too_large", f"A text may have {LARGEST_STRING} characters.")
    return text.replace(old, new)


def _bounded(value: Any) -> Any:
    match value:
        case str() if len(value) > LARGEST_STRING:
            raise ExpressionError("too_large", f"A text may have {LARGEST_STRING} characters.")
        case list() if len(value) > LARGEST_LIST:
            raise ExpressionError("too_large", f"A list may have {LARGEST_LIST} items.")
        case int() | float() if not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER:
            raise ExpressionError("too_large", "The number is too large.")
        case _:
            return value


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case Mapping():
            return "object"
        case _:
            return "list"


def _some(owner: Mapping[str, Any]) -> str:
    names = list(owner)[:8]
    return ", ".join(names) + (" …" if len(owner) > len(names) else "") if names else "nothing"
