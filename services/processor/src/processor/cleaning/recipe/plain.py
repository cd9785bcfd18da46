"""Which cells the rules of a recipe leave as they are, told by their bytes: of all cells of a column at once. Nothing
is said of the others: they may be left as they are, too.

A cell that is told of is text as it stands there, in a column that stays text, or reads as what the column becomes, or
is empty. Where bytes tell too little, but the rule says of each cell that is another than before, it is asked by SQL.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.cells import HEAD_BYTES, WORD_BYTES, Column, Heads, Words
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.recipe.passes import Pass
from processor.cleaning.recipe.rules.booleans import Boolean
from processor.cleaning.recipe.rules.columns import DropColumns, Rename
from processor.cleaning.recipe.rules.conditions import DropRows, Range, Schema
from processor.cleaning.recipe.rules.contacts import Email, Phone
from processor.cleaning.recipe.rules.countries import Country
from processor.cleaning.recipe.rules.date_forms import parsed
from processor.cleaning.recipe.rules.dates import Date
from processor.cleaning.recipe.rules.numbers import Decimal, Integer, Number, Numeric
from processor.cleaning.recipe.rules.rule import Rule
from processor.cleaning.recipe.rules.text import Case, InnerSpace, Map, NullTokens, Replace, Trim
from processor.cleaning.sql import WHITE

Flags = NDArray[np.bool_]
Test = Callable[[Column, Heads], Flags]

_INTEGER_DIGITS, _DOUBLE_DIGITS = 18, 15  # that are read as they are written
_DIGIT, _ZERO, _DOT, _MINUS, _OTHER = 1, 2, 4, 8, 16  # a digit that is not zero, …
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(slots=True)
class PlainColumn:
    source: int  # its place in the table
    is_text: bool = True
    tests: list[Test] = field(default_factory=list)

    def tell(self, column: Column, heads: Heads) -> Flags:
        told = np.ones(len(column.starts), np.bool_)
        for test in self.tests:
            told &= test(column, heads)
        return told


@dataclass(frozen=True, slots=True)
class Plain:
    columns: Mapping[str, PlainColumn]  # that come out of the rules that look at one row by itself
    asked: Pass | None  # for the rows that it refuses or changes


def plain_of(plan: Plan, names: Sequence[str]) -> Plain | None:
    """None if nothing can be told."""
    columns = {name: PlainColumn(at) for at, name in enumerate(names)}
    asked: set[int] = set()
    for at, rule in enumerate(plan.recipe.rules):
        if rule.needs_all_rows:
            break
        match rule:
            case Rename():
                columns = {rule.names.get(name, name): column for name, column in columns.items()}
            case DropColumns():
                for name in rule.columns:
                    columns.pop(name, None)
            case Trim() | NullTokens():
                for name in rule.columns or [name for name, column in columns.items() if column.is_text]:
                    columns[name].tests.append(_text_test(rule))
            case Integer() | Decimal() | Number() | Date() | Boolean():
                test = _type_test(rule)
                if test is None or rule.on_error == "keep":
                    return None
                for name in rule.columns:
                    columns[name].tests.append(test)
                    columns[name].is_text = False
            case (
                InnerSpace()
                | Case()
                | Replace()
                | Map()
                | Email()
                | Phone()
                | Country()
                | DropRows()
                | Range()
                | Schema()
            ):
                asked.add(at)
            case _:
                return None
    return Plain(columns, _only(asked, plan.first) if asked else None) if columns else None


def _only(asked: set[int], rules: Pass) -> Pass:
    changes = [change for change in rules.sheet.changes if change.rule in asked]
    rejects = [reject for reject in rules.sheet.rejects if reject.rule in asked]
    return Pass(replace(rules.sheet, columns={}, changes=changes, rejects=rejects), rules.rules)


def _text_test(rule: Trim | NullTokens) -> Test:
    return _untrimmed(rule.side) if isinstance(rule, Trim) else _no_token(rule)


def _type_test(rule: Rule) -> Test | None:
    match rule:
        case Integer():
            return _numbers(_INTEGER_DIGITS, 0)
        case Decimal():
            return _numbers(rule.precision - rule.scale, _places(rule, rule.scale))
        case Number():
            return _numbers(_DOUBLE_DIGITS, _places(rule, _DOUBLE_DIGITS), _DOUBLE_DIGITS)
        case Date() if parsed(rule.formats[0]).is_usual:
            return _is_day
        case Boolean():
            return _is_boolean(rule)
    return None


def _places(rule: Numeric, most: int) -> int:
    return most if rule.decimal == "." else 0


def _untrimmed(side: str) -> Test:
    def test(column: Column, heads: Heads) -> Flags:
        told: Flags = column.lengths == 0
        begins_white = ends_white = np.False_
        if side != "right":
            begins_white = _white_starts()[heads.low & np.uint64(0xFFFF)]
        if side != "left":
            pairs = np.ndarray(len(column.bytes) - 1, "<u2", column.bytes.data, strides=(1,))
            ends_white = _white_ends()[pairs[column.starts.astype(np.intp) + (column.lengths - 2)]]
        told |= ~(begins_white | ends_white)
        return told

    return test


@cache
def _white_starts() -> Flags:
    """By the first two bytes of a text, the lower one first."""
    table = np.zeros((256, 256), np.bool_)
    for first, *more in (sign.encode() for sign in WHITE):
        table[more[0] if more else slice(None), first] = True
    return table.ravel()


@cache
def _white_ends() -> Flags:
    """By the last two."""
    table = np.zeros((256, 256), np.bool_)
    for *more, last in (sign.encode() for sign in WHITE):
        table[last, more[-1] if more else slice(None)] = True
    return table.ravel()


def _no_token(rule: NullTokens) -> Test:
    tokens = {(token.lower() if rule.ignore_case else token).encode() for token in rule.tokens}
    # Letters of other sizes may have other lengths.
    longest = max(map(len, tokens)) * (2 if rule.ignore_case else 1)
    seen = _lowered(all(token.isascii() for token in tokens)) if rule.ignore_case else bytes(range(256))
    short = [_head(token) for token in tokens if len(token) <= HEAD_BYTES]

    def test(column: Column, heads: Heads) -> Flags:
        told = column.lengths > longest
        maybe = np.flatnonzero(~told)
        low, high = (_translated(words[maybe], seen) for words in heads)
        other = column.lengths[maybe] <= HEAD_BYTES
        if rule.ignore_case:
            other &= (low | high) & _each(0x80) == 0
        for token in short:
            other &= (low != token.low) | (high != token.high)
        told[maybe] = other
        return told

    return test


def _lowered(are_ascii: bool) -> bytes:
    """What a byte is in small letters; with the highest bit, if more than the byte would have to be known. Beyond
    ASCII, only letters that begin with two of the bytes have small ones that are ASCII: İ and the sign of Kelvin."""
    beyond = (0x80 if not are_ascii or byte in b"\xc4\xe2" else 1 for byte in range(0x80, 0x100))
    return bytes(range(0x80)).lower() + bytes(beyond)


def _numbers(whole: int, places: int, most: int = HEAD_BYTES) -> Test:
    """Of as many digits before the dot and behind it, and of as many in all: -12.34, without a zero too many."""

    def test(column: Column, heads: Heads) -> Flags:
        lengths, (low, high) = column.lengths, (_translated(words, _classes()) for words in heads)
        dots = low & _each(_DOT), high & _each(_DOT)
        minus = low & _each(_MINUS)
        negative = minus != 0
        at = np.where(dots[0] != 0, _first(dots[0]), _first(dots[1]) + WORD_BYTES)
        has_dot = at < HEAD_BYTES
        digits = np.where(has_dot, at, lengths) - negative
        behind = lengths - at - 1
        begins_with_zero = low & np.uint64(_ZERO) != 0
        told: Flags = (lengths <= HEAD_BYTES) & ((low | high) & _each(_OTHER) | high & _each(_MINUS) == 0)
        told &= (minus <= _MINUS) & (np.bitwise_count(dots[0]) + np.bitwise_count(dots[1]) <= 1)
        told &= (digits >= 1) & (digits <= whole) & (lengths - has_dot <= most)
        told &= ~has_dot | (behind >= 1) & (behind <= places)
        told &= ~begins_with_zero | (digits == 1)
        told &= ~negative | (low & np.uint64(_DIGIT << 8) != 0)
        told |= lengths == 0
        return told

    return test


def _is_day(column: Column, heads: Heads) -> Flags:
    low, high = heads
    # Of each byte, what is more than a digit or no dash is moved into its highest bit.
    odd = low ^ _head(b"0000-00-").low, high ^ _head(b"0000-00-00").high
    odd = odd[0] + _head(b"vvvv\x7fvv\x7f").low | odd[0], odd[1] + _head(bytes(8) + b"vv" + b"\x7f" * 6).high | odd[1]
    month, day = _two_digits(low >> np.uint64(40)), _two_digits(high)
    days = np.array((0, *_DAYS) + (0,) * (100 - len(_DAYS)), np.uint64)[np.minimum(month, np.uint64(99))]
    told: Flags = ((odd[0] | odd[1]) & _each(0x80) == 0) & (column.lengths == len("0000-00-00"))
    told &= (low & np.uint64(0x0F) != 0) & (day >= 1) & (day <= days)
    told |= column.lengths == 0
    return told


def _two_digits(words: Words) -> Words:
    digit = np.uint64(0x0F)
    return (words & digit) * np.uint64(10) + (words >> np.uint64(8) & digit)


def _is_boolean(rule: Boolean) -> Test | None:
    yes, no = rule.words()
    if "true" not in yes or "false" not in no or "" in yes | no:
        return None
    words = _head(b"true"), _head(b"false")

    def test(column: Column, heads: Heads) -> Flags:
        told: Flags = column.lengths == 0
        for word in words:
            told |= (heads.low == word.low) & (heads.high == 0)
        return told

    return test


def _head(text: bytes) -> Heads:
    low, high = np.frombuffer(text.ljust(HEAD_BYTES, b"\0"), "<u8")
    return Heads(low, high)


def _translated(words: Words, table: bytes) -> Words:
    """Of which zeros stay zeros."""
    if not words.any():
        return words
    return np.frombuffer(words.tobytes().translate(table), "<u8")


@cache
def _classes() -> bytes:
    classes = {0: 0, ord("0"): _ZERO, ord("."): _DOT, ord("-"): _MINUS} | dict.fromkeys(b"123456789", _DIGIT)
    return bytes(classes.get(byte, _OTHER) for byte in range(256))


def _each(byte: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([byte] * 8)))


def _first(word: Words) -> NDArray[np.int64]:
    """The place of the first byte that is not zero; 8 if none is."""
    below = np.bitwise_count(~word & (word - np.uint64(1)))
    return (below >> 3).astype(np.int64)
