"""The rejected records of a chunk: their bytes as they are, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import duckdb
import numpy as np
from numpy.typing import NDArray

from processor.cleaning.parquet.joining import join_parquet
from processor.cleaning.parquet.writing import copied
from processor.cleaning.reading.chunks_content import Content, original_bytes
from processor.cleaning.reading.feed import Feed
from processor.cleaning.reading.records_grammar import Fault, Grammar
from processor.cleaning.recipe.applying import CHUNK_REJECTS
from processor.cleaning.recipe.sheet import ROW
from processor.cleaning.sql import literal

_NO_ROW = -1  # of the feed
# Of a chunk with next to nothing in its lines, there may be a million. As many as a row group has.
_AT_ONCE = 122_880


def write_rejects(
    connection: duckdb.DuckDBPyConnection,
    fd: int,
    content: Content,
    feed: Feed,
    rows: NDArray[np.intp],
    names: Sequence[str],
    folder: Path,
    offset: int,
) -> None:
    """Those of the feed, and those that `apply` has found among these rows of it, in the order of the file. `offset`
    is where in the file the bytes of `fd` begin."""
    refused: NDArray[np.intp] = np.empty(0, np.intp)
    if len(rows):
        query = f"SELECT {ROW} FROM {CHUNK_REJECTS} ORDER BY {ROW}"  # noqa: S608 - see sql.py, here and below
        refused = connection.execute(query).fetchnumpy()[ROW]
    if not len(feed.rejects) and not len(refused):
        return
    records = np.concatenate([feed.rejects.records, feed.rows[rows[refused]]])
    order = np.argsort(records)
    said, files = _said(content, feed, names), list[Path]()
    with (folder / "rejects.csv").open("wb") as target:
        for begin in range(0, len(order), _AT_ONCE):
            some = order[begin : begin + _AT_ONCE]
            starts, ends = content.extents(records[some])
            _write_bytes(fd, content, starts, ends, target)
            places = {
                "row": records[some].astype(np.int64) + content.chunk.row,
                "line": content.records.lines[records[some]].astype(np.int64) + content.chunk.line,
                "byte_offset": starts + offset,
                "bytes": ends - starts,
            }
            rejected = places | _faults(feed, refused, some)
            connection.register("rejected", rejected)
            within = f"{ROW} BETWEEN {rejected[ROW].min()} AND {rejected[ROW].max()}"
            told = f"(FROM {CHUNK_REJECTS} WHERE {within})"  # the join keeps all of it in memory
            files.append(folder / f"rejects.{len(files)}")
            copied(connection, f"{said} FROM rejected LEFT JOIN {told} USING ({ROW}) ORDER BY row", files[-1])
            connection.unregister("rejected")
    join_parquet(files, folder / "rejects.parquet")
    for file in files:
        file.unlink()


def _faults(feed: Feed, refused: NDArray[np.intp], some: NDArray[np.intp]) -> dict[str, NDArray[np.int64]]:
    """Of some of the rejects: those of the feed, and behind them those that rules have refused."""

    def both(of_feed: NDArray[np.integer], of_rules: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.concatenate([of_feed, of_rules])[some].astype(np.int64)

    none, no_fault = np.full(len(feed.rejects), _NO_ROW), np.zeros(len(refused), np.uint8)
    return {
        ROW: both(none, refused),
        "fault": both(feed.rejects.faults, no_fault),
        "place": both(feed.rejects.columns, no_fault),
        "fields": both(feed.rejects.fields, no_fault),
    }


def _said(content: Content, feed: Feed, names: Sequence[str]) -> str:
    faults = np.unique(feed.rejects.faults).tolist()
    reasons = " ".join(f"WHEN {fault} THEN {literal(Fault(fault).code)}" for fault in faults)
    details = " ".join(f"WHEN {fault} THEN {_detail(Fault(fault), content, feed.grammar, names)}" for fault in faults)
    columns = [at for at in np.unique(feed.rejects.columns).tolist() if at >= 0]
    named = " ".join(f"WHEN place = {at} THEN {literal(names[at])}" for at in columns)
    return f"""
        SELECT row, line, byte_offset, bytes,
            CAST(CASE WHEN fault = 0 THEN column_ {named} END AS VARCHAR) AS "column",
            CAST(CASE fault WHEN 0 THEN reason {reasons} END AS VARCHAR) AS reason,
            CAST(CASE fault WHEN 0 THEN detail {details} END AS VARCHAR) AS detail, rule, rule_name
    """


def _detail(fault: Fault, content: Content, grammar: Grammar, names: Sequence[str]) -> str:
    """A sentence, in SQL."""
    most = f"{grammar.most_record_bytes:,}"
    match fault:
        case Fault.RECORD_TOO_LONG:
            said = f"The line is longer than {most} characters."
        case Fault.TEXT_AFTER_QUOTE:
            said = "A field goes on behind the quote that closes it."
        case Fault.UNCLOSED_QUOTE:
            said = f"A field begins with a quote that nothing closes within {most} characters."
        case Fault.NUL_BYTE:
            said = "There is a NUL character in it."
        case Fault.BAD_ENCODING:
            said = f"There are bytes in it that are no {content.encoding}."
        case _:
            table = literal(f", the table {len(names):,} column{'s' * (len(names) != 1)}.")
            return f"'The row has ' || fields || CASE fields WHEN 1 THEN ' field' ELSE ' fields' END || {table}"
    return literal(said)


def _write_bytes(
    fd: int, content: Content, starts: NDArray[np.int64], ends: NDArray[np.int64], target: BinaryIO
) -> None:
    """Neighbours are written as one."""
    first = np.flatnonzero(np.append(True, starts[1:] != ends[:-1]))
    last = np.append(first[1:], len(starts)) - 1
    begin, data = content.chunk.start, memoryview(content.data)
    for start, end in zip(starts[first].tolist(), ends[last].tolist(), strict=True):
        if content.chunk.is_long_line:
            target.writelines(original_bytes(fd, start, end))
        else:
            target.write(data[start - begin : end - begin])
