"""A text as rows of fields, for the eye that decides: the same grammar by which records are cut, on a sample."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|\n|\r")
_LONGEST_QUOTED = 64 << 10  # characters; a longer one is a flaw in a sample, that hostile ones cost no more
_NOTHING = re.compile(r"(?!)")


class Grammar(NamedTuple):
    delimiter: str
    quote: str | None
    escape: str | None  # None: quotes are doubled


class Row(NamedTuple):
    fields: Sequence[str]
    line: int  # of the text, from 0 on
    lines: int
    quoted: int  # fields in quotes
    is_flawed: bool  # a quote that does not close, or text behind it: one line, as if there were no quotes

    @property
    def is_blank(self) -> bool:
        """Nothing, or nothing but delimiters."""
        return not any(field and not field.isspace() for field in self.fields)


@dataclass(frozen=True)
class Lines:
    """A text, cut at its line ends once for all grammars."""

    text: str

    @cached_property
    def _ends(self) -> list[tuple[int, int]]:
        """Where each line ends, and where the next begins."""
        found = [end.span() for end in _LINE_END.finditer(self.text)]
        if self.text and (not found or found[-1][1] < len(self.text)):
            found.append((len(self.text), len(self.text)))
        return found

    @cached_property
    def starts(self) -> list[int]:
        return [0, *(after for _, after in self._ends)][: len(self._ends)]

    @cached_property
    def ends(self) -> list[int]:
        return [end for end, _ in self._ends]

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        return self.text[self.starts[number] : self.ends[number]]

    def offset(self, line: int) -> int:
        """Where the line begins, or the text ends."""
        return self.starts[line] if line < len(self) else (self._ends[-1][1] if self._ends else 0)


def rows(lines: Lines, grammar: Grammar, start: int = 0) -> Iterator[Row]:
    text, (delimiter, quote, _) = lines.text, grammar
    quoted = _quoted(grammar)
    number = start
    while number < len(lines):
        line = lines[number]
        if not quote or (not line.startswith(quote) and delimiter + quote not in line):
            yield Row(line.split(delimiter), number, 1, 0, False)
            number += 1
            continue
        fields: list[str] = []
        position, at, in_quotes, is_flawed = lines.starts[number], number, 0, False
        while True:
            if text.startswith(quote, position):
                found = quoted.match(text, position, position + _LONGEST_QUOTED)
                if found is None:
                    is_flawed = True
                    break
                fields.append(_unescaped(found[1], grammar))
                in_quotes += 1
                position = found.end()
                at = bisect_left(lines.ends, position, at)
                if at == len(lines) or (position != lines.ends[at] and not text.startswith(delimiter, position)):
                    is_flawed = True
                    break
                if position == lines.ends[at]:
                    break
                position += len(delimiter)
            else:
                end = text.find(delimiter, position, lines.ends[at])
                if end < 0:
                    fields.append(text[position : lines.ends[at]])
                    break
                fields.append(text[position:end])
                position = end + len(delimiter)
        if is_flawed:
            yield Row(line.split(delimiter), number, 1, 0, True)
            number += 1
        else:
            yield Row(fields, number, at - number + 1, in_quotes, False)
            number = at + 1


def _quoted(grammar: Grammar) -> re.Pattern[str]:
    if not grammar.quote:
        return _NOTHING
    quote, escape = re.escape(grammar.quote), grammar.escape and re.escape(grammar.escape)
    if escape:
        return re.compile(rf"{quote}([^{quote}{escape}]*+(?:{escape}.[^{quote}{escape}]*+)*+){quote}", re.DOTALL)
    return re.compile(rf"{quote}([^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+){quote}")


def _unescaped(field: str, grammar: Grammar) -> str:
    quote, escape = grammar.quote, grammar.escape
    assert quote
    if escape is None:
        return field.replace(quote * 2, quote)
    return re.sub(rf"{re.escape(escape)}(.)", r"\1", field, flags=re.DOTALL) if escape in field else field
