"""The records in a window of a file, all at once, as far as its quotes are where the grammar has them.

Quotes are taken to open and close by turns. That is right as long as each that opens stands at a field's beginning and
each that closes before a field's end, which is looked at for all of them together; one that stands within a field
without quotes is text. From the first quote on that is none of these, nothing is said: `records_exact` knows on.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from processor.cleaning.reading.records_bits import (
    Bits,
    Positions,
    bits_before,
    bits_of,
    count_until,
    counts_before,
    first_of,
    last_of,
    parity,
    positions_of,
    shifted_down,
    shifted_up,
)
from processor.cleaning.reading.records_grammar import Grammar

_LF, _CR, _SPACE = 10, 13, 32
_MOST_SPACES = 16
_NOTHING: Positions = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True)
class Window:
    """All positions are the window's."""

    line_ends: Positions  # the last byte of each record's line end
    lines: NDArray[np.int64]  # how many lines have ended with it
    delimiters: NDArray[np.int32]  # how many are before it, outside quotes
    delimiter_bits: Bits  # where these are
    peculiar: Positions  # quotes and escapes that a parser may see in another way
    failed: bool  # there is a quote that is not where it has to be


@dataclass(frozen=True, slots=True)
class _Quotes:
    signs: Bits
    within: Bits
    bad: int | None
    literal: Bits  # none of them opens or closes
    escapes: Bits | None


def look(data: bytes, begin: int, end: int, grammar: Grammar, *, is_last: bool) -> Window:
    """A record begins at `begin`. Unless it is the last, nothing is said of what depends on bytes behind the data."""
    seen = _see(data, begin, end, grammar, is_last=is_last)
    ends = positions_of(seen.outside)
    quotes, delimiters, peculiar, bad = seen.quotes, seen.delimiters, _NOTHING, None
    lines = np.arange(1, len(ends) + 1)
    if quotes is not None:
        delimiters = delimiters & ~quotes.within
        peculiar = _peculiar(np.frombuffer(data, np.uint8, end - begin, begin), quotes, seen.any_ends | delimiters)
        bad = quotes.bad
        ends = ends[: None if bad is None else np.searchsorted(ends, bad)]
        lines = lines[: len(ends)]
        if np.bitwise_count(seen.outside).sum() != np.bitwise_count(seen.line_ends).sum():
            lines = np.searchsorted(positions_of(seen.line_ends), ends) + 1
    return Window(ends, lines, counts_before(delimiters, ends), delimiters, peculiar, bad is not None)


class Tally(NamedTuple):
    bytes: int  # up to the last record's end
    records: int
    blank: int  # of these
    lines: int
    failed: bool  # there is a quote that is not where it has to be


def tally(data: bytes, begin: int, end: int, grammar: Grammar, *, is_last: bool) -> Tally:
    """How many records `look` would find."""
    seen = _see(data, begin, end, grammar, is_last=is_last)
    bad = None if seen.quotes is None else seen.quotes.bad
    outside = seen.outside if bad is None else bits_before(seen.outside, bad)
    last = last_of(outside)
    if last is None:
        return Tally(0, 0, 0, 0, bad is not None)
    blank = shifted_up(outside, first=True) & seen.any_ends
    return Tally(
        last + 1,
        int(np.bitwise_count(outside).sum()),
        count_until(blank, last),
        count_until(seen.line_ends, last),
        bad is not None,
    )


class _Seen(NamedTuple):
    any_ends: Bits  # each byte that ends a line or stands in a line end
    line_ends: Bits  # the last byte of each line end
    outside: Bits  # of these, what is not within quotes
    delimiters: Bits
    quotes: "_Quotes | None"


def _see(data: bytes, begin: int, end: int, grammar: Grammar, *, is_last: bool) -> _Seen:
    bytes_ = np.frombuffer(data, np.uint8, end - begin, begin)
    behind = data[end] if end < len(data) else None
    line_feeds = bits_of(bytes_ == _LF)
    line_ends = any_ends = line_feeds
    if data.find(b"\r", begin, end) >= 0:
        returns = bits_of(bytes_ == _CR)
        undecided = behind is None and not is_last
        line_ends = line_feeds | returns & ~shifted_down(line_feeds, end - begin, last=behind == _LF or undecided)
        any_ends = line_feeds | returns
    delimiters = bits_of(bytes_ == grammar.delimiter[0])
    if grammar.quote is None or data.find(grammar.quote, begin, end) < 0:
        return _Seen(any_ends, line_ends, line_ends, delimiters, None)
    quotes = _quotes(bytes_, behind, any_ends, delimiters, grammar)
    return _Seen(any_ends, line_ends, line_ends & ~quotes.within, delimiters, quotes)


def _quotes(
    bytes_: NDArray[np.uint8], behind: int | None, any_end: Bits, delimiters: Bits, grammar: Grammar
) -> _Quotes:
    delimiter, quote, escape = grammar.delimiter, grammar.quote, grammar.escape
    assert quote is not None
    signs = bits_of(bytes_ == quote[0])
    length = len(bytes_)
    field_ends = any_end | delimiters
    around = field_ends | signs
    ends_behind = behind is None or behind in (_LF, _CR, delimiter[0])
    quote_behind = behind == quote[0]
    literal = signs & ~shifted_up(around, first=True)
    literal &= ~shifted_down(around, length, last=ends_behind or quote_behind)
    before, after = shifted_up(field_ends, first=True), shifted_down(field_ends, length, last=ends_behind)
    if escape is None:
        turning, escapes, unclear = signs & ~literal, None, np.zeros_like(signs)
        before |= shifted_up(turning, first=False)
        after |= shifted_down(turning, length, last=quote_behind)
    else:
        escapes = bits_of(bytes_ == escape[0])
        escaped = signs & shifted_up(escapes, first=False)
        unclear = escaped & shifted_up(shifted_up(escapes, first=False), first=False)
        turning, literal = signs & ~literal & ~escaped, literal & ~escaped
    within = parity(turning)
    bad = turning & ((within & ~before) | (~within & ~after)) | literal & within | unclear
    return _Quotes(signs, within, first_of(bad), literal, escapes)


def _peculiar(bytes_: NDArray[np.uint8], quotes: _Quotes, field_ends: Bits) -> Positions:
    """A parser may pass over blanks before a quote, and drop an escape before what needs none."""
    found = [_behind_leading_spaces(bytes_, positions_of(quotes.literal), field_ends)] if quotes.literal.any() else []
    if quotes.escapes is not None:
        usual = shifted_down(quotes.escapes | quotes.signs, len(bytes_), last=True)
        found.append(positions_of(quotes.escapes & quotes.within & ~usual))
    return np.sort(np.concatenate(found)) if found else _NOTHING


def _behind_leading_spaces(bytes_: NDArray[np.uint8], quotes: Positions, field_ends: Bits) -> Positions:
    before = quotes - 1
    spaces = bytes_[before] == _SPACE  # a literal quote is never a window's first byte
    found, before = quotes[spaces], before[spaces]
    for _ in range(_MOST_SPACES):
        before -= (before >= 0) & (bytes_[before] == _SPACE)
    begins = (before < 0) | (bytes_[before] == _SPACE) | _are_in(field_ends, before)
    behind: Positions = found[begins]
    return behind


def _are_in(bits: Bits, positions: Positions) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = (bits[positions >> 6] >> (positions & 63).astype(np.uint64)) & np.uint64(1) == 1
    return found
