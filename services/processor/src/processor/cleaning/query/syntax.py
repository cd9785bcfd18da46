"""How the parameters of a query are written: which columns, which comparison, which values.

A column's name stands as it is, or in double quotes (doubled within) if it has blanks around it or one of `,:=!<>~"` in
it, or begins with `-`. Values of a list are separated by commas, and are in double quotes if they have commas or such
quotes themselves. Any other value is all that follows.
"""

import re
from dataclasses import dataclass

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_BARE_NAME = re.compile(r'[^,:=!<>~"]+')
_BARE_VALUE = re.compile(r'[^,"]*')
_OPERATOR = re.compile(r"<=|>=|!=|=|<|>|~|:(in|between|is|not):")
_LISTS = frozenset({"in", "between"})


class Unreadable(ValueError):
    """What was expected, as a sentence."""


@dataclass(frozen=True, slots=True)
class Comparison:
    column: str
    operator: str  # = != < <= > >= ~ in between is not
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    column: str
    descending: bool


def comparison(text: str) -> Comparison:
    column, at = _name(text, 0)
    operator = _OPERATOR.match(text, at)
    if operator is None:
        detail = "Behind the column comes =, !=, <, <=, >, >=, ~, :in:, :between:, :is: or :not:. Put a name with such"
        raise Unreadable(f'{detail} a character in it into double quotes: "a:b"=1.')
    kind, rest = operator[1] or operator[0], text[operator.end() :]
    return Comparison(column, kind, tuple(_values(rest)) if kind in _LISTS else (rest,))


def names(text: str) -> list[str]:
    return [one.column for one in _listed(text, signed=False)]


def order(text: str) -> list[Ordered]:
    return _listed(text, signed=True)


def _listed(text: str, *, signed: bool) -> list[Ordered]:
    found: list[Ordered] = []
    at = -1
    while at < len(text):
        at += 1
        descending = signed and text.startswith("-", at)
        name, at = _name(text, at + descending)
        found.append(Ordered(name, descending))
        if at < len(text) and text[at] != ",":
            raise Unreadable("Columns are separated by commas. Put a name with other signs into double quotes.")
    return found


def _name(text: str, at: int) -> tuple[str, int]:
    if quoted := _QUOTED.match(text, at):
        return quoted[1].replace('""', '"'), quoted.end()
    bare = _BARE_NAME.match(text, at)
    name = bare[0].strip() if bare else ""
    if bare is None or not name:
        raise Unreadable("Here the name of a column is expected; double quotes around it must be closed.")
    return name, bare.end()


def _values(text: str) -> list[str]:
    found: list[str] = []
    at = -1
    while at < len(text):
        at += 1
        if quoted := _QUOTED.match(text, at):
            found.append(quoted[1].replace('""', '"'))
            at = quoted.end()
        else:
            bare = _BARE_VALUE.match(text, at)
            assert bare is not None
            found.append(bare[0])
            at = bare.end()
        if at < len(text) and text[at] != ",":
            raise Unreadable("Values are separated by commas. Put a value with commas or quotes into double quotes.")
    return found
