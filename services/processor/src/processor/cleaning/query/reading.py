"""A query of a client's, done to a Parquet file: the answer is a file, ready to be sent."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import msgspec

from processor.cleaning.query.filters import Column, Table
from processor.cleaning.query.values import KNOWN, kind_of
from processor.cleaning.query.views import QueryColumn, QueryWish
from processor.cleaning.room import is_full, room_of
from processor.cleaning.running import interruptible
from processor.cleaning.sql import literal
from processor.step import Report, StepError, Task

MOST_BYTES = 64 << 20  # of an answer
_ROWS_AT_ONCE = 100
Row: TypeAlias = tuple[Any, ...]
Form: TypeAlias = tuple[bytes, Callable[[int, Row], bytes]]  # what is above the rows; a row, by its place

_QUOTED = frozenset(',"\r\n')


def table_query(task: Task, report: Report) -> dict[str, Any]:
    """Leaves the answer among its outputs, and gives what headers may say of it."""
    wish = msgspec.convert(task.options, QueryWish)
    with room_of(task).connect() as connection, interruptible(connection, lambda: report(0.0, None)):
        try:
            return _answer(connection, wish, task.input, Path(task.outputs, wish.answer))
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException) as error:
            if is_full(error):
                raise
            raise StepError("not_a_table", "This artifact cannot be read as Parquet.") from None


def _answer(connection: duckdb.DuckDBPyConnection, wish: QueryWish, source: str, path: Path) -> dict[str, Any]:
    file = f"read_parquet({literal(source)}, hive_partitioning = false)"
    described = connection.execute(f"DESCRIBE FROM {file}").fetchall()
    table = Table([(name, type_) for name, type_, *_ in described])
    selected, where, order = table.selected(wish.columns), table.filtered(wish.where), table.ordered(wish.order)
    slots = ", ".join(column.slot for column in table.columns)
    relation = f"FROM {file} AS t({slots}) WHERE {where.sql}"
    form = _json if path.suffix == ".json" else _csv
    head, row_of = form(selected)
    values = ", ".join(_shown(column, as_json=form is _json) for column in selected)
    # Without an order, DuckDB keeps that of the file; where rows are equal in what orders them, that one decides.
    ordered = f"ORDER BY {', '.join([*order, 't.file_row_number'])}" if order else ""
    count = None
    if wish.count:
        ((count,),) = connection.execute(f"SELECT count(*) {relation}", where.values).fetchall()
    limited = f"LIMIT {wish.limit + 1:d} OFFSET {wish.offset:d}"
    connection.execute(f"SELECT {values} {relation} {ordered} {limited}", where.values)
    rows = _rows(connection)
    with path.open("xb") as answer:
        size = answer.write(head)
        for at, row in enumerate(islice(rows, wish.limit)):
            size += answer.write(row_of(at, row))
            if size > MOST_BYTES:
                detail = f"The answer has more than {MOST_BYTES >> 20} MiB. Ask for fewer rows or columns."
                raise StepError("answer_too_large", detail)
        next_offset = wish.offset + wish.limit if next(rows, None) else None
        if form is _json:
            told = (msgspec.json.encode(next_offset), msgspec.json.encode(count))
            answer.write(b'],"next_offset":%b,"count":%b}' % told)
    return {"next_offset": next_offset, "count": count}


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while rows := connection.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def _shown(column: Column, *, as_json: bool) -> str:
    """JSON has numbers, yes and no. All else is text: a decimal stays exact, and a time is as ISO 8601 has it."""
    kind, text = kind_of(column.type), f"CAST({column.slot} AS VARCHAR)"
    if not as_json or kind not in KNOWN:
        return text
    if kind == "TIMESTAMP":
        return f"replace({text}, ' ', 'T')"
    return text if kind in ("DECIMAL", "DATE") else column.slot


def _json(columns: Sequence[Column]) -> Form:
    names = [column.name for column in columns]
    described = msgspec.json.encode([QueryColumn(column.name, column.type) for column in columns])

    def row_of(at: int, row: Row) -> bytes:
        return b"," * (at > 0) + msgspec.json.encode(dict(zip(names, row, strict=True)))

    return b'{"columns":%b,"items":[' % described, row_of


def _csv(columns: Sequence[Column]) -> Form:
    def row_of(_: int, row: Row) -> bytes:
        return (",".join(map(_cell, row)) + "\n").encode()

    return row_of(0, tuple(column.name for column in columns)), row_of


def _cell(text: str | None) -> str:
    """Nothing is null, and quotes with nothing in them are an empty text."""
    if text is None:
        return ""
    return '"' + text.replace('"', '""') + '"' if not text or not _QUOTED.isdisjoint(text) else text
