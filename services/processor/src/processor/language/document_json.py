"""JSON as its standard has it (RFC 8259), with the place of what is wrong."""

import json
import re
from typing import Any

from processor.language.tree import Tree, Unreadable, Wrong, place_in

_TOKEN = re.compile(
    r"""[ \t\n\r]* (?:
      (?P<mark> [\[\]{},:] )
    | (?P<text> " [^"\\\x00-\x1f]*+ (?: \\ (?: ["\\/bfnrt] | u[0-9a-fA-F]{4} ) [^"\\\x00-\x1f]*+ )* " )
    | (?P<number> -? (?: 0 | [1-9][0-9]* ) (?: \.[0-9]+ )? (?: [eE][+-]?[0-9]+ )? ) (?![0-9A-Za-z_.+-])
    | (?P<word> [A-Za-z]+ )
    | (?P<end> \Z )
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_MOST_DIGITS = 400


# What may come next.
_VALUE = ("a value",)
_VALUE_OR_END = ("a value", "]")
_NAME = ("a name",)
_NAME_OR_END = ("a name", "}")
_COLON = (":",)
_MORE_ITEMS = (",", "]")
_MORE_MEMBERS = (",", "}")
_END = ("the end",)


def read_json(text: str) -> Any:
    tree = Tree()
    expected: tuple[str, ...] = _VALUE
    offset = 0
    while True:
        token = _TOKEN.match(text, offset)
        try:
            if token is None:
                raise _not_json(text[_begin(text, offset) :][:10])
            if token.lastgroup == "end" and expected is _END:
                return tree.value
            expected = _taken(token, expected, tree)
        except Wrong as wrong:
            raise Unreadable(wrong.code, wrong.detail, *place_in(text, _begin(text, offset))) from None
        offset = token.end()


def _begin(text: str, offset: int) -> int:
    return len(text) - len(text[offset:].lstrip(" \t\n\r"))


def _not_json(found: str) -> Wrong:
    if found.startswith('"'):
        return Wrong("syntax", "This text does not end, or has a line break, a tab or an unknown escape in it")
    return Wrong("syntax", f"This is not JSON: {found!r}")


def _taken(token: re.Match[str], expected: tuple[str, ...], tree: Tree) -> tuple[str, ...]:
    kind = token.lastgroup or ""
    written = token[kind]
    if kind == "text" and "a name" in expected:
        tree.name(_unescaped(written))
        return _COLON
    wanted = written if written in ("]", "}", ",", ":") else "the end" if kind == "end" else "a value"
    if wanted not in expected:
        found = "the end" if kind == "end" else repr(written[:20])
        raise Wrong("syntax", f"Here {' or '.join(expected)} was expected, not {found}")
    match written:
        case "[":
            tree.begin([])
            return _VALUE_OR_END
        case "{":
            tree.begin({})
            return _NAME_OR_END
        case ",":
            return _NAME if isinstance(tree.innermost, dict) else _VALUE
        case ":":
            return _VALUE
        case "]" | "}":
            tree.end()
        case _:
            tree.add(_scalar(kind, written))
    if tree.depth == 0:
        return _END
    return _MORE_MEMBERS if isinstance(tree.innermost, dict) else _MORE_ITEMS


def _scalar(kind: str, written: str) -> Any:
    if kind == "text":
        return _unescaped(written)
    if kind == "number":
        if len(written) > _MOST_DIGITS:
            raise Wrong("number_too_large", f"A number may have {_MOST_DIGITS} digits")
        return int(written) if written.lstrip("-").isdigit() else float(written)
    if written in ("NaN", "Infinity"):
        raise Wrong("not_finite", "A number must be finite")
    if written not in _WORDS:
        raise Wrong("syntax", f"{written[:20]!r} is not JSON: texts are written in quotes")
    return _WORDS[written]


def _unescaped(written: str) -> str:
    return str(json.loads(written)) if "\\" in written else written[1:-1]
