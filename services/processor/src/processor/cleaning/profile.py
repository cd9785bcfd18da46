"""`csv-profile`: how many rows, and of each column its type, nulls and distinct values."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from processor.cleaning.columns import ColumnFacts, Reader
from processor.cleaning.options import ProfileOptions
from processor.cleaning.reading.deciding import Decisions, decide
from processor.cleaning.reading.kind import Kind
from processor.cleaning.reading.options import options_from, structured
from processor.cleaning.reading.rows import Grammar
from processor.cleaning.slices import WIDEST, Slice, cut
from processor.cleaning.text import Encoding, convert_to_utf8, encoding_of
from processor.inputs.opening import Input, open_first
from processor.step import Report, Task

_OPENING = 0.3  # of the whole, if there is something to be opened


def profile(task: Task, report: Report) -> dict[str, Any]:
    structured(task.options, ProfileOptions)  # refuses what it does not know
    given, after = open_first(task, report, _OPENING)
    path, scratch = given.path, Path(task.scratch)
    progress = _Progress(after, given.bytes)
    decisions = decide(path, options_from({}))
    encoding = encoding_of(
        path, decisions.encoding.value, decisions.mark_bytes, progress.of_bytes("Checking the text", until=0.1)
    )
    text = path
    if not encoding.is_plain_utf8:
        text = scratch / "utf-8.csv"
        convert_to_utf8(path, encoding, text, progress.of_bytes("Converting to UTF-8", until=0.2))
        encoding_of(text, "utf-8", 0, progress.of_bytes("Checking the text", until=0.3))
    grammar = Grammar(decisions.delimiter.value, decisions.quote.value, decisions.escape.value)
    whole = Slice(text, grammar, decisions.data_record, range(len(decisions.columns)))
    slices, cut_off = [whole], 0
    if len(whole.columns) > WIDEST:
        slices, cut_off = cut(whole, scratch, progress.of_bytes("Cutting the wide table", until=0.5))
    guesses = [_guess(column.kind.value, column.seen > column.missing) for column in decisions.columns]

    columns: list[ColumnFacts] = []
    rows = rejected = 0
    for index, part in enumerate(slices):
        share = (1 - progress.done) / (len(slices) - index) / 2  # for each of two readings
        with Reader(task, part, [guesses[at] for at in part.columns]) as reader:
            table = reader.read(
                progress.of_share("Reading the columns", until=progress.done + share),
                progress.of_share("Counting distinct values", until=progress.done + share),
            )
        columns += table.columns
        rows, rejected = table.rows, table.rejected
    return _result(given, encoding, decisions, rows, rejected + cut_off, columns)


class _Progress:
    """Phases, each with its share of the whole, told by bytes read."""

    def __init__(self, report: Report, size: int) -> None:
        self._report = report
        self.size = size
        self.done = 0.0  # when the current phase is over

    def of_share(self, message: str, *, until: float) -> Callable[[float], None]:
        begin, self.done = self.done, until

        def tell(share: float) -> None:
            megabytes = f"{share * self.size / 1e6:.1f} of {self.size / 1e6:.1f} MB"
            self._report(begin + share * (until - begin), f"{message}: {megabytes}")

        return tell

    def of_bytes(self, message: str, *, until: float) -> Callable[[int], None]:
        tell = self.of_share(message, until=until)
        return lambda read: tell(min(1.0, read / max(1, self.size)))


def _guess(kind: Kind, has_values: bool) -> str | None:
    """As what DuckDB could read the column: it knows none but the usual forms."""
    if not has_values:
        return None
    match kind:
        case Kind(kind="integer" | "decimal", thousands=None, decimal="."):
            return "BIGINT" if kind.kind == "integer" else "DOUBLE"
        case Kind(kind="date", formats=("%Y%m%d",)):
            return "BIGINT"
        case Kind(kind="date" | "timestamp") if all(form.startswith("%Y-%m-%d") for form in kind.formats):
            return kind.kind.upper()
        case Kind(kind="boolean") if {word.lower() for word in (*kind.true, *kind.false)} <= {"true", "false"}:
            return "BOOLEAN"
    return "VARCHAR"


def _result(
    given: Input, encoding: Encoding, decisions: Decisions, rows: int, rejected: int, columns: list[ColumnFacts]
) -> dict[str, Any]:
    notes = [*([encoding.note] if encoding.note else []), *decisions.notes]
    if rows == 0:
        notes.append("The table has no rows.")
    if rejected:
        notes.append(f"{rejected} rows do not fit the table, or have a quote that is not closed; they are not counted.")
    return {
        "rows": rows,
        "rejected_rows": rejected,
        "columns": [
            {"name": name, **asdict(facts)} for name, facts in zip(decisions.names.value, columns, strict=True)
        ],
        "input": given.described(),
        "bytes": given.bytes,
        "dialect": {
            "delimiter": decisions.delimiter.value,
            "header": decisions.header.value,
            "encoding": encoding.name,
            "skipped_lines": decisions.preamble_lines.value,
        },
        "notes": notes,
    }
