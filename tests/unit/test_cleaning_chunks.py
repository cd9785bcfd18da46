"""A file is cut into chunks, each of which is read as the whole file would be."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.cleaning.reading import chunks
from processor.cleaning.reading.chunks import Chunk, Table, cut
from processor.cleaning.reading.chunks_content import original_bytes, read_chunk
from processor.cleaning.reading.records import split
from processor.cleaning.reading.records_grammar import Fault, Grammar

DOUBLED = Grammar()
Open = Callable[[bytes], int]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    opened: list[int] = []

    def write(content: bytes) -> int:
        (tmp_path / "file").write_bytes(content)
        opened.append(os.open(tmp_path / "file", os.O_RDONLY))
        return opened[-1]

    yield write
    for fd in opened:
        os.close(fd)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few bytes are several pieces and several chunks."""
    monkeypatch.setattr(chunks, "_PIECE_BYTES", 8)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 12)


def in_memory(content: bytes) -> int:
    fd = os.memfd_create("file")
    os.write(fd, content)
    return fd


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"])
@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=80).map(lambda drawn: bytes(b'aa",\n\r\0'[sign % 7] for sign in drawn)),
    st.sampled_from([DOUBLED, Grammar(most_record_bytes=10), Grammar(b",", None, most_record_bytes=5)]),
    st.binary(max_size=3),
    st.booleans(),
)
def test_the_chunks_have_the_records_of_the_file(
    encoding: str, text: bytes, grammar: Grammar, before: bytes, halved: bool
) -> None:
    unit = len("a".encode(encoding))
    content = text.decode().encode(encoding) + b"a" * (halved and unit > 1)
    expected = split(text + b"a" * (halved and unit > 1), grammar)
    table = Table(len(before), len(before) + len(content), 7, encoding)
    fd = in_memory(before + content + b"\nbehind")
    try:
        found = list(cut(fd, table, grammar))
        read = [read_chunk(fd, chunk, table, grammar) for chunk in found]
        bounds = [table.begin, *(chunk.end for chunk in found)]
        assert [(chunk.start, chunk.end) for chunk in found] == list(pairwise(bounds))
        assert bounds[-1] == table.end
        rows = [
            (chunk.start + start, chunk.line + line, chunk.row + row, fault)
            for chunk, part in zip(found, read, strict=True)
            for row, (start, line, fault) in enumerate(
                zip(
                    part.records.starts.tolist(), part.records.lines.tolist(), part.records.faults.tolist(), strict=True
                )
            )
        ]
        assert rows == [
            (table.begin + start * unit, 7 + line, 1 + row, fault)
            for row, (start, line, fault) in enumerate(
                zip(expected.starts.tolist(), expected.lines.tolist(), expected.faults.tolist(), strict=True)
            )
        ]
        assert [chunk.rows for chunk in found] == [len(part.records) for part in read]
        lines = [
            b"".join(original_bytes(fd, start, end))
            for part in read
            for start, end in zip(*part.extents(np.arange(len(part.records))), strict=True)
        ]
        blank = sum(part.records.blank_lines for part in read)
        assert (len(lines), blank) == (len(expected), expected.blank_lines)
        assert not blank or len(b"".join(lines)) < len(content)
        assert blank or b"".join(lines) == content
    finally:
        os.close(fd)


def test_a_gigabyte_without_a_line_end_is_one_chunk_in_little_memory(tmp_path: Path) -> None:
    size = 1 << 30
    with (tmp_path / "file").open("wb") as file:
        file.write(b'a,b\n1,"2"\n')
        file.truncate(size)  # sparse: NUL bytes
        file.seek(size)
        file.write(b"\r\n3,4\n")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    tracemalloc.start()
    try:
        table = Table(4, size + 6, line=2)
        assert list(cut(fd, table, DOUBLED)) == [
            Chunk(4, 10, 2, 1, 1),
            Chunk(10, size + 2, 3, 2, 1, is_long_line=True),
            Chunk(size + 2, size + 6, 4, 3, 1),
        ]
        long = read_chunk(fd, Chunk(10, size + 2, 3, 2, 1, is_long_line=True), table, DOUBLED)
        assert long.records.faults.tolist() == [Fault.RECORD_TOO_LONG]
        starts, ends = long.extents(np.array([0]))
        assert (starts.tolist(), ends.tolist()) == ([10], [size + 2])
        assert sum(len(piece) for piece in original_bytes(fd, 10, size + 2)) == size - 8
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
        os.close(fd)


def test_one_open_quote_costs_a_line_and_no_memory(opened: Open) -> None:
    content = b'1,"x\n' + b"2,y\n" * 8_000_000
    fd = opened(content)
    tracemalloc.start()
    found = list(cut(fd, Table(0, len(content)), DOUBLED))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20
    assert sum(chunk.rows for chunk in found) == 8_000_001
    assert all(chunk.end - chunk.start <= chunks.CHUNK_BYTES + (1 << 20) for chunk in found)
    first = read_chunk(fd, found[0], Table(0, len(content)), DOUBLED)
    assert np.flatnonzero(first.records.faults).tolist() == [0]


def test_a_chunk_says_of_its_last_records_what_the_file_would(opened: Open, small_pieces: None) -> None:
    """The quote is opened in one chunk, and what is wrong with it stands in another."""
    content = b'1,"aaaaaaaaaaa\n2,"b\n33333\n44444\n'
    fd, table = opened(content), Table(0, len(content))
    found = list(cut(fd, table, DOUBLED))
    assert len(found) > 1
    faults = [fault for chunk in found for fault in read_chunk(fd, chunk, table, DOUBLED).records.faults.tolist()]
    assert faults == split(content, DOUBLED).faults.tolist() == [Fault.TEXT_AFTER_QUOTE, Fault.UNCLOSED_QUOTE, 0, 0]


def test_a_walk_can_be_stopped_in_it(opened: Open) -> None:
    content = b"1,2\n" * 1_000_000

    def stop(_position: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(cut(opened(content), Table(0, len(content)), DOUBLED, stop))


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n\r\n", b"a", b"a\r"], ids=["nothing", "LF", "CRLF", "a", "CR"])
def test_a_file_may_end_anyhow(opened: Open, content: bytes) -> None:
    found = list(cut(opened(content), Table(0, len(content)), DOUBLED))
    assert sum(chunk.rows for chunk in found) == (1 if b"a" in content else 0)
    assert [chunk.end for chunk in found] == [len(content)] * bool(content)
