"""Of each generated file it is known what has to become of each of its records, and of each cell: that it does, and
nothing else, whatever the file is."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

import duckdb
import pytest

from fixtures.dirty_cells import CELLS, RULES
from fixtures.dirty_checking import check
from fixtures.dirty_cleaning import cleaned
from fixtures.dirty_dialects import draw_dialect
from fixtures.dirty_known_files import make
from fixtures.recipe_reference import Row, evaluate
from processor.cleaning.reading import chunks


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@pytest.mark.parametrize("seed", range(20))
def test_each_record_becomes_what_it_has_to(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    """Nothing is to be decided: the options say what the file is."""
    file = make(Random(seed), most=30)
    check(file, cleaned(connection, file.content, file.options, file.recipe))


@pytest.mark.parametrize("seed", range(8))
def test_so_it_does_where_the_file_alone_says_what_it_is(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    file = make(Random(f"plain {seed}"), most=40, plain=True)
    check(file, cleaned(connection, file.content, {}, file.recipe))


@pytest.mark.parametrize("size", [1, 200])
@pytest.mark.parametrize("seed", range(2))
def test_so_it_does_however_many_chunks_there_are(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, seed: int, size: int
) -> None:
    monkeypatch.setattr(chunks, "_PIECE_BYTES", min(size, 50))
    monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
    file = make(Random(f"chunks {seed}"), most=12)
    check(file, cleaned(connection, file.content, file.options, file.recipe))


@pytest.mark.parametrize("kind", RULES)
def test_a_file_is_cleaned_as_its_cells_are_one_by_one(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    random = Random(kind)
    dialect = replace(draw_dialect(random, plain=True), delimiter=",")
    rules = [*random.choice([[], [{"rule": "trim"}]]), RULES[kind](random)]
    rows: list[Row] = [{name: CELLS[kind](random) for name in "ab"} for _ in range(100)]
    rows = [row for row in rows if all(dialect.can_hold(cell or "") for cell in row.values())]
    records = [dialect.record(random, [cell or "" for cell in row.values()]) for row in rows]
    content = dialect.mark + "".join(f"{record}\n" for record in ["a,b", *records]).encode(dialect.encoding)
    options = {**dialect.options(), "header": True, "preamble_lines": 0, "footer_lines": 0}
    left = cleaned(connection, content, options, {"version": 1, "rules": rules})
    expected = evaluate(rules, rows)
    found = [{name: _text(cell) for name, cell in zip(left.names, row, strict=True)} for row in left.rows]
    assert found == [{name: cell or None for name, cell in row.items()} for row in expected.rows.values()]
    rejects = {(one.row - 1, one.column, one.reason, one.rule) for one in left.rejects}
    assert rejects == {(row, *refused) for row, refused in expected.rejects.items()}
    changes = [(one.row - 1, one.column, one.before, one.after, one.rule) for one in left.changes]
    assert Counter(changes) == Counter(expected.changes)


def _text(cell: Any) -> str | None:
    """As the reference has it."""
    match cell:
        case None | "":
            return None
        case bool():
            return str(cell).lower()
        case datetime():
            text = cell.isoformat(" ")
            return text.rstrip("0") if cell.microsecond else text
        case float():
            return repr(cell)
        case Decimal():
            return f"{cell:f}"
        case _:
            return str(cell)


def test_a_file_with_malformed_records_alone_leaves_them(connection: duckdb.DuckDBPyConnection) -> None:
    """Where no rule had anything to tell, the table was missing that it would be told in."""
    left = cleaned(connection, b"a,b\n1,2\n3\n4,5\n", {}, {"version": 1})
    assert (left.rows, left.rejected_bytes) == ([("1", "2"), ("4", "5")], b"3\n")
