"""What an expression's parts give. Its depth is bounded by the syntax, its work and its size here."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from processor.language.expression_syntax import BINARY, JSON_NAMES
from processor.language.functions import FUNCTIONS
from processor.language.operands import (
    ExpressionError,
    Missing,
    Work,
    are_all,
    as_text,
    is_number,
    items_of,
    kind,
    number,
    text,
)

LARGEST_RESULT = 1 << 20  # characters as JSON, roughly
_ABOUT = 8  # characters of a number, of a name's quotes and the like
_SHORT = (int, float, bool, type(None))

_ORDERED: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = MappingProxyType(
    {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
)


def evaluate(node: ast.expr, scope: Mapping[str, Any], work: Work) -> Any:
    match node:
        case ast.Constant(value=literal):
            return literal
        case ast.Name(id=name):
            return JSON_NAMES[name] if name in JSON_NAMES else _member(scope, name)
        case ast.Attribute(value=owner, attr=member):
            return _member(evaluate(owner, scope, work), member)
        case ast.Subscript(value=owner, slice=index):
            return _member(evaluate(owner, scope, work), evaluate(index, scope, work))
        case ast.List(elts=members):
            return [evaluate(member, scope, work) for member in members]
        case ast.Dict(keys=keys, values=values):
            pairs = [(key, value) for key, value in zip(keys, values, strict=True) if key is not None]
            return {as_text(evaluate(key, scope, work)): evaluate(value, scope, work) for key, value in pairs}
        case ast.BoolOp(op=junction, values=values):
            return _junction(isinstance(junction, ast.Or), values, scope, work)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not evaluate(operand, scope, work)
        case ast.UnaryOp(operand=operand):
            return -number(evaluate(operand, scope, work))
        case ast.BinOp(left=left, op=op, right=right):
            return _combined(op, evaluate(left, scope, work), evaluate(right, scope, work), work)
        case ast.Compare(left=left, ops=comparisons, comparators=others):
            one = evaluate(left, scope, work)
            for comparison, other in zip(comparisons, others, strict=True):
                another = evaluate(other, scope, work)
                if not _holds(comparison, one, another, work):
                    return False
                one = another
            return True
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return evaluate(body if evaluate(test, scope, work) else orelse, scope, work)
        case ast.Call(func=ast.Name(id="default"), args=arguments):
            return _default(arguments, scope, work)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name].call(work, *[evaluate(argument, scope, work) for argument in arguments])
    raise AssertionError(f"{node} was let through")


def _junction(stops_at: bool, values: list[ast.expr], scope: Mapping[str, Any], work: Work) -> Any:
    value: Any = None
    for part in values:
        value = evaluate(part, scope, work)
        if bool(value) is stops_at:
            break
    return value


def _default(arguments: list[ast.expr], scope: Mapping[str, Any], work: Work) -> Any:
    """The first that is there and not null. What is missing is no error here."""
    for argument in arguments:
        try:
            value = evaluate(argument, scope, work)
        except Missing:
            continue
        if value is not None:
            return value
    return None


def _member(owner: Any, name: Any) -> Any:
    match owner, name:
        case (Mapping(), str()):
            try:
                return owner[name]
            except KeyError:
                raise Missing("missing", f"There is no {name!r:.80} in {kind(owner)} with {_some(owner)}.") from None
        case (list() | tuple(), int()) if not isinstance(name, bool):
            try:
                return owner[name]
            except IndexError:
                raise Missing("missing", f"There is no item {number(name)} in a list of {len(owner)}.") from None
        case (None, _):
            raise Missing("missing", f"There is no {_named(name)} in null.")
        case _:
            raise ExpressionError("type", f"A {kind(owner)} has no {_named(name)}.")


def _named(name: Any) -> str:
    return f"{name!r:.80}" if isinstance(name, str) else kind(name)


def _some(owner: Mapping[str, Any]) -> str:
    names = [name[:40] for name in list(owner)[:8]]
    return ", ".join(names) + (" …" if len(owner) > len(names) else "") if names else "nothing"


def _combined(op: ast.operator, left: Any, right: Any, work: Work) -> Any:
    if isinstance(op, ast.Add) and isinstance(left, str) and isinstance(right, str):
        work.spend_on(left)
        work.spend_on(right)
        return text(text(left) + text(right))
    if isinstance(op, ast.Add) and isinstance(left, list | tuple) and isinstance(right, list | tuple):
        work.spend(len(left) + len(right))
        return items_of([*items_of(left), *items_of(right)])
    try:
        return number(BINARY[type(op)](number(left), number(right)))
    except ZeroDivisionError:
        raise ExpressionError("division_by_zero", "Nothing can be divided by zero.") from None
    except OverflowError:
        raise ExpressionError("too_large", "The number is too large.") from None


def _holds(op: ast.cmpop, one: Any, other: Any, work: Work) -> bool:
    match op:
        case ast.Eq():
            return _same(one, other, work)
        case ast.NotEq():
            return not _same(one, other, work)
        case ast.In():
            return _contains(other, one, work)
        case ast.NotIn():
            return not _contains(other, one, work)
    if isinstance(one, str) and isinstance(other, str):
        work.spend_on(one)
    elif not (is_number(one) and is_number(other)):
        raise ExpressionError("type", f"A {kind(one)} is neither more nor less than a {kind(other)}.")
    return _ORDERED[type(op)](one, other)


def _contains(whole: Any, part: Any, work: Work) -> bool:
    match whole:
        case str():
            if not isinstance(part, str):
                raise ExpressionError("type", f"A {kind(part)} is not looked for in a text.")
            work.spend_on(whole)
            return part in whole
        case Mapping():
            return isinstance(part, str) and part in whole
        case list() | tuple():
            return _has(whole, part, work)
        case _:
            raise ExpressionError("type", f"Nothing is in a {kind(whole)}.")


def _has(whole: Sequence[Any], part: Any, work: Work) -> bool:
    sort = kind(part)
    if sort in ("object", "list"):
        return any(_same(item, part, work) for item in whole)
    work.spend(len(whole))
    for item in whole:
        if kind(item) == sort:
            if sort == "text" and len(item) == len(part):
                work.spend_on(part)
            if item == part:
                return True
    return False


def _same(one: Any, other: Any, work: Work) -> bool:
    """As JSON has it: in Python, true is 1. However deep the values are, this does not recurse."""
    waiting = [(one, other)]
    while waiting:
        left, right = waiting.pop()
        sort = kind(left)
        if sort != kind(right):
            return False
        if sort == "object":
            work.spend(3 * len(left))
            if left.keys() != right.keys():
                return False
            waiting.extend([(left[name], right[name]) for name in left])
        elif sort == "list":
            work.spend(len(left))
            if len(left) != len(right):
                return False
            if are_all(int, left) and are_all(int, right):
                if list(left) != list(right):
                    return False
            else:
                work.spend(len(left))
                waiting.extend(zip(left, right, strict=True))
        else:
            if sort == "text":
                work.spend_on(left)
            if left != right:
                return False
    return True


def check_result(value: Any, work: Work) -> None:
    """A value that is named often in a few characters would be written out as often."""
    left, waiting = LARGEST_RESULT, [value]
    while waiting:
        one = waiting.pop()
        sort = kind(one)
        if sort == "text":
            left -= len(one)
            work.spend_on(one)
        elif sort == "object":
            left -= sum(map(len, one)) + _ABOUT * len(one)
            work.spend(2 * len(one))
            waiting.extend(one.values())
        elif sort == "list":
            left -= _ABOUT * len(one)
            work.spend(len(one))
            waiting.extend([item for item in one if type(item) not in _SHORT])
        if left < 0:
            raise ExpressionError("too_large", f"What it gives may have {LARGEST_RESULT} characters as JSON.")
