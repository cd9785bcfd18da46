"""`csv-profile`: how many rows, and of each column its type, nulls and distinct values. By DuckDB, in one pass."""

import re
import threading
from pathlib import Path
from typing import Any

import duckdb

from processor.cleaning.dialect import SAMPLE_BYTES, Dialect, detect
from processor.steps import Report, StepError

MEMORY_LIMIT = "400MB"
# Beyond these, exact distinct counts would not fit the memory limit, and are estimated.
EXACT_DISTINCT_BYTES = 32 * 1024 * 1024
EXACT_DISTINCT_COLUMNS = 200
# A file with more columns is read again for the next ones.
COLUMNS_PER_PASS = 1000
_POLL_SECONDS = 0.1
_LONGEST_LINE = 2_000_000  # bytes

# From narrow to wide: a column has the first type that all its values have.
_TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP")


def profile(path: Path, report: Report) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    dialect = detect(sample, whole=len(sample) == size)
    _refuse_long_lines(path)
    try:
        return _profile(path, size, dialect, report)
    except duckdb.Error as error:
        if dialect.encoding == "utf-8" and _ENCODING_ERROR.search(str(error)):
            note = "The file is not valid UTF-8; it was read as Latin-1."
            latin = Dialect(dialect.delimiter, dialect.header, dialect.names, "latin-1", [*dialect.notes, note])
            try:
                return _profile(path, size, latin, report)
            except duckdb.Error as again:
                error = again
        raise _as_step_error(error) from error


def _refuse_long_lines(path: Path) -> None:
    """DuckDB drops what follows a line that is longer than its buffer, and says nothing."""
    length = 0
    with path.open("rb") as file:
        while chunk := file.read(_LONGEST_LINE // 2):
            head, newline, _ = chunk.partition(b"\n")
            length += len(head)
            if length > _LONGEST_LINE:
                raise StepError("line_too_long", f"A line of the file is longer than {_LONGEST_LINE:,} bytes.")
            if newline:
                length = len(chunk) - chunk.rfind(b"\n") - 1


_ENCODING_ERROR = re.compile(r"unicode|utf-?8|encod", re.IGNORECASE)


def _profile(path: Path, size: int, dialect: Dialect, report: Report) -> dict[str, Any]:
    exact = size <= EXACT_DISTINCT_BYTES and len(dialect.names) <= EXACT_DISTINCT_COLUMNS
    wide = len(dialect.names) > COLUMNS_PER_PASS  # then one thread's buffers are all that fits
    columns: list[dict[str, Any]] = []
    rows = rejected = 0
    passes = range(0, len(dialect.names), COLUMNS_PER_PASS)
    for index, first in enumerate(passes):
        connection = duckdb.connect(
            config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(path.parent), "threads": 1 if wide else 2}
        )
        try:
            connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
            group = range(first, min(first + COLUMNS_PER_PASS, len(dialect.names)))
            query = _query(path, dialect, group, exact)
            done, share = index / len(passes), 1 / len(passes)
            found = _watched(connection, query, lambda part: report(done + part * share, size))  # noqa: B023
            rows = found[0]
            columns += [
                _column(dialect.names[at], rows, found[1 + 8 * n : 9 + 8 * n], exact) for n, at in enumerate(group)
            ]
            rejected = _count_rejected(connection)
        finally:
            connection.close()
    return {
        "rows": rows,
        "rejected_rows": rejected,
        "columns": columns,
        "bytes": size,
        "dialect": {"delimiter": dialect.delimiter, "header": dialect.header, "encoding": dialect.encoding},
        "notes": dialect.notes,
    }


def _query(path: Path, dialect: Dialect, group: range, exact: bool) -> str:
    # Our own names, so that a header can hold anything.
    names = ", ".join(f"'c{at}': 'VARCHAR'" for at in range(len(dialect.names)))
    aggregates = ", ".join(_aggregates(f"c{at}", exact) for at in group)
    return f"""
        SELECT count(*), {aggregates}
        FROM read_csv({_literal(str(path))}, auto_detect = false, delim = {_literal(dialect.delimiter)},
            quote = '"', escape = '"', header = {str(dialect.header).lower()}, columns = {{{names}}},
            encoding = '{dialect.encoding}', strict_mode = true, store_rejects = true)
    """  # noqa: S608 - every part is a literal or ours


def _aggregates(column: str, exact: bool) -> str:
    distinct = f"count(DISTINCT {column})" if exact else f"approx_count_distinct({column})"
    casts = ", ".join(f"count(try_cast({column} AS {type_}))" for type_ in _TYPES)
    return f"count({column}), {distinct}, max(length({column})), {casts}"


def _column(name: str, rows: int, found: tuple[int, ...], exact: bool) -> dict[str, Any]:
    filled, distinct, longest, *casts = found
    fitting = [type_ for type_, count in zip(_TYPES, casts, strict=True) if filled and count == filled]
    return {
        "name": name,
        "type": fitting[0] if fitting else "VARCHAR",
        "nulls": rows - filled,
        "distinct": distinct,
        "distinct_is_exact": exact,
        "longest": longest or 0,
    }


def _watched(connection: duckdb.DuckDBPyConnection, query: str, report: Any) -> tuple[int, ...]:
    """Run the query, and report how much of the file DuckDB has read while it runs."""
    outcome: list[Any] = []
    finished = threading.Event()

    def run() -> None:
        try:
            outcome.append(connection.execute(query).fetchall()[0])
        except Exception as error:
            outcome.append(error)
        finally:
            finished.set()

    threading.Thread(target=run, name="duckdb").start()
    while not finished.wait(_POLL_SECONDS):
        report(max(0.0, connection.query_progress()) / 100)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    found: tuple[int, ...] = outcome[0]
    return found


def _count_rejected(connection: duckdb.DuckDBPyConnection) -> int:
    try:
        ((rejected,),) = connection.execute("SELECT count(DISTINCT line) FROM reject_errors").fetchall()
    except duckdb.CatalogException:
        return 0  # the table is made with the first reject
    return int(rejected)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _as_step_error(error: duckdb.Error) -> StepError:
    said = str(error).partition("\n")[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return StepError("out_of_memory", f"The file needs more than {MEMORY_LIMIT} of memory.")
    return StepError("not_csv", f"The file cannot be read as CSV: {said[:300]}")
