"""One record after the other, exactly, where the fast way does not know on."""

import re
from functools import lru_cache
from typing import NamedTuple

from processor.cleaning.reading.records_grammar import Fault, Grammar

_LINE = re.compile(rb"[^\r\n]*+")


class One(NamedTuple):
    end: int  # of its text
    after: int  # where the next record begins
    fault: Fault


class ExactReader:
    """Of a malformed record that goes over several lines, only the first line is rejected, and the next is read anew.
    Lines that each leave a quote open would so be read over and over. But all records that are within quotes at the end
    of the same line go on in the same way: what has become of one is remembered for the others, so that reading takes
    linear time whatever the bytes are."""

    def __init__(self, data: bytes, grammar: Grammar, *, is_last: bool) -> None:
        self._data = data
        self._is_last = is_last
        self._most = grammar.most_record_bytes
        self._delimiter = grammar.delimiter[0]
        self._quote = grammar.quote if grammar.escape is None else None
        self._fresh, self._going_on = _patterns(grammar)
        # Within quotes at any line's end from `_since` to before `_until`: the record's end is at `_until`, or a fault
        # is, or else nothing is known of what follows.
        self._since = self._until = -1
        self._outcome: Fault | None = None

    def read(self, start: int) -> One | None:
        """The record that begins there; None if it takes more bytes to tell."""
        match = self._fresh.match(self._data, start)
        stop = match.end() if match else start
        end = stop if self._ends_at(stop) else self._line_end(stop)
        if end == len(self._data) and not self._is_last:
            return None
        if end - start > self._most:
            fault = Fault.RECORD_TOO_LONG
        elif end == stop:
            fault = Fault.NONE
        elif match is not None and self._data[stop] != self._delimiter:
            fault = Fault.TEXT_AFTER_QUOTE
        else:
            outcome = self._resolve(end, start + self._most)
            if outcome is None and not self._is_last and len(self._data) - start <= self._most:
                return None
            fault = Fault.UNCLOSED_QUOTE if outcome is None else outcome
            end = self._until if fault is Fault.NONE else end
        after = self._after(end)
        return None if after is None else One(end, after, fault)

    def _resolve(self, line_end: int, limit: int) -> Fault | None:
        """What becomes of a record that is within quotes at that line's end; None if nothing does up to the limit."""
        if not self._since <= line_end < self._until:
            self._since, self._until, self._outcome = line_end, line_end, None
        while self._outcome is None and self._until < min(limit, len(self._data)):
            match = self._going_on.match(self._data, self._next_quote())
            assert match is not None
            self._until = stop = match.end()
            if match.group(1) is None:
                self._until = len(self._data)
            elif not self._ends_at(stop) and self._data[stop] == self._delimiter:
                self._until = self._line_end(stop)
            elif not self._ends_at(stop):
                self._outcome = Fault.TEXT_AFTER_QUOTE
            elif stop < len(self._data) or self._is_last:
                self._outcome = Fault.NONE
        return self._outcome if self._until <= limit else None

    def _next_quote(self) -> int:
        """Or before it, where an escape may be."""
        if self._quote is None:
            return self._until
        at = self._data.find(self._quote, self._until)
        return len(self._data) if at < 0 else at

    def _ends_at(self, position: int) -> bool:
        return position == len(self._data) or self._data[position] in b"\r\n"

    def _line_end(self, position: int) -> int:
        match = _LINE.match(self._data, position)
        assert match is not None
        return match.end()

    def _after(self, end: int) -> int | None:
        line_end = self._data[end : end + 2]
        if line_end == b"\r" and not self._is_last:
            return None
        return end + (2 if line_end == b"\r\n" else min(1, len(line_end)))


@lru_cache(maxsize=16)
def _patterns(grammar: Grammar) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """As many fields as there are on the line from a record's start on; and from within quotes on, where the group is
    there if they are closed, as many as there are on that line."""
    if grammar.quote is None:
        return _LINE, re.compile(rb"(?!)")
    delimiter, quote = re.escape(grammar.delimiter), re.escape(grammar.quote)
    field = rb"(?:%b%b%b|(?!%b)[^%b\r\n]*+)" % (quote, _quoted(grammar, rb"\r\n"), quote, quote, delimiter)
    # Not possessive: before Python 3.11.5, groups with alternatives in them are not repeated so as they should be.
    more = rb"(?:%b%b)*" % (delimiter, field)
    return re.compile(field + more), re.compile(rb"%b(%b%b)?" % (_quoted(grammar, b""), quote, more))


def _quoted(grammar: Grammar, without: bytes) -> bytes:
    """What may stand between quotes, but for some characters."""
    assert grammar.quote is not None
    quote = re.escape(grammar.quote)
    if grammar.escape is None:
        return rb"[^%b%b]*+(?:%b%b[^%b%b]*+)*+" % (quote, without, quote, quote, quote, without)
    escape = re.escape(grammar.escape)
    plain = rb"[^%b%b%b]*+" % (quote, escape, without)
    return rb"%b(?:%b%b%b)*+" % (plain, escape, rb"[^%b]" % without if without else rb"[\s\S]", plain)
