"""The fields of one record: what a parser's reading of it has to come to."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from processor.cleaning.reading.records_grammar import Grammar


class Field(NamedTuple):
    start: int
    end: int
    value: bytes


def fields_of(record: bytes, grammar: Grammar) -> Iterator[Field]:
    """Of a well-formed one; of any other, as far as it is one."""
    quoted = _patterns(grammar).quoted
    start = 0
    while True:
        match = quoted.match(record, start) if quoted else None
        if match:
            yield Field(start, match.end(), _unescaped(match[1], grammar))
            end = match.end()
        else:
            end = record.find(grammar.delimiter, start)
            end = len(record) if end < 0 else end
            yield Field(start, end, record[start:end])
        if end == len(record):
            return
        start = end + 1


def values_of(record: bytes, grammar: Grammar) -> list[bytes]:
    return [field.value for field in fields_of(record, grammar)]


def count_fields(record: bytes, grammar: Grammar) -> int:
    if grammar.quote is None or grammar.quote not in record:
        return record.count(grammar.delimiter) + 1
    return sum(1 for _ in fields_of(record, grammar))


def field_at(record: bytes, grammar: Grammar, position: int) -> int:
    """Which field, from 0, the position is in."""
    for number, field in enumerate(fields_of(record, grammar)):
        if position <= field.end:
            return number
    raise AssertionError("A record's last field ends with it.")


def open_field(record: bytes, grammar: Grammar) -> int:
    """Which field of a malformed record begins with a quote that does not close it."""
    for number, field in enumerate(fields_of(record, grammar)):
        text = record[field.start : field.end]
        if grammar.quote is not None and text.startswith(grammar.quote) and field.value == text:
            return number
    raise AssertionError("A record that its quotes make malformed has such a field.")


def written(values: Sequence[bytes], grammar: Grammar) -> bytes:
    """In the one way that no parser sees otherwise."""
    quote, escape = grammar.quote, grammar.escape
    assert quote is not None
    if escape is None:
        escaped = [value.replace(quote, quote + quote) for value in values]
    else:
        escaped = [value.replace(escape, escape + escape).replace(quote, escape + quote) for value in values]
    return grammar.delimiter.join(quote + value + quote for value in escaped)


def is_peculiar(record: bytes, grammar: Grammar) -> bool:
    """Whether a parser may read the record in another way: it may pass over blanks before a quote, and drop an escape
    before what needs none."""
    if grammar.quote is None or grammar.quote not in record:
        return False
    return bool(_patterns(grammar).peculiar.search(record))


class _Patterns(NamedTuple):
    quoted: re.Pattern[bytes] | None  # a field
    escape: re.Pattern[bytes]
    peculiar: re.Pattern[bytes]


@lru_cache(maxsize=16)
def _patterns(grammar: Grammar) -> _Patterns:
    never = re.compile(rb"(?!)")
    if grammar.quote is None:
        return _Patterns(None, never, never)
    quote, delimiter = re.escape(grammar.quote), re.escape(grammar.delimiter)
    blanks = b"(?:^|%b) +%b" % (delimiter, quote)
    if grammar.escape is None:
        quoted = rb"%b([^%b]*+(?:%b%b[^%b]*+)*+)%b" % (quote, quote, quote, quote, quote, quote)
        return _Patterns(re.compile(quoted + rb"(?=%b|\Z)" % delimiter), never, re.compile(blanks))
    escape = re.escape(grammar.escape)
    plain = rb"[^%b%b]*+" % (quote, escape)
    quoted = rb"%b(%b(?:%b[\s\S]%b)*+)%b(?=%b|\Z)" % (quote, plain, escape, plain, quote, delimiter)
    useless = rb"%b[^%b%b]" % (escape, quote, escape)
    return _Patterns(
        re.compile(quoted),
        re.compile(rb"%b([%b%b])" % (escape, quote, escape)),
        re.compile(b"%b|%b" % (blanks, useless)),
    )


def _unescaped(text: bytes, grammar: Grammar) -> bytes:
    assert grammar.quote is not None
    if grammar.escape is None:
        return text.replace(grammar.quote * 2, grammar.quote)
    return _patterns(grammar).escape.sub(rb"\1", text) if grammar.escape in text else text
