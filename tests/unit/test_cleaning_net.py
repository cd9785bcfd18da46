"""What a recipe cannot do to a file ends the work with a code, and never with a crash."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from processor.cleaning.clean import clean_file
from processor.cleaning.options import clean_options
from processor.cleaning.room import Room
from processor.inputs.opening import Input
from processor.step import StepError

AMOUNT = {"rule": "decimal", "columns": ["n"], "precision": 4}  # up to 99.99
DAY = {"rule": "date", "columns": ["n"], "on_error": "null"}
WHEN = {"rule": "timestamp", "columns": ["n"], "on_error": "null"}


def clean(folder: Path, content: str, *rules: dict[str, Any]) -> Path:
    (folder / "in.csv").write_text(content)
    for name in ("scratch", "out"):
        (folder / name).mkdir()
    given = Input(folder / "in.csv", len(content), (), None)
    options = clean_options({"recipe": {"version": 1, "rules": list(rules)}})
    clean_file(given, options, folder / "out", Room(300, 1, str(folder / "scratch")), lambda *_: None, {})
    return folder / "out" / "cleaned.csv"


@pytest.mark.parametrize(
    ("rules", "place"),
    [
        ([AMOUNT, {"rule": "fill", "columns": ["n"], "value": 100000}], "value"),
        ([AMOUNT, {"rule": "fill", "columns": ["n"], "value": "1.555"}], "value"),
        ([AMOUNT, {"rule": "range", "columns": ["n"], "min": 1000, "on_error": "clip"}], "min"),
        ([AMOUNT, {"rule": "range", "columns": ["n"], "max": "1e40"}], "max"),
        ([AMOUNT, {"rule": "drop_rows", "where": [{"column": "n", "is": "more", "value": "1e40"}]}], "where[0].value"),
        (
            [AMOUNT, {"rule": "drop_rows", "where": [{"column": "n", "is": "in", "values": [1, "1000"]}]}],
            "where[0].values[1]",
        ),
        ([DAY, {"rule": "fill", "columns": ["n"], "value": "2021-W14-6"}], "value"),
        ([DAY, {"rule": "fill", "columns": ["n"], "value": "20210403"}], "value"),
        ([WHEN, {"rule": "fill", "columns": ["n"], "value": "2021-04-03T10:00+02:00"}], "value"),
        ([{"rule": "number", "columns": ["n"]}, {"rule": "fill", "columns": ["n"], "value": "1e999"}], "value"),
        ([{"rule": "integer", "columns": ["n"]}, {"rule": "range", "columns": ["n"], "max": 2**63}], "max"),
    ],
    ids=["wide", "scale", "clip", "range", "drop", "in", "week", "basic", "zone", "double", "integer"],
)
def test_a_value_that_its_column_cannot_have_is_an_error_of_the_recipe(
    tmp_path: Path, rules: list[dict[str, Any]], place: str
) -> None:
    with pytest.raises(StepError) as wrong:
        clean(tmp_path, "id,n\n1,1.50\n2,\n", *rules)
    assert wrong.value.code == "wrong_recipe"
    assert [(one.place, one.code) for one in wrong.value.problems] == [(f"recipe.rules[1].{place}", "wrong_value")]


@pytest.mark.parametrize(
    ("rules", "cells"),
    [
        ([AMOUNT, {"rule": "range", "columns": ["n"], "max": "1e30"}], "1.50,,99.99"),
        ([AMOUNT, {"rule": "range", "columns": ["n"], "min": "1.505", "max": 1000}], ",99.99"),
        ([{**AMOUNT, "precision": 38, "scale": 18}, {"rule": "range", "columns": ["n"], "max": 2}], "1.5,"),
        ([AMOUNT, {"rule": "fill", "columns": ["n"], "value": "7.5000"}], "1.50,7.50,99.99"),
        (
            [{"rule": "number", "columns": ["n"]}, {"rule": "fill", "columns": ["n"], "value": "1e3"}],
            "1.5,1000.0,99.99",
        ),
    ],
    ids=["beyond", "between", "long", "zeros", "power"],
)
def test_what_is_compared_with_a_column_may_have_more_digits(
    tmp_path: Path, rules: list[dict[str, Any]], cells: str
) -> None:
    table = clean(tmp_path, "id,n\n1,1.50\n2,\n3,99.99\n", *rules)
    found = duckdb.execute("SELECT n FROM read_csv(?, all_varchar = true)", [str(table)]).fetchall()
    shown = ["" if cell is None else cell.rstrip("0") if len(cell) > 10 else cell for (cell,) in found]
    assert shown == cells.split(",")


def test_what_duckdb_cannot_compute_is_told_with_a_code(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="out of range") as failed, Room(300, 1, str(tmp_path)).connect() as connection:
        connection.execute("SELECT CAST(300 AS TINYINT)")
    assert failed.value.code == "not_computable"
    assert failed.value.__cause__ is not None


def test_what_goes_to_a_disk_that_is_full_is_told_so(tmp_path: Path) -> None:
    with (
        pytest.raises(StepError) as failed,
        Room(40, 1, str(tmp_path), disk_free_bytes=1 << 62).connect() as connection,
    ):
        connection.execute("CREATE TEMP TABLE t AS SELECT md5(random()::VARCHAR) AS a FROM range(2_000_000)")
    assert failed.value.code == "disk_full"
    with pytest.raises(StepError) as failed, Room(300, 1, str(tmp_path)).connect() as connection:
        connection.execute("COPY (FROM range(1_000_000)) TO '/dev/full' (FORMAT csv)")
    assert failed.value.code == "disk_full"
