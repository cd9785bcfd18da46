"""Each record of a chunk becomes a row in DuckDB, or a reject: exactly, and all of them."""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.cleaning.reading import chunks, feed, feed_utf8
from processor.cleaning.reading.chunks import Table, cut
from processor.cleaning.reading.chunks_content import original_bytes, read_chunk
from processor.cleaning.reading.records import split
from processor.cleaning.reading.records_grammar import Fault, Grammar

DOUBLED, ESCAPED, UNQUOTED = Grammar(), Grammar(b";", b"'", b"\\"), Grammar(b"\t", None)
Row = tuple[str, ...]
_BEYOND_ASCII = b"\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xdf\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5\xff"


class Reject(NamedTuple):
    text: bytes  # with its line end
    reason: str
    column: int
    fields: int = 0


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 50)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 200)


class Reader:
    """Reads a file as cleaning does, chunk by chunk."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def __call__(
        self, content: bytes, columns: int, grammar: Grammar, encoding: str = "utf-8"
    ) -> tuple[list[Row], list[Reject]]:
        return read(self.connection, content, columns, grammar, encoding)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with duckdb.connect(
        config={"threads": 2, "memory_limit": "256MB", "preserve_insertion_order": False}
    ) as connection:
        yield Reader(connection)


def read(
    connection: duckdb.DuckDBPyConnection, content: bytes, columns: int, grammar: Grammar, encoding: str
) -> tuple[list[Row], list[Reject]]:
    rows: list[Row] = []
    rejects: list[Reject] = []
    fd = os.memfd_create("file")
    try:
        os.write(fd, content)
        table = Table(0, len(content), encoding=encoding)
        for chunk in cut(fd, table, grammar):
            part = read_chunk(fd, chunk, table, grammar)
            with feed.feed_of(part, grammar, columns, "/nowhere") as fed:
                feed.read_raw(connection, fed, [f'a "{number}"' for number in range(columns)])
                found = connection.execute("SELECT * FROM raw ORDER BY rowid").fetchall()
                assert sorted([*fed.rows.tolist(), *fed.rejects.records.tolist()]) == list(range(len(part.records)))
                assert len(found) == len(fed.rows)
                rows += found
                extents = zip(*part.extents(fed.rejects.records), strict=True)
                why = zip(fed.rejects.faults, fed.rejects.columns.tolist(), fed.rejects.fields.tolist(), strict=True)
                for (start, end), (fault, column, fields) in zip(extents, why, strict=True):
                    text = b"".join(original_bytes(fd, int(start), int(end)))
                    rejects.append(Reject(text, Fault(int(fault)).code, column, fields))
    finally:
        os.close(fd)
    return rows, rejects


def reference_values(record: bytes, grammar: Grammar) -> list[bytes]:
    """Of a well-formed one, sign by sign."""
    values, state, at = [b""], "field", 0
    while at < len(record):
        sign = record[at : at + 1]
        if state == "quoted" and sign == grammar.escape:
            after = record[at + 1 : at + 2]
            values[-1] += after if after in (grammar.quote, grammar.escape) else sign + after
            at += 1
        elif state == "quoted" and sign == grammar.quote:
            doubled = grammar.escape is None and record[at + 1 : at + 2] == grammar.quote
            values[-1] += sign * doubled
            state, at = "quoted" if doubled else "closed", at + doubled
        elif state == "field" and sign == grammar.quote:
            state = "quoted"
        elif state != "quoted" and sign == grammar.delimiter:
            values.append(b"")
            state = "field"
        else:
            values[-1] += sign
            state = "quoted" if state == "quoted" else "text"
        at += 1
    return values


def of(alphabet: bytes) -> st.SearchStrategy[bytes]:
    return st.binary(max_size=70).map(lambda drawn: bytes(alphabet[sign % len(alphabet)] for sign in drawn))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("grammar", "columns", "contents"),
    [
        (DOUBLED, 2, of(b'a",,\n\r "') | of(b'a,\n\xc3\xa9\xff\0"')),
        (DOUBLED, 2, st.lists(st.sampled_from([b"\xef\xbb\xbf", b" ", b'"', b",", b"\n", b"#"])).map(b"".join)),
        (ESCAPED, 2, of(b"a';;\\\n\r \\'")),
        (UNQUOTED, 2, of(b'a"\t\t\n\r \\')),
        (Grammar(keeps_blank_lines=True), 1, of(b'a"\n\n\r \xff')),
        (Grammar(b" ", b'"', most_record_bytes=9), 3, of(b'a"  \n\r')),
    ],
    ids=["doubled quotes", "marks and blanks", "escapes", "no quotes", "one column", "blanks between"],
)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_duckdb_has_the_values_that_the_grammar_says(
    reader: Reader,
    grammar: Grammar,
    columns: int,
    contents: st.SearchStrategy[bytes],
    data: st.DataObject,
) -> None:
    content = data.draw(contents)
    rows, rejects = reader(content, columns, grammar)
    records = split(content, grammar)
    expected: list[Row] = []
    reasons: list[str] = []
    for start, end, fault in zip(*(of.tolist() for of in (records.starts, records.ends, records.faults)), strict=True):
        values = reference_values(content[start:end], grammar)
        if fault:
            reasons.append(Fault(fault).code)
        elif len(values) != columns:
            reasons.append("too_few_fields" if len(values) < columns else "too_many_fields")
        else:
            try:
                expected.append(tuple(value.decode() for value in values))
            except UnicodeDecodeError:
                reasons.append("bad_encoding")
    assert rows == expected
    assert [reject.reason for reject in rejects] == reasons


class Piece(NamedTuple):
    """A part of a dirty file: its lines, and what has to become of each of them."""

    lines: list[bytes]
    outcomes: list[Row | tuple[str, int, int] | None]  # a row, a reject's reason, column and fields, or a blank line


MOST = 200
PLAIN = st.text("abc äß€😀;'", max_size=6)
QUOTED = st.text('ab,"\n\r äß😀', max_size=8)


def field(text: str) -> str:
    plain = '"' not in text and "," not in text and "\n" not in text and "\r" not in text
    return text if plain else '"' + text.replace('"', '""') + '"'


def good(values: Sequence[str], quoted: bool) -> Piece:
    texts = ['"' + value.replace('"', '""') + '"' if quoted else field(value) for value in values]
    return Piece([",".join(texts).encode()], [tuple(values)])


def ragged(values: Sequence[str]) -> Piece:
    reason = "too_few_fields" if len(values) < 3 else "too_many_fields"
    return Piece([",".join(map(field, values)).encode()], [(reason, -1, len(values))])


def broken(values: Sequence[str], column: int, kind: str) -> Piece:
    texts = [field(value).encode() for value in values]
    texts[column] = {
        "bad_encoding": b"x\xc3(",
        "nul_byte": b'"a\0b"',
        "text_after_quote": b'"a"b',
        "record_too_long": b"x" * (MOST + 1),
    }[kind]
    return Piece([b",".join(texts)], [(kind, -1 if kind == "record_too_long" else column, 0)])


def unclosed(values: Sequence[str], column: int, following: Sequence[str]) -> Piece:
    """So far from the next quote that none closes it."""
    lines = [",".join([*values[:column], '"open']).encode()]
    rows = [(following[0], following[1], str(number)) for number in range(MOST // 5 + 1)]
    return Piece([*lines, *(",".join(row).encode() for row in rows)], [("unclosed_quote", column, 0), *rows])


THREE = st.lists(PLAIN.filter(bool), min_size=3, max_size=3)
PIECES = st.one_of(
    st.builds(good, st.lists(PLAIN | QUOTED, min_size=3, max_size=3), st.booleans()),
    st.builds(ragged, st.lists(QUOTED.filter(bool), min_size=1, max_size=5).filter(lambda values: len(values) != 3)),
    st.builds(
        broken,
        THREE,
        st.integers(0, 2),
        st.sampled_from(["bad_encoding", "nul_byte", "text_after_quote", "record_too_long"]),
    ),
    st.builds(unclosed, THREE, st.integers(0, 2), THREE),
    st.just(Piece([b""], [None])),
)


@pytest.mark.usefixtures("small_pieces")
@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(PIECES, max_size=12),
    ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=1, max_size=4),
    cut_short=st.booleans(),
)
def test_of_a_dirty_file_all_is_found_and_nothing_else(
    reader: Reader, pieces: list[Piece], ends: list[bytes], cut_short: bool
) -> None:
    lines = [line for piece in pieces for line in piece.lines]
    outcomes = [outcome for piece in pieces for outcome in piece.outcomes]
    # A CR and an empty line that ends with LF would be one line end.
    written = [line + (b"\n" if b"" in lines else ends[number % len(ends)]) for number, line in enumerate(lines)]
    content = b"".join(written)
    if cut_short and lines and lines[-1]:
        written[-1] = lines[-1]
        content = b"".join(written)
    rows, rejects = reader(content, 3, Grammar(most_record_bytes=MOST))
    assert rows == [outcome for outcome in outcomes if outcome and isinstance(outcome[1], str)]
    assert rejects == [
        Reject(text, *outcome)
        for text, outcome in zip(written, outcomes, strict=True)
        if outcome and not isinstance(outcome[1], str)
    ]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("latin-1", None),
        ("iso8859-9", None),
        ("cp1252", b"\x81"),
        ("cp1253", b"\xaa"),
        ("cp1254", b"\x8e"),
        ("ascii", b"\xe4"),
        ("utf-8", b"\xed\xa0\x80"),
        ("utf-16-le", b"\x00\xd8"),
        ("utf-16-be", b"\xdc\x00"),
        ("utf-32-le", b"\x00\xd8\x00\x00"),
        ("utf-32-be", b"\xff\xff\xff\xff"),
    ],
)
def test_other_encodings_become_text_and_their_rejects_stay_what_they_were(
    reader: Reader, encoding: str, bad: bytes | None, line_end: str
) -> None:
    special = {"cp1253": "Ωμέγα", "ascii": "plain"}.get(encoding, "Äpfel £")
    rows = [(special, "b\r\nc"), (f'{special}, "x"', ""), (' "y"', special), ("", "")] * 5
    good = "".join(f"{field(left)},{field(right)}{line_end}" for left, right in rows[:2] + rows[3:])
    good = f' "y",{special}{line_end}' + good
    few = f"{special}{line_end}"
    assert bad is None or (bad not in good.encode(encoding))
    broken = b"" if bad is None else f"x,{special}".encode(encoding) + bad + line_end.encode(encoding)
    content = good.encode(encoding) + few.encode(encoding) + broken + good.encode(encoding)
    found, rejects = reader(content, 2, DOUBLED, encoding)
    assert found == [rows[2], *rows[:2], *rows[3:]] * 2
    expected = [Reject(few.encode(encoding), "too_few_fields", -1, 1)]
    assert rejects == expected + [Reject(broken, "bad_encoding", 1)] * bool(broken)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_half_a_character_at_the_end_is_no_text(reader: Reader, line_end: str) -> None:
    bad = "c,d".encode("utf-16-le") + b"\0"
    content = f"a,b{line_end}".encode("utf-16-le") + bad
    assert reader(content, 2, DOUBLED, "utf-16-le") == ([("a", "b")], [Reject(bad, "bad_encoding", 1)])


def test_the_rows_of_a_large_chunk_are_in_the_order_of_the_file(reader: Reader) -> None:
    lines = [f'{number},"é{number}"' if number % 7 else f"{number}" for number in range(100_000)]
    rows, rejects = reader("\r\n".join(lines).encode(), 2, DOUBLED)
    assert rows == [(str(number), f"é{number}") for number in range(100_000) if number % 7]
    assert [reject.text for reject in rejects] == [f"{number}\r\n".encode() for number in range(0, 100_000, 7)]


@pytest.mark.parametrize("grammar", [DOUBLED, UNQUOTED], ids=["with quotes", "without"])
def test_what_duckdb_does_not_read_is_read_without_it(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, grammar: Grammar
) -> None:
    """Nothing is known that it would lose, but for lines that are longer than it is told that they may be."""
    monkeypatch.setattr(feed, "_MOST_GROWTH", 1000 / grammar.most_record_bytes)
    monkeypatch.setattr(feed, "_BATCH_ROWS", 700)
    answers: list[int | None] = []
    ask = feed._read_by_duckdb

    def listen(connection: duckdb.DuckDBPyConnection, fed: feed.Feed, columns: Sequence[str]) -> int | None:
        answers.append(ask(connection, fed, columns))
        return answers[-1]

    monkeypatch.setattr(feed, "_read_by_duckdb", listen)
    lines = [grammar.delimiter.join([b"%d" % number, "é".encode() * (number % 1000)]) for number in range(2000)]
    rows, rejects = reader(b"\r\n".join(lines), 2, grammar)
    assert rows == [(str(number), "é" * (number % 1000)) for number in range(2000)]
    assert (rejects, answers) == ([], [None])


def test_a_table_may_have_no_rows(reader: Reader) -> None:
    assert reader(b"\n\n1\n", 2, DOUBLED) == ([], [Reject(b"1\n", "too_few_fields", -1, 1)])
    assert reader.connection.execute("SELECT count(*) FROM raw").fetchall() == [(0,)]


def test_a_long_line_is_a_reject_of_its_own(reader: Reader) -> None:
    content = b"1,2\n" + b"x" * 3_000_000 + b"\r\n3,4\n"
    rows, rejects = reader(content, 2, DOUBLED)
    assert rows == [("1", "2"), ("3", "4")]
    assert rejects == [Reject(b"x" * 3_000_000 + b"\r\n", "record_too_long", -1)]


def test_of_a_ragged_record_with_bad_bytes_it_is_told_that_it_is_ragged(reader: Reader) -> None:
    """Only what is a row otherwise is read as text, and the order of the faults says so: it said that bad bytes come
    first."""
    assert Fault.BAD_ENCODING > Fault.TOO_MANY_FIELDS > Fault.TOO_FEW_FIELDS
    content = b"1,2\n\xff\n1,\xff,3\n\xff,2\n"
    rejects = [Reject(b"\xff\n", "too_few_fields", -1, 1), Reject(b"1,\xff,3\n", "too_many_fields", -1, 3)]
    assert reader(content, 2, DOUBLED) == ([("1", "2")], [*rejects, Reject(b"\xff,2\n", "bad_encoding", 0)])


@given(st.lists(st.sampled_from([b"a", b"\n", *(bytes([byte]) for byte in _BEYOND_ASCII)]), max_size=12).map(b"".join))
def test_what_is_not_doubtful_is_utf8(content: bytes) -> None:
    doubtful = set(feed_utf8.doubtful(np.frombuffer(content, np.uint8)).tolist())
    position = 0
    for line in content.splitlines(keepends=True):
        try:
            line.decode()
        except UnicodeDecodeError:
            assert doubtful & set(range(position, position + len(line)))
        position += len(line)
    if doubtful:
        with pytest.raises(UnicodeDecodeError):
            content.decode()
