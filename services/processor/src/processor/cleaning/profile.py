"""`csv-profile`: how many rows, and of each column its type, nulls and distinct values."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from processor.cleaning.columns import ColumnFacts, Reader
from processor.cleaning.dialect import SAMPLE_BYTES, Dialect, detect
from processor.cleaning.slices import WIDEST, Slice, cut
from processor.cleaning.text import Encoding, convert_to_utf8, encoding_of
from processor.inputs.opening import Input, open_input
from processor.step import Report, Task

_OPENING = 0.3  # of the whole, if there is something to be opened


def profile(task: Task, report: Report) -> dict[str, Any]:
    given = open_input(task, lambda share, message: report(_OPENING * share, message))
    path, scratch = given.path, Path(task.scratch)
    progress = _Progress(_after_opening(report) if given.compression else report, given.bytes)
    encoding = encoding_of(path, progress.of_bytes("Checking the text", until=0.1))
    text = path
    if not encoding.is_plain_utf8:
        text = scratch / "utf-8.csv"
        convert_to_utf8(path, encoding, text, progress.of_bytes("Converting to UTF-8", until=0.2))
        encoding_of(text, progress.of_bytes("Checking the text", until=0.3))
    dialect = detect(_sample(text))
    slices, cut_off = [Slice(text, dialect.delimiter, dialect.skipped, range(len(dialect.names)))], 0
    if len(dialect.names) > WIDEST:
        slices, cut_off = cut(text, dialect, scratch, progress.of_bytes("Cutting the wide table", until=0.5))

    columns: list[ColumnFacts] = []
    rows = rejected = 0
    for index, part in enumerate(slices):
        share = (1 - progress.done) / (len(slices) - index) / 2  # for each of two readings
        with Reader(task, part, [dialect.guesses[at] for at in part.columns]) as reader:
            table = reader.read(
                progress.of_share("Reading the columns", until=progress.done + share),
                progress.of_share("Counting distinct values", until=progress.done + share),
            )
        columns += table.columns
        rows, rejected = table.rows, table.rejected
    return _result(given, encoding, dialect, rows, rejected + cut_off, columns)


def _after_opening(report: Report) -> Report:
    return lambda share, message: report(_OPENING + (1 - _OPENING) * share, message)


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


def _sample(path: Path) -> str:
    """The beginning, as whole lines."""
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
        whole = not file.read(1)
    if not whole:
        sample = sample[: max(sample.rfind(b"\n"), sample.rfind(b"\r")) + 1]
    return sample.decode()


def _result(
    given: Input, encoding: Encoding, dialect: Dialect, rows: int, rejected: int, columns: list[ColumnFacts]
) -> dict[str, Any]:
    notes = [*([encoding.note] if encoding.note else []), *dialect.notes]
    if rows == 0:
        notes.append("The table has no rows.")
    if rejected:
        notes.append(f"{rejected} rows do not fit the table, or have a quote that is not closed; they are not counted.")
    return {
        "rows": rows,
        "rejected_rows": rejected,
        "columns": [{"name": name, **asdict(facts)} for name, facts in zip(dialect.names, columns, strict=True)],
        "input": given.described(),
        "bytes": given.bytes,
        "dialect": {
            "delimiter": dialect.delimiter,
            "header": dialect.header,
            "encoding": encoding.name,
            "skipped_lines": dialect.preamble,
        },
        "notes": notes,
    }
