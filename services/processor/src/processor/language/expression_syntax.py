"""What an expression may be made of: one list of what is allowed guards Python's parser, another what it has parsed."""

import ast
import keyword
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from processor.language.functions import FUNCTIONS
from processor.language.operands import LARGEST_NUMBER, ExpressionError
from processor.language.problems import did_you_mean
from processor.language.values import text_problem

LONGEST_TEXT = 2_000  # characters of one expression
MOST_NODES = 250
DEEPEST = 32
_MOST_LEXEMES = 4 * MOST_NODES

Reference: TypeAlias = tuple[str, ...]  # a path from a root: ("steps", "fetch", "output", "rows")
Path: TypeAlias = tuple[str | int, ...]  # the same with indexes

BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
    }
)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)
JSON_NAMES: Mapping[str, Any] = MappingProxyType({"true": True, "false": False, "null": None})

_LEXEME = re.compile(
    r"""
      (?P<space> [ \t\r\n]+ )
    | (?: \d+ (?:\.\d+)? | \.\d+ ) (?: [eE][+-]?\d+ )? (?![\w.])
    | (?P<text> "[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+" | '[^'\\\r\n]*+(?:\\.[^'\\\r\n]*+)*+' )
    | [A-Za-z_][A-Za-z0-9_]* (?!["'])
    | [=!<>]= | // | [-+*/%<>()\[\]{},.:]
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPES = re.compile(r"""(?:[^\\]|\\["'\\bfnrt]|\\u[0-9a-fA-F]{4})*""")


def parse(text: str) -> ast.expr:
    if len(text) > LONGEST_TEXT:
        raise ExpressionError("too_long", f"An expression may have {LONGEST_TEXT} characters.")
    if not text.strip():
        raise ExpressionError("empty", "An expression must say something.")
    source = _lexed(text)
    try:
        root = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        said = wrong.msg if isinstance(wrong, SyntaxError) else "it is nested too deep"
        raise ExpressionError("syntax", f"This is not an expression: {said}.") from None
    _check_size(root)
    _check_parts(root, source)
    return root


def _lexed(text: str) -> str:
    """In one line. No prefixes of texts, no comments, no letters that Python would take for others."""
    lexemes: list[str] = []
    place = 0
    while place < len(text):
        lexeme = _LEXEME.match(text, place)
        if lexeme is None:
            raise ExpressionError("syntax", f"{text[place : place + 20]!r} is not understood in an expression.")
        written, quoted = lexeme.group(), lexeme["text"]
        if quoted is not None and not _ESCAPES.fullmatch(quoted):
            raise ExpressionError("syntax", "In a text, only the escapes of JSON and \\' are known.")
        if lexeme["space"] is not None:
            lexemes += [" "] if lexemes[-1:] != ["."] else []
        elif keyword.iskeyword(written) and lexemes[-1:] == ["."]:
            lexemes[-1] = f'["{written}"]'  # `steps.import` is a step like any other
        else:
            lexemes.append(written)
        if len(lexemes) > _MOST_LEXEMES:
            raise _too_complex()
        place = lexeme.end()
    return "".join(lexemes).strip()


def _check_size(root: ast.expr) -> None:
    nodes, layer, depth = 0, [root], 0
    while layer:
        nodes += len(layer)
        depth += 1
        if nodes > MOST_NODES or depth > DEEPEST:
            raise _too_complex()
        layer = [part for node in layer for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]


def _too_complex() -> ExpressionError:
    return ExpressionError("too_complex", f"An expression may have {MOST_NODES} parts, {DEEPEST} deep.")


def _check_parts(root: ast.expr, source: str) -> None:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        parts = _parts(node)
        if parts is None:
            said = ast.get_source_segment(source, node) or type(node).__name__
            raise ExpressionError("not_allowed", f"{said[:60]} cannot stand in an expression.")
        waiting.extend(parts)


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """None for what is not allowed."""
    match node:
        case ast.Constant(value=literal):
            return [] if _check_literal(literal) else None
        case ast.Name():
            return []
        case ast.Attribute(value=owner):
            return [owner]
        case ast.Subscript(value=owner, slice=index) if not isinstance(index, ast.Slice | ast.Tuple):
            return [owner, index]
        case ast.List(elts=members):
            return members
        case ast.Dict(keys=keys, values=values):
            named = [key for key in keys if key is not None]
            return [*named, *values] if len(named) == len(keys) else None
        case ast.BoolOp(values=values):
            return values
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return [left, right]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(isinstance(op, _COMPARISONS) for op in ops):
            return [left, *others]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            _check_call(name, len(arguments))
            return arguments
        case _:
            return None


def _check_literal(literal: object) -> bool:
    match literal:
        case str():
            if (wrong := text_problem(literal)) is not None:
                raise ExpressionError(*wrong)
            return True
        case bool() | None:
            return True
        case int() | float():
            if not -LARGEST_NUMBER <= literal <= LARGEST_NUMBER:
                raise ExpressionError("too_large", "The number is too large.")
            return True
        case _:
            return False


def _check_call(name: str, given: int) -> None:
    known = FUNCTIONS.get(name)
    if known is None:
        raise ExpressionError("unknown_function", f"There is no function {name}.{did_you_mean(name, FUNCTIONS)}")
    if not known.fewest <= given <= known.most:
        raise ExpressionError("arguments", f"{name} is written {known.signature}.")


def references(node: ast.expr) -> Iterator[Reference]:
    """Whatever is behind an index belongs to the list."""
    path = path_of(node)
    if path is None:
        for part in _parts(node) or ():
            yield from references(part)
    elif path[0] not in JSON_NAMES:
        names = [name for name in path if isinstance(name, str)]
        yield tuple(names if len(names) == len(path) else _before_index(path))


def _before_index(path: Path) -> Iterator[str]:
    for part in path:
        if not isinstance(part, str):
            return
        yield part


def path_of(node: ast.expr) -> Path | None:
    """`steps.a.output` or `steps["a"].output`, if nothing in it has to be computed."""
    match node:
        case ast.Name(id=name):
            return (name,)
        case ast.Attribute(value=owner, attr=member):
            path = path_of(owner)
            return None if path is None else (*path, member)
        case ast.Subscript(value=owner, slice=ast.Constant(value=str() | int() as member)):
            path = path_of(owner)
            return None if path is None or isinstance(member, bool) else (*path, member)
        case _:
            return None
