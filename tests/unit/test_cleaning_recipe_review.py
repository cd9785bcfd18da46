"""What a recipe once did without a word, or told wrongly."""

from collections.abc import Iterator

import duckdb
import pytest

from fixtures.recipes import outcome
from processor.cleaning.recipe.compiling import WrongRecipe
from processor.cleaning.recipe.validation import validate


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def test_a_number_that_is_not_kept_exactly_is_logged(connection: duckdb.DuckDBPyConnection) -> None:
    texts = ["9007199254740993", "9999999999999999", "9007199254740992", "-123456789012345", "12345678901234.5"]
    found = outcome(connection, ["a"], [{"rule": "number", "columns": ["a"]}], [{"a": text} for text in texts])
    assert {(row, before) for row, _, before, *_ in found.changes} == {(0, texts[0]), (1, texts[1])}


def test_an_empty_text_that_a_map_makes_null_is_logged(connection: duckdb.DuckDBPyConnection) -> None:
    rule = {"rule": "map", "columns": ["a"], "values": {"": None}}
    assert outcome(connection, ["a"], [rule], [{"a": ""}, {"a": "x"}]).changes == {(0, "a", "", None, 0)}


def test_a_quantity_that_stays_is_not_logged(connection: duckdb.DuckDBPyConnection) -> None:
    rule = {"rule": "unit", "columns": ["a"], "to": "kg", "plain": "kg"}
    assert not outcome(connection, ["a"], [rule], [{"a": text} for text in ("1.0", "0.0", "5")]).changes


def test_a_split_rejects_a_text_of_which_its_pattern_would_lose_something(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rule = {"rule": "split", "column": "a", "into": ["b", "c"], "pattern": r"(\d+)-(\d+)", "fewer": "reject"}
    found = outcome(connection, ["a"], [rule], [{"a": "ab 12-34 cd"}, {"a": "12-34"}])
    assert found.rejects == {0: ("a", "too_few_parts", 0)}
    assert found.rows == {1: {"b": "12", "c": "34"}}


def test_a_rule_names_a_column_once() -> None:
    document = {"version": 1, "rules": [{"rule": "fill", "columns": ["n", "n"], "method": "forward"}]}
    assert [(one.place, one.code) for one in validate(document).problems] == [("rules[0].columns", "duplicate")]


def test_numbers_with_marks_are_no_codes_of_countries(connection: duckdb.DuckDBPyConnection) -> None:
    rule = {"rule": "country", "columns": ["a"]}
    found = outcome(connection, ["a"], [rule], [{"a": text} for text in ("0.10", "2-76", " 276 ")])
    assert set(found.rejects) == {0, 1}
    assert found.rows == {2: {"a": "DE"}}


@pytest.mark.parametrize(
    "rule",
    [
        {"rule": "rename", "names": {"id": "A"}},
        {"rule": "split", "column": "id", "into": ["A", "b"], "by": " "},
        {"rule": "merge", "columns": ["id", "n"], "into": "A"},
    ],
    ids=lambda rule: str(rule["rule"]),
)
def test_no_column_gets_the_name_of_another_in_another_case(
    connection: duckdb.DuckDBPyConnection, rule: dict[str, object]
) -> None:
    with pytest.raises(WrongRecipe, match="already"):
        outcome(connection, ["id", "n", "a"], [rule], [])
