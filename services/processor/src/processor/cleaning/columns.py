"""What the columns of a CSV file hold, counted by DuckDB: once over the file for all that needs little memory, and once
more for the exact distinct counts of those columns where they fit."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import duckdb

from processor.cleaning.room import is_full, limit_disk
from processor.cleaning.slices import Slice
from processor.cleaning.sql import literal
from processor.disk import disk_full
from processor.step import StepError, Task

_POLL_SECONDS = 0.1
# Distinct values that are counted exactly, for each megabyte that the step may use.
_EXACT_VALUES_PER_MB = 2500
# Beyond these, a file is no table: that many rejected rows are stored, and cost disk.
_MOST_REJECTS = 1_000_000

# From narrow to wide: a column has the first type that all its values have.
_TYPES = ("BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP")
# What a column is tried as, by what it looks like in the sample. Casts that fail are slow, so that nothing else is.
_TRIED: dict[str | None, tuple[str, ...]] = {
    None: _TYPES,
    "BIGINT": ("BIGINT", "DOUBLE"),
    "DOUBLE": ("DOUBLE",),
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE", "TIMESTAMP"),
    "TIMESTAMP": ("TIMESTAMP",),
    "VARCHAR": (),
}
_WHOLE = r"\s*[+-]?[0-9]+\s*"


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    type: str  # the narrowest that all its values have
    nulls: int  # empty fields
    distinct: int
    distinct_is_exact: bool  # else estimated by HyperLogLog
    longest: int  # characters


@dataclass(frozen=True, slots=True)
class TableFacts:
    rows: int
    rejected: int  # rows that do not fit the table
    columns: list[ColumnFacts]


class Reader:
    """Reads one file, or slice of a file, within the step's memory."""

    def __init__(self, task: Task, part: Slice, guesses: Sequence[str | None]) -> None:
        self._part = part
        self._tried = [_TRIED[guess] for guess in guesses]
        self._memory_mb = task.memory_mb
        self._connection = duckdb.connect(
            config={
                "memory_limit": f"{task.memory_mb}MB",
                "temp_directory": task.scratch,
                "threads": task.threads,
                "preserve_insertion_order": False,
            }
        )
        limit_disk(self._connection, task.scratch, task.caps.disk_free_bytes)
        # Else it would not tell how far it has read.
        self._connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, on_counting: Callable[[float], None], on_distinct: Callable[[float], None]) -> TableFacts:
        """Count everything. Each of the two is told which share of the file it has read."""
        try:
            counted = {number: counts for number, *counts in self._run(self._counting(), on_counting)}
            rejected = self._rejected()
            nothing = [0] * (4 + len(_TYPES))
            columns = [_facts(counted.get(at, nothing), tried) for at, tried in enumerate(self._tried)]
            fitting = self._where_exact_fits(columns)
            exact = dict(self._run(self._distinct(fitting), on_distinct)) if fitting else {}
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            if is_full(error):
                raise disk_full() from None
            if isinstance(error, duckdb.IOException):
                raise
            detail = f"The file needs more than the {self._memory_mb} MB of memory that a step may use."
            raise StepError("out_of_memory", detail) from None
        except duckdb.InvalidInputException as refused:
            detail = f"The file cannot be read as CSV: {str(refused).partition(chr(10))[0][:300]}"
            raise StepError("not_csv", detail) from None
        for at in fitting:
            columns[at] = replace(columns[at], distinct=exact.get(at, 0), distinct_is_exact=True)
        return TableFacts(counted.get(0, nothing)[0], rejected, columns)

    def _where_exact_fits(self, columns: Sequence[ColumnFacts]) -> list[int]:
        """Those with few values first."""
        room = _EXACT_VALUES_PER_MB * self._memory_mb
        fitting: list[int] = []
        for at in sorted(range(len(columns)), key=lambda at: columns[at].distinct):
            room -= columns[at].distinct
            if room < 0:
                break
            fitting.append(at)
        return fitting

    def _counting(self) -> str:
        casts = ", ".join(self._cast(type_) for type_ in _TYPES)
        return f"""
            SELECT number, count(*), count(value), approx_count_distinct(value), max(length(value)), {casts}
            FROM ({self._cells(range(len(self._tried)))})
            GROUP BY number
        """  # noqa: S608 - no part comes from the file

    def _cast(self, type_: str) -> str:
        """How many values have the type, in those columns that may."""
        columns = ", ".join(str(at) for at, tried in enumerate(self._tried) if type_ in tried)
        # A cast alone would take 1.5 for a whole number.
        whole = f"AND regexp_full_match(value, '{_WHOLE}')" if type_ == "BIGINT" else ""
        return f"count(CASE WHEN number IN ({columns or -1}) {whole} THEN try_cast(value AS {type_}) END)"

    def _distinct(self, columns: Sequence[int]) -> str:
        return f"""
            SELECT number, count(*)
            FROM (SELECT DISTINCT number, value FROM ({self._cells(columns)}) WHERE value IS NOT NULL)
            GROUP BY number
        """  # noqa: S608 - no part comes from the file

    def _cells(self, columns: Iterable[int]) -> str:
        """One row a cell: a hundred aggregates of one column are planned sooner than one of each of a hundred columns,
        and one hash table for all of them fits where one for each would not."""
        numbers, names = zip(*((str(at), f"c{at}") for at in columns), strict=True)
        return f"""
            SELECT unnest([{", ".join(numbers)}]) AS number, unnest([{", ".join(names)}]) AS value FROM {self._table()}
        """  # noqa: S608 - no part comes from the file

    def _table(self) -> str:
        # Our own names, so that a header can hold anything. All that was to be found out of the dialect, has been.
        names = ", ".join(f"'c{at}': 'VARCHAR'" for at in range(len(self._part.columns)))
        path, (delimiter, quote, escape) = literal(str(self._part.path)), self._part.grammar
        return f"""
            read_csv({path}, auto_detect = false, delim = {literal(delimiter)},
                quote = {literal(quote or "")}, escape = {literal(escape or quote or "")},
                header = false, skip = {self._part.skipped}, columns = {{{names}}},
                strict_mode = true, store_rejects = true, rejects_limit = {_MOST_REJECTS})
        """

    def _run(self, query: str, on_share: Callable[[float], None]) -> list[tuple[Any, ...]]:
        """Run the query, and tell how much of the file DuckDB has read while it runs."""
        outcome: list[tuple[Any, ...]] | Exception | None = None

        def run() -> None:
            nonlocal outcome
            try:
                outcome = self._connection.execute(query).fetchall()
            except Exception as error:
                outcome = error

        running = threading.Thread(target=run, name="duckdb")
        running.start()
        share = 0.0
        while running.is_alive():
            running.join(_POLL_SECONDS)
            share = min(1.0, max(share, self._connection.query_progress() / 100))  # at its end, it tells -1
            on_share(share)
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        return outcome

    def _rejected(self) -> int:
        try:
            found = self._connection.execute("SELECT count(DISTINCT line) FROM reject_errors").fetchall()
        except duckdb.CatalogException:
            return 0  # the table is made with the first reject
        return int(found[0][0])


def _facts(counts: Sequence[Any], tried: Sequence[str]) -> ColumnFacts:
    rows, filled, distinct, longest, *casts = counts
    fitting = [type_ for type_, fits in zip(_TYPES, casts, strict=True) if type_ in tried and fits == filled > 0]
    return ColumnFacts((*fitting, "VARCHAR")[0], rows - filled, distinct, False, longest or 0)
