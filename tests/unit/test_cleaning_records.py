"""Bytes are cut into records by the grammar, whatever they are: as a slow and obvious reader would."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.cleaning.reading.records import Records, split
from processor.cleaning.reading.records_grammar import Fault, Grammar

DOUBLED, ESCAPED, UNQUOTED = Grammar(), Grammar(b";", b"'", b"\\"), Grammar(b"\t", None)
LINE_ENDS = (b"", b"\n", b"\r")


class Row(NamedTuple):
    start: int
    end: int
    line: int
    fields: int
    fault: Fault


def reference(data: bytes, grammar: Grammar) -> tuple[list[Row], int]:
    """The rows, and how many lines are blank."""
    rows: list[Row] = []
    start = line = blank = 0
    while start < len(data):
        first_end = next(at for at in range(start, len(data) + 1) if data[at : at + 1] in LINE_ENDS)
        fault, end, fields = read_one(data, start, grammar)
        if first_end - start > grammar.most_record_bytes:
            fault = Fault.RECORD_TOO_LONG
        elif end - start > grammar.most_record_bytes:
            fault = Fault.UNCLOSED_QUOTE
        elif fault is Fault.NONE and 0 in data[start:end]:
            fault, first_end, fields = Fault.NUL_BYTE, end, 0
        elif fault is Fault.NONE:
            first_end = end
        end = first_end
        if end > start or grammar.keeps_blank_lines:
            rows.append(Row(start, end, line, fields if fault is Fault.NONE else 0, fault))
        else:
            blank += 1
        after = end + (2 if data[end : end + 2] == b"\r\n" else 1)
        line += len(data[start:after].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")) - 1
        start = after
    return rows, blank


def read_one(data: bytes, start: int, grammar: Grammar) -> tuple[Fault, int, int]:
    """What is wrong, where that was seen or the record ends, and how many fields it has."""
    state, at, fields = "field", start, 1
    while True:
        sign = data[at : at + 1]
        if state == "quoted":
            if not sign:
                return Fault.UNCLOSED_QUOTE, at, 0
            if sign == grammar.escape or (grammar.escape is None and data[at : at + 2] == grammar.quote * 2):  # type: ignore[operator]
                at += 1
            elif sign == grammar.quote:
                state = "closed"
        elif state == "field" and sign == grammar.quote:
            state = "quoted"
        elif sign in LINE_ENDS:
            return Fault.NONE, at, fields
        elif sign == grammar.delimiter:
            state, fields = "field", fields + 1
        elif state == "closed":
            return Fault.TEXT_AFTER_QUOTE, at, 0
        else:
            state = "text"
        at += 1


def rows_of(records: Records) -> list[Row]:
    columns = (records.starts, records.ends, records.lines, records.fields, records.faults)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Row(start, end, line, fields, Fault(fault)) for start, end, line, fields, fault in rows]


def texts(alphabet: bytes) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=60).map(lambda drawn: bytes(alphabet[sign % len(alphabet)] for sign in drawn))


GRAMMARS = [
    (DOUBLED, b'a",\n\r\0\xff '),
    (ESCAPED, b"a';\n\r\\ b"),
    (UNQUOTED, b'a"\t\n\r'),
    (Grammar(b",", b'"', most_record_bytes=7), b'a"",\n\r'),
    (Grammar(b",", b'"', b"\\", most_record_bytes=9), b'a"\\,\n\r'),
    (Grammar(b",", b'"', most_record_bytes=3, keeps_blank_lines=True), b'a",\n\r'),
]


@pytest.mark.parametrize(("grammar", "alphabet"), GRAMMARS, ids=[str(number) for number in range(len(GRAMMARS))])
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_bytes_are_read_as_the_reference_reads_them(grammar: Grammar, alphabet: bytes, data: st.DataObject) -> None:
    content = data.draw(texts(alphabet) | st.binary(max_size=40))
    records = split(content, grammar)
    assert (rows_of(records), records.blank_lines) == reference(content, grammar)
    assert records.consumed == len(content)


@pytest.mark.parametrize(("grammar", "alphabet"), GRAMMARS, ids=[str(number) for number in range(len(GRAMMARS))])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_said_of_a_part_of_a_file_holds_for_all_of_it(
    grammar: Grammar, alphabet: bytes, data: st.DataObject
) -> None:
    content, known = data.draw(texts(alphabet)), data.draw(st.integers(0, 60))
    part = split(content[:known], grammar, is_last=False)
    rest = split(content[part.consumed :], grammar)
    assert (part.blank_lines + rest.blank_lines, part.consumed + rest.consumed) == (
        reference(content, grammar)[1],
        len(content),
    )
    moved = [
        Row(row.start + part.consumed, row.end + part.consumed, row.line + part.line_count, row.fields, row.fault)
        for row in rows_of(rest)
    ]
    assert rows_of(part) + moved == reference(content, grammar)[0]


def faults_of(content: bytes, grammar: Grammar = DOUBLED) -> list[tuple[bytes, str]]:
    found = split(content, grammar)
    return [(content[row.start : row.end], row.fault.code) for row in rows_of(found)]


def test_of_a_record_with_an_unclosed_quote_only_the_first_line_is_lost() -> None:
    assert faults_of(b'1,"a\n2,b\n3,c\n') == [(b'1,"a', "unclosed_quote"), (b"2,b", "none"), (b"3,c", "none")]


def test_an_unclosed_quote_is_not_closed_by_the_next_one_far_away() -> None:
    grammar = Grammar(most_record_bytes=100)
    content = b'1,"a\n' + b"2,b\n" * 30 + b'3,"c"\n'
    faults = [fault for _, fault in faults_of(content, grammar)]
    assert faults == ["unclosed_quote"] + ["none"] * 31


def test_text_behind_a_closing_quote_costs_one_line_however_many_the_quotes_had() -> None:
    assert faults_of(b'1,"a\nb"c\n2,d\n') == [(b'1,"a', "text_after_quote"), (b'b"c', "none"), (b"2,d", "none")]


def test_a_quote_within_a_field_without_quotes_is_text() -> None:
    assert faults_of(b'5" pipe,6"\n"7"" pipe","8"\n') == [(b'5" pipe,6"', "none"), (b'"7"" pipe","8"', "none")]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_window_may_end_anywhere(line_end: bytes) -> None:
    """Among a few bytes, no window ends."""
    row = b'1,"a' + line_end + b'b ""c""",d' + line_end
    content = row * (1_200_000 // len(row))
    records = split(content, DOUBLED)
    assert len(records) == len(content) // len(row)
    assert not records.faults.any()
    assert records.starts.tolist() == list(range(0, len(content), len(row)))
    assert set((records.ends - records.starts).tolist()) == {len(row) - len(line_end)}
    assert records.lines.tolist() == list(range(0, 2 * len(records), 2))
    assert set(records.fields.tolist()) == {3}


def test_lines_that_each_leave_a_quote_open_are_not_read_over_and_over() -> None:
    """Each would look for its end through all that follow: that is 25 GB, and this test would not end in time."""
    content = b'a","\n' * 100_000 + b'"z\n'
    faults = [Fault.TEXT_AFTER_QUOTE] * 100_000 + [Fault.UNCLOSED_QUOTE]
    assert split(content, DOUBLED).faults.tolist() == faults
    assert (
        split(content, Grammar(most_record_bytes=400_000)).faults.tolist()[:20_000] == [Fault.UNCLOSED_QUOTE] * 20_000
    )
