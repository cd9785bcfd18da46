"""A file's table, cut into chunks that begin where a record begins: each can be worked on without the others."""

import os
from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec.structs import replace

from processor.cleaning.reading.chunks_counting import Counts, count
from processor.cleaning.reading.records_grammar import Grammar
from processor.cleaning.reading.records_units import as_ascii, unit_bytes

CHUNK_BYTES = 9 << 20  # two processes with a chunk each take less than 400 MB
MOST_CHUNK_ROWS = 1 << 20  # about; of rows with next to nothing in them, a chunk would take many times its bytes
_PIECE_BYTES = 1 << 20
_LONGEST_UNIT = 4
_CR = 13


class Table(msgspec.Struct, frozen=True):
    """Where in a file the data records are: behind a byte order mark, a preamble and a header."""

    begin: int
    end: int
    line: int = 1  # of the file, at its beginning
    encoding: str = "utf-8"  # or another one whose ASCII is ASCII, or utf-16-le, utf-16-be, utf-32-le, utf-32-be


class Chunk(msgspec.Struct, frozen=True):
    start: int  # bytes of the file
    end: int
    line: int  # of its first record, from 1
    row: int  # of its first record, from 1
    rows: int
    is_long_line: bool = False  # nothing but one line, which is too long to be a record, and of any length


def cut(fd: int, table: Table, grammar: Grammar, on_bytes: Callable[[int], None] = lambda _: None) -> Iterator[Chunk]:
    """In memory that does not depend on what is in the file. `on_bytes` is told how far it is, and may raise."""
    return joined(pieces(fd, table, grammar, on_bytes))


def joined(pieces: Iterable[Chunk]) -> Iterator[Chunk]:
    """Neighbours as one, as far as that is worked on at once."""
    chunk: Chunk | None = None
    for piece in pieces:
        if chunk is not None and (piece.is_long_line or _is_full(chunk)):
            yield chunk
            chunk = None
        chunk = piece if chunk is None else replace(chunk, end=piece.end, rows=chunk.rows + piece.rows)
    if chunk is not None:
        yield chunk


def _is_full(chunk: Chunk) -> bool:
    return chunk.is_long_line or chunk.rows >= MOST_CHUNK_ROWS or chunk.end - chunk.start >= CHUNK_BYTES


def pieces(
    fd: int, table: Table, grammar: Grammar, on_bytes: Callable[[int], None] = lambda _: None
) -> Iterator[Chunk]:
    """Chunks of about a megabyte, as they are found."""
    start, line, row = table.begin, table.line, 1
    for end, counts, is_long_line in _stretches(fd, table, grammar):
        on_bytes(end)
        yield Chunk(start, end, line, row, counts.rows, is_long_line)
        start, line, row = end, line + counts.lines, row + counts.rows


def _stretches(fd: int, table: Table, grammar: Grammar) -> Iterator[tuple[int, Counts, bool]]:
    """Up to where each goes, from a record's beginning to another's, and whether it is nothing but one long line."""
    unit = unit_bytes(table.encoding)
    # What is longer, and of which nothing is known yet, is one line.
    longest = (grammar.most_record_bytes + 1) * unit
    buffer = bytearray(longest + _PIECE_BYTES + _LONGEST_UNIT)
    position, held = table.begin, 0
    while position < table.end:
        read = os.preadv(fd, [memoryview(buffer)[held : held + _PIECE_BYTES]], position + held)
        if not read:
            raise EOFError("The file is shorter than it was.")
        held = min(held + read, table.end - position)
        is_last = position + held == table.end
        # Half a character at the end is one that cannot be read.
        left_over = held % unit if is_last else 0
        text = (
            buffer if unit == 1 else bytearray(as_ascii(bytes(buffer[:held]), table.encoding) + b"?" * bool(left_over))
        )
        counts = count(text, held if unit == 1 else len(text), grammar, is_last=is_last)
        taken = min(counts.bytes * unit, held)
        position, held = position + taken, held - taken
        if taken:
            yield position, counts, False
        buffer[:held] = memoryview(buffer)[taken : taken + held]
        if held > longest:
            end = _line_end(fd, position, table)
            yield end, Counts(end - position, 1, 1), True
            position, held = end, 0


def _line_end(fd: int, position: int, table: Table) -> int:
    """Behind the line that begins there, however long it is."""
    unit = unit_bytes(table.encoding)
    ended_by_return = False
    while position < table.end:
        data = os.pread(fd, min(_PIECE_BYTES, table.end - position), position)
        if not data:
            raise EOFError("The file is shorter than it was.")
        text = as_ascii(data, table.encoding)
        if ended_by_return:
            return position + unit * text.startswith(b"\n")
        found = [at for at in (text.find(b"\n"), text.find(b"\r")) if at >= 0]
        if found:
            position += (min(found) + 1) * unit
            ended_by_return = text[min(found)] == _CR
            if not ended_by_return:
                return position
        else:
            position += len(text) * unit or len(data)
    return table.end
