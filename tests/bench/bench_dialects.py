"""How often a CSV file's dialect is recognised, beside DuckDB's sniffer and the csv module's, on the same files.

They are those of fixtures/csv_dialects.py: exports in six languages, a third of them with rows that are spoiled, some
with lines before and after the table. The sniffers, which know no encodings, are given them as UTF-8. A quote counts
where there is one in the file. `usual` are the files whose delimiter is a comma, a semicolon, a tab or a bar: the
others have one that not all sniffers look for.
"""

import csv
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import duckdb

from bench.report import Aim, Result
from fixtures.csv_dialects import Made, make
from processor.cleaning.reading.deciding import decide
from processor.cleaning.reading.options import options_from

FILES = 3000
FIRST_SEED = 1_000_000  # of none that any test reads
_SNIFFED = 64 << 10  # characters that the csv module's sniffer is given: it tries each character against each line

_USUAL = ",;\t|"

AIMS = {
    "delimiter_right": Aim(at_least=0.99),
    "quote_right": Aim(at_least=0.99),
    "header_right": Aim(at_least=0.99),
    "all_right": Aim(at_least=0.98),
    "encoding_right": Aim(at_least=0.99),
}


class _Sniffed(NamedTuple):
    delimiter: str | None
    quote: str | None
    header: bool | None
    skipped: int | None  # lines before the table; None where nobody looks


async def run() -> Result:
    right: Counter[str] = Counter()
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path, as_utf8 = Path(folder) / "made.csv", Path(folder) / "utf-8.csv"
        for seed in range(FIRST_SEED, FIRST_SEED + FILES):
            made = make(seed)
            path.write_bytes(made.content)
            as_utf8.write_bytes(made.text.encode())
            began = perf_counter()
            decisions = decide(path, options_from({}))
            seconds += perf_counter() - began
            right["usual"] += made.delimiter in _USUAL
            marked = made.content[decisions.mark_bytes :]
            right["encoding_right"] += marked.decode(decisions.encoding.value, "replace") == made.text
            right["footer_right"] += decisions.footer_lines.value == made.footer
            right["columns_right"] += decisions.header.value == made.header and _names(made) == decisions.names.value
            ours = _Sniffed(
                decisions.delimiter.value, decisions.quote.value, decisions.header.value, decisions.preamble_lines.value
            )
            for name, sniffed in (
                ("", ours),
                ("duckdb_", _duckdb(connection, as_utf8)),
                ("csv_module_", _csv_module(made.text)),
            ):
                _count(right, name, made, sniffed)
    figures = {
        name: count / (right["usual"] if "usual" in name else FILES)
        for name, count in sorted(right.items())
        if name != "usual"
    }
    return Result(
        "dialects",
        {"files": FILES, "duckdb": duckdb.__version__},
        {**figures, "decide_ms": 1000 * seconds / FILES},
    )


def _count(right: Counter[str], name: str, made: Made, sniffed: _Sniffed) -> None:
    delimiter = sniffed.delimiter == made.delimiter
    quote = made.quote is None or sniffed.quote == made.quote
    header = sniffed.header == made.header
    skipped = sniffed.skipped is None or sniffed.skipped == made.preamble
    right[f"{name}delimiter_right"] += delimiter
    right[f"{name}quote_right"] += quote
    right[f"{name}header_right"] += header
    right[f"{name}all_right"] += delimiter and quote and header and skipped
    if made.delimiter in _USUAL:
        right[f"{name}usual_all_right"] += delimiter and quote and header and skipped
    if sniffed.skipped is not None:
        right[f"{name}skipped_right"] += skipped


def _names(made: Made) -> tuple[str, ...]:
    return tuple(made.names) if made.header else tuple(f"column{number}" for number in range(1, len(made.names) + 1))


def _duckdb(connection: duckdb.DuckDBPyConnection, path: Path) -> _Sniffed:
    try:
        found = connection.execute(
            "SELECT Delimiter, Quote, HasHeader, SkipRows FROM sniff_csv(?, ignore_errors = true)", [str(path)]
        ).fetchone()
    except duckdb.Error:
        return _Sniffed(None, None, None, -1)
    assert found is not None
    delimiter, quote, header, skipped = found
    return _Sniffed(delimiter, None if quote in ("", "(empty)") else quote, header, skipped)


def _csv_module(text: str) -> _Sniffed:
    try:
        dialect = csv.Sniffer().sniff(text[:_SNIFFED])
        return _Sniffed(dialect.delimiter, dialect.quotechar, csv.Sniffer().has_header(text[:_SNIFFED]), None)
    except (csv.Error, UnicodeError):
        return _Sniffed(None, None, None, None)
