"""What a recipe once did without a word, or told wrongly."""

from collections.abc import Iterator

import duckdb
import pytest

from fixtures.recipe_reference import Row
from fixtures.recipes import outcome, raw_table, recipe_of
from processor.cleaning.recipe.applying import apply_to_all
from processor.cleaning.recipe.compiling import WrongRecipe, compile_recipe
from processor.cleaning.recipe.validation import validate


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def test_a_number_that_is_not_kept_exactly_is_logged(connection: duckdb.DuckDBPyConnection) -> None:
    texts = ["9007199254740993", "9999999999999999", "9007199254740992", "-123456789012345", "12345678901234.5"]
    found = outcome(connection, ["a"], [{"rule": "number", "columns": ["a"]}], [{"a": text} for text in texts])
    assert {(row, before) for row, _, before, *_ in found.changes} == {(0, texts[0]), (1, texts[1])}


@pytest.mark.parametrize(("thousands", "value"), [(".", "1234.000"), ("", None)])
def test_a_point_that_is_no_decimal_mark_is_none_in_a_number_with_as_many_digits_behind_it(
    connection: duckdb.DuckDBPyConnection, thousands: str, value: str | None
) -> None:
    rule = {"rule": "decimal", "columns": ["a"], "decimal": ",", "thousands": thousands, "scale": 3}
    found = outcome(connection, ["a"], [rule], [{"a": "1.234"}, {"a": "1,234"}])
    assert str(found.rows[1]["a"]) == "1.234"
    assert ([str(found.rows[0]["a"])] if value else list(found.rejects)) == ([value] if value else [0])


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


def test_of_values_that_are_as_frequent_the_same_one_is_always_expected() -> None:
    rule = {"rule": "dependency", "columns": ["k"], "determines": "v", "repair": "none"}
    rows: list[Row] = [{"k": "a", "v": "x"}, {"k": "a", "v": "y"}]
    plan = compile_recipe(recipe_of(rule), ["k", "v"])
    for threads in (1, 2):
        with duckdb.connect(config={"threads": threads}) as connection:
            raw_table(connection, ["k", "v"], rows)
            apply_to_all(connection, plan, "(SELECT rowid AS row_, c0, c1 FROM raw)")
            found = connection.execute("SELECT row_, found, expected FROM whole_findings").fetchall()
        assert found == [(0, "x", "y")]


@pytest.mark.parametrize("null", [";", 'a"', "a\nb"], ids=["delimiter", "quote", "line end"])
def test_what_stands_for_null_cannot_tear_a_row(null: str) -> None:
    (problem,) = validate({"version": 1, "output": {"delimiter": ";", "null": null}}).problems
    assert (problem.place, problem.code) == ("output.null", "not_a_null")


def test_many_patterns_are_judged_by_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each opened one of its own: a document of them held a thread of all tenants for minutes."""
    assert not validate(
        {"version": 1, "rules": [{"rule": "replace", "columns": ["a"], "pattern": "x", "by": ""}]}
    ).problems

    def refuse(**_options: object) -> None:
        raise AssertionError("another engine was opened")

    monkeypatch.setattr(duckdb, "connect", refuse)
    rules = [{"rule": "replace", "columns": ["a"], "pattern": f"x{at}(", "by": ""} for at in range(5)]
    assert len(validate({"version": 1, "rules": rules}).problems) == 5


def test_rules_without_end_on_one_column_are_refused_with_the_first_that_is_too_many() -> None:
    trims = [{"rule": "trim", "columns": ["a"]}, {"rule": "case", "columns": ["a"], "to": "upper"}] * 500
    with pytest.raises(WrongRecipe) as refused:
        compile_recipe(recipe_of(*trims), ["a"])
    (problem,) = refused.value.problems
    assert problem.code == "too_deep"
    assert problem.place.startswith("rules[")
