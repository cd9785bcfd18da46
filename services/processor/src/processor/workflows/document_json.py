"""JSON as its standard has it (RFC 8259), with the place of what is wrong."""

import json
import re
from typing import Any

from processor.workflows.tree import Tree, Unreadable, Wrong, place_in

_TOKEN = re.compile(
    r"""[ \t\n\r]* (?:
      (?P<mark> [\[\]{},:] )
    | (?P<text> " (?: [^"\\\x00-\x1f] | \\ (?: ["\\/bfnrt] | u[0-9a-fA-F]{4} ) )* " )
    | (?P<number> -? (?: 0 | [1-9][0-9]* ) (?: \.[0-9]+ )? (?: [eE][+-]?[0-9]+ )? ) (?![0-9A-Za-z_.+-])
    | (?P<word> [A-Za-z]+ )
    | (?P<end> \Z )
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}
_SPACE = re.compile(r"[ \t\n\r]*")
_MOST_DIGITS = 400


def read_json(text: str) -> Any:
    reader = _Reader()
    offset = 0
    while not reader.ended:
        token = _TOKEN.match(text, offset)
        begin = _SPACE.match(text, offset).end()  # type: ignore[union-attr]  # it matches nothing, too
        try:
            if token is None:
                raise _not_json(text, begin)
            reader.take(token)
        except Wrong as wrong:
            raise Unreadable(wrong.code, wrong.detail, *place_in(text, begin)) from None
        offset = token.end()
    return reader.tree.value


def _not_json(text: str, offset: int) -> Wrong:
    found = text[offset]
    if found == '"':
        return Wrong("syntax", "This text does not end, or has a line break, a tab or an unknown escape in it")
    return Wrong("syntax", f"This is not JSON: {text[offset : offset + 10]!r}")


class _Reader:
    """What may come next."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.ended = False
        self._expects = "a value"

    def take(self, token: re.Match[str]) -> None:
        kind = token.lastgroup
        written = token[kind] if kind is not None else ""
        if kind == "mark":
            self._mark(written)
        elif kind == "end":
            self._expect("the end", "The document ends too early")
            self.ended = True
        elif kind == "text" and self._expects.startswith("a name"):
            self.tree.name(_unescaped(written))
            self._expects = ":"
        else:
            self._expect("a value", f"{written[:20]!r} stands where {self._expects} was expected")
            self.tree.add(_scalar(kind, written))
            self._after_value()

    def _mark(self, mark: str) -> None:
        wrong = f"{mark!r} stands where {self._expects} was expected"
        innermost = self.tree.innermost
        match mark:
            case "[" | "{":
                self._expect("a value", wrong)
                self.tree.begin([] if mark == "[" else {})
                self._expects = "a value or ]" if mark == "[" else "a name or }"
            case "]" | "}":
                self._expect(mark, wrong)
                self.tree.end()
                self._after_value()
            case ",":
                self._expect(",", wrong)
                self._expects = "a name" if isinstance(innermost, dict) else "a value"
            case ":":
                self._expect(":", wrong)
                self._expects = "a value"

    def _after_value(self) -> None:
        if self.tree.depth == 0:
            self._expects = "the end"
        else:
            self._expects = ", or }" if isinstance(self.tree.innermost, dict) else ", or ]"

    def _expect(self, what: str, otherwise: str) -> None:
        if what not in self._expects.split(" or "):
            raise Wrong("syntax", otherwise)


def _scalar(kind: str | None, written: str) -> Any:
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
