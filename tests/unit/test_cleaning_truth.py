"""Of each generated file it is known what has to become of each of its records, and of each cell: that it does, and
nothing else, whatever the file is."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import duckdb
import pytest
from hypothesis import Phase, given, settings

from fixtures.dirty_cleaning import Left, cleaned
from fixtures.dirty_known_files import DirtyFile, dirty_files
from fixtures.dirty_truth import Truth


def check(file: DirtyFile, left: Left) -> None:
    truth = file.truth
    assert left.names == list(truth.names)
    assert left.rejects == truth.rejects
    assert left.rejected_bytes == truth.rejected_bytes()
    assert all(detail.endswith(".") for detail in left.details)
    assert left.duplicates == truth.duplicates
    assert Counter(left.changes) == Counter(truth.changes)
    assert left.rows == [truth.rows[row] for row in sorted(truth.rows)]
    assert {type(cell) for row in left.rows for cell in row} <= {
        type(cell) for row in truth.rows.values() for cell in row
    }
    _check_text(file.recipe["output"], truth, left)
    told = left.result
    assert told["rows"] == {
        "in": len(truth.records),
        "out": len(truth.rows),
        "rejected": len(truth.rejects),
        "duplicates": len(truth.duplicates),
    }
    assert told["rejects"] == Counter(reject.reason for reject in truth.rejects)
    assert told["changed_cells"] == len(truth.changes)
    assert [column["name"] for column in told["columns"]] == list(truth.names)


def _types(rows: Iterable[Sequence[Any]]) -> set[type]:
    return {type(cell) for row in rows for cell in row}


def _check_text(output: dict[str, Any], truth: Truth, left: Left) -> None:
    rows = [truth.texts[row] for row in sorted(truth.texts)]
    match output["format"]:
        case "csv":
            text = left.text.removeprefix("\ufeff") if output["mark"] else left.text
            # In a table of one column, a line with nothing in it is a row.
            found = [row or [""] for row in csv.reader(io.StringIO(text, newline=""), delimiter=output["delimiter"])]
            cells = [[output["null"] if cell is None else cell for cell in row] for row in rows]
            assert found == [list(truth.names)] * output["header"] + cells
        case "jsonl":
            objects = [json.loads(line) for line in left.text.split("\n")[:-1]]
            assert [list(row) for row in objects] == [list(truth.names)] * len(rows)
            for number, cells in zip(sorted(truth.rows), objects, strict=True):
                for value, cell in zip(truth.rows[number], cells.values(), strict=True):
                    assert cell == value if isinstance(value, str | int | float | None) else cell is not None


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


# A file that fails is told as it is: to look for a smaller one would take minutes.
_AT_ONCE = (Phase.explicit, Phase.generate)


@settings(max_examples=40, phases=_AT_ONCE)
@given(file=dirty_files(most=30))
def test_each_record_becomes_what_it_has_to(connection: duckdb.DuckDBPyConnection, file: DirtyFile) -> None:
    """Nothing is to be decided: the options say what the file is."""
    check(file, cleaned(connection, file.content, file.options, file.recipe))
