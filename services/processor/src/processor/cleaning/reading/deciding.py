"""Decides what a CSV file is, from samples of it: in the same time, and with the same memory, whatever its size is."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec
from msgspec import UNSET

from processor.cleaning.reading.decisions import Decision, counted, decided, overridden
from processor.cleaning.reading.dialect import decide_dialect
from processor.cleaning.reading.encoding import Encoding, decide_encoding
from processor.cleaning.reading.footer import decide_footer
from processor.cleaning.reading.header import looks_like_header
from processor.cleaning.reading.kinds import Column, decide_columns
from processor.cleaning.reading.names import decide_names
from processor.cleaning.reading.options import Options
from processor.cleaning.reading.rows import Grammar, Lines, Row, rows
from processor.cleaning.reading.samples import Samples, take_samples
from processor.cleaning.reading.tables import Table, find_tables
from processor.step import StepError

LONGEST_LINE = 1 << 20  # bytes
_DIALECT_LINES = 1000
_MOST_FIELDS = 100_000  # that are read of the beginning, and as many of the rest
_FEWEST_ROWS = 20  # however wide they are
_MOST_ROWS = 3000
_MOST_ROWS_OF_A_PIECE = 200
_FOOTER_LINES = 2000  # from the end, that are read to know what usual rows are
_NO_CONTENT = " \t\r\n,;|"


class Decisions(msgspec.Struct, frozen=True):
    """All that is to be known to read a file."""

    bytes: int
    encoding: Decision[str]
    mark_bytes: int  # of a byte order mark at the beginning
    line_ends: dict[str, int]  # how many the sample has of each; a record may end with any
    delimiter: Decision[str]
    quote: Decision[str | None]
    escape: Decision[str | None]  # None: quotes are doubled
    tables: tuple[Table, ...]  # that the beginning has; the options choose another by its number
    table: Decision[int]
    preamble_lines: Decision[int]  # before the table
    header: Decision[bool]
    names: Decision[tuple[str, ...]]
    footer_lines: Decision[int]  # at the file's end
    columns: tuple[Column, ...]
    table_starts: int  # offset of its first byte, which is the header's if there is one
    data_starts: int  # offset of its first record of data
    data_line: int  # and the record's first line, from 0 on
    data_record: int  # and how many records, blank lines among them, are before it
    table_ends: int | None  # offset, where the table is known to end before the footer or the file does
    notes: tuple[str, ...]  # what a person should know


def decide(path: Path, options: Options) -> Decisions:
    """Raises `StepError` if the file is no CSV, or the options cannot be."""
    return decide_of(take_samples(path), options)


def decide_of(samples: Samples, options: Options) -> Decisions:
    encoding = decide_encoding(samples, options)
    text = _whole_lines(encoding.text(samples.head[encoding.mark_bytes :]), samples)
    if samples.are_all and not text.strip(_NO_CONTENT):
        raise StepError("empty_file", "The file has no content but white space and delimiters.")
    skipped = 0 if options.preamble_lines is UNSET else options.preamble_lines
    lines = Lines(text)
    if skipped >= len(lines):
        raise StepError("invalid_option", "The option `preamble_lines` cannot be: there is no line left after them.")
    body = Lines(text[lines.offset(skipped) :]) if skipped else lines
    dialect = decide_dialect(Lines(body.text[: body.offset(_DIALECT_LINES)]), options)
    read = _read(body, dialect.grammar)
    width = _width(read, dialect.width, options)
    tables = _as_given(read, width, options) or find_tables(read, width)
    if not tables:
        raise StepError("empty_file", "The file has no content but white space and delimiters.")
    table, chosen = _choose(tables, options, samples.are_all)
    own = _rows_of(read, table)
    header = _header(own, table, options)
    data_rows = own[1:] if header.value else own
    tail = _tail(samples, encoding, body)
    footer = _footer(tail, dialect.grammar, table, options)
    if samples.are_all:
        data_rows = [row for row in data_rows if row.line < len(body) - footer.value]
    data = _fields_of(data_rows, table.columns)
    if table.lines is None and not samples.are_all:
        data += _elsewhere(samples, encoding, dialect.grammar, table.columns, footer.value)
    if header.value:  # files that were joined have their headers within
        data = [fields for fields in data if list(fields) != list(own[0].fields)]
    names, notes = decide_names(own[0].fields if header.value else None, table.columns, data, options)
    columns = decide_columns(names.value, data, options, "," if dialect.delimiter.value == ";" else None)
    first = skipped + table.line
    data_line = first + (own[0].lines if header.value else 0)
    end = None if table.lines is None else _offset(lines, first + table.lines, encoding)
    return Decisions(
        samples.size,
        encoding.decision,
        encoding.mark_bytes,
        _line_ends(text),
        dialect.delimiter,
        dialect.quote,
        dialect.escape,
        tuple(msgspec.structs.replace(each, line=each.line + skipped) for each in tables),
        chosen,
        _preamble(first, options),
        header,
        names,
        footer,
        tuple(columns),
        _offset(lines, first, encoding),
        _offset(lines, data_line, encoding),
        data_line,
        skipped + sum(row.line + skipped < data_line for row in read),
        end,
        tuple(_notes(first, tables, table, footer) + notes),
    )


def _whole_lines(text: str, samples: Samples) -> str:
    if not samples.are_all:
        text = text[: max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1]
    end = re.search(r"[\r\n]", text[: LONGEST_LINE + 1])
    if end is None and (not text or len(text) > LONGEST_LINE):
        raise StepError("line_too_long", f"The first line of the file is longer than {LONGEST_LINE:,} bytes.")
    return text


def _read(lines: Lines, grammar: Grammar, start: int = 0) -> list[Row]:
    found: list[Row] = []
    fields = 0
    for row in islice(rows(lines, grammar, start), _MOST_ROWS):
        found.append(row)
        fields += len(row.fields)
        if fields > _MOST_FIELDS and len(found) >= _FEWEST_ROWS:
            break
    return found


def _width(found: Sequence[Row], usual: int, options: Options) -> int:
    """As many columns as there are names, if any row has so many: most may be ragged."""
    if options.names is UNSET or not any(len(row.fields) == len(options.names) for row in found):
        return usual
    return len(options.names)


def _as_given(found: Sequence[Row], width: int, options: Options) -> list[Table]:
    """Who says where the table begins has looked for it: all that follows is of it."""
    own = [row for row in found if not row.is_blank]
    if options.preamble_lines is UNSET or options.table is not UNSET or not own:
        return []
    # A row may have nothing in its fields; in a table of one column, that is an empty line.
    keeps_blank_lines = width == 1 and options.header is False
    first = next(row for row in found if keeps_blank_lines or row.fields != [""])
    return [Table(1, first.line, None, width, len(own), tuple(field.strip()[:60] for field in own[0].fields[:10]))]


def _choose(tables: Sequence[Table], options: Options, is_all: bool) -> tuple[Table, Decision[int]]:
    if options.table is not UNSET:
        if options.table > len(tables):
            there = "is one table" if len(tables) == 1 else f"are {len(tables)} tables"
            raise StepError("invalid_option", f"The option `table` cannot be: there {there} in the file's beginning.")
        return tables[options.table - 1], overridden(options.table)
    if len(tables) == 1:
        return tables[0], decided(1, 0.95, "The file has one table.")
    sizes = [table.rows * table.columns for table in tables]
    if not is_all:
        sizes[-1] *= 3  # it goes on
    at = max(range(len(tables)), key=lambda each: sizes[each])
    others = [(table.number, sizes[each] / sum(sizes)) for each, table in enumerate(tables) if each != at]
    reason = f"The file has {len(tables)} tables, and this is the largest: {tables[at].columns} columns."
    return tables[at], decided(at + 1, sizes[at] / sum(sizes), reason, others)


def _rows_of(found: Sequence[Row], table: Table) -> list[Row]:
    end = None if table.lines is None else table.line + table.lines
    within = (row for row in found if row.line >= table.line and (end is None or row.line < end))
    return [row for row in within if not row.is_blank or row.line == table.line]


def _fields_of(found: Sequence[Row], width: int) -> list[Sequence[str]]:
    return [row.fields for row in found if len(row.fields) == width and not row.is_flawed and not row.is_blank]


def _header(own: Sequence[Row], table: Table, options: Options) -> Decision[bool]:
    if options.header is not UNSET:
        return overridden(options.header)
    first = [*own[0].fields, *[""] * table.columns][: max(1, table.columns)]
    likely, reason = looks_like_header(first, _fields_of(own[1:], table.columns))
    sure = max(likely, 1 - likely)
    what = "The first row names the columns" if likely > 0.5 else "The first row is data"
    return decided(likely > 0.5, sure, f"{what}. {reason}", [(likely <= 0.5, 1 - sure)])


def _preamble(lines: int, options: Options) -> Decision[int]:
    if options.preamble_lines is not UNSET and options.preamble_lines == lines:
        return overridden(lines)
    if lines == 0:
        return decided(0, 0.97, "The table begins with the file's first line.")
    return decided(
        lines, 0.9, f"The first {counted(lines, 'line')} above the table do not have its columns.", [(0, 0.1)]
    )


def _tail(samples: Samples, encoding: Encoding, body: Lines) -> Lines:
    if samples.are_all:
        return body
    return Lines(_from_line(encoding.text_somewhere(samples.tail)))


def _from_line(text: str) -> str:
    """Without its first line, which may have begun before it."""
    end = re.search(r"\r\n|\n|\r(?!$)", text)
    return text[end.end() :] if end else ""


def _footer(tail: Lines, grammar: Grammar, table: Table, options: Options) -> Decision[int]:
    if options.footer_lines is not UNSET:
        return overridden(options.footer_lines)
    if table.lines is not None:
        return decided(0, 0.9, "The table ends before another one begins, and not with the file.")
    found = [row for row in rows(tail, grammar, max(0, len(tail) - _FOOTER_LINES)) if row.line >= table.line]
    return decide_footer(found, table.columns, len(tail)) if found else decided(0, 0.5, "The file's end has no lines.")


def _elsewhere(
    samples: Samples, encoding: Encoding, grammar: Grammar, width: int, footer_lines: int
) -> list[Sequence[str]]:
    """Rows from the file's middle and end, of those that have the table's width."""
    found: list[Sequence[str]] = []
    most = max(1, min(_MOST_ROWS_OF_A_PIECE, _MOST_FIELDS // width // (len(samples.between) + 1)))
    for piece in (*samples.between, samples.tail):
        lines = Lines(_from_line(encoding.text_somewhere(piece)))
        last = len(lines) - (footer_lines if piece is samples.tail else 1)
        own = [row for row in islice(rows(lines, grammar), most) if row.line + row.lines <= last]
        found += _fields_of(own, width)
    return found


def _offset(lines: Lines, line: int, encoding: Encoding) -> int:
    return encoding.mark_bytes + len(encoding.encoded(lines.text[: lines.offset(line)]))


def _line_ends(text: str) -> dict[str, int]:
    both = text.count("\r\n")
    return {"crlf": both, "lf": text.count("\n") - both, "cr": text.count("\r") - both}


def _notes(first: int, tables: Sequence[Table], table: Table, footer: Decision[int]) -> list[str]:
    notes: list[str] = []
    if first:
        notes.append(f"The first {counted(first, 'line')} {'is' if first == 1 else 'are'} not part of the table.")
    if len(tables) > 1:
        notes.append(
            f"The file has {len(tables)} tables; number {table.number} is read, and the options choose another."
        )
    if footer.value:
        last = footer.value
        notes.append(f"The last {counted(last, 'line')} {'is' if last == 1 else 'are'} not part of the table.")
    return notes
