"""A recipe's document: everything that is wrong with it is told at once, each with its place, and its JSON Schema says
the same to editors."""

import json
import time
from typing import Any

import duckdb
import jsonschema_rs
import pytest

from fixtures.recipes import applied, raw_table, recipe_of
from processor.cleaning.recipe.applying import apply
from processor.cleaning.recipe.compiling import WrongRecipe, compile_recipe
from processor.cleaning.recipe.rules.table import RULES
from processor.cleaning.recipe.schema import published
from processor.cleaning.recipe.sheet import Source
from processor.cleaning.recipe.validation import validate
from processor.language.json_schemas import DIALECT, compiled

SCHEMA = published()
VALIDATOR = compiled(SCHEMA)


def _problems(*rules: Any) -> list[tuple[str, str]]:
    return [(one.place, one.code) for one in validate({"version": 1, "rules": list(rules)}).problems]


def test_every_problem_is_told_with_its_place() -> None:
    document = {
        "version": 2,
        "rules": [
            {"rule": "trim", "side": "up"},
            {"rule": "trimm"},
            {"columns": ["a"]},
            "trim",
            {"rule": "case", "columns": [], "to": "upper"},
            {"rule": "replace", "columns": ["a"], "pattern": "a", "by": "b", "more": 1},
            {"rule": "decimal", "columns": ["a"], "scale": -1},
        ],
        "output": {"format": "xlsx"},
    }
    told = [(one.place, one.code) for one in validate(document).problems]
    assert sorted(told) == [
        ("output.format", "not_one_of"),
        ("rules[0].side", "not_one_of"),
        ("rules[1].rule", "unknown_rule"),
        ("rules[2].rule", "missing"),
        ("rules[3]", "wrong_type"),
        ("rules[4].columns", "too_short"),
        ("rules[5].more", "unknown_field"),
        ("rules[6].scale", "out_of_range"),
        ("version", "out_of_range"),
    ]
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("document", [None, [], 3, {}, {"version": 1, "rules": {}}, {"version": "1"}])
def test_what_is_no_recipe_is_refused(document: Any) -> None:
    assert validate(document).problems
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize(
    ("rule", "place", "code"),
    [
        ({"rule": "replace", "columns": ["a"], "pattern": "(", "by": ""}, "rules[0].pattern", "wrong_pattern"),
        ({"rule": "replace", "columns": ["a"], "pattern": "a", "by": "\\1"}, "rules[0].pattern", "wrong_pattern"),
        ({"rule": "replace", "columns": ["a"], "pattern": "(?=a)", "by": ""}, "rules[0].pattern", "wrong_pattern"),
        ({"rule": "number", "columns": ["a"], "thousands": "."}, "rules[0].thousands", "same_mark"),
        ({"rule": "number", "columns": ["a"], "thousands": "5"}, "rules[0].thousands", "wrong_mark"),
        ({"rule": "decimal", "columns": ["a"], "scale": 3, "precision": 2}, "rules[0].scale", "out_of_range"),
        ({"rule": "decimal", "columns": ["a"], "scale": 1, "percent": True}, "rules[0].scale", "out_of_range"),
        ({"rule": "boolean", "columns": ["a"], "languages": ["fi", "tr"]}, "rules[0].languages", "ambiguous"),
        ({"rule": "boolean", "columns": ["a"], "true": ["x"]}, "rules[0].false", "missing"),
        (
            {"rule": "map", "columns": ["a"], "values": {"A": "b", "a": "c"}, "ignore_case": True},
            "rules[0].values.a",
            "duplicate",
        ),
        ({"rule": "range", "columns": ["a"], "min": 9, "max": 8.5}, "rules[0].min", "out_of_range"),
        ({"rule": "range", "columns": ["a"], "min": "10", "max": "9"}, "rules[0].min", "out_of_range"),
        (
            {"rule": "range", "columns": ["a"], "min": "2021-04-03T00:01", "max": "2021-04-03"},
            "rules[0].min",
            "out_of_range",
        ),
        (
            {"rule": "schema", "columns": {"a": {"min_length": 3, "max_length": 2}}},
            "rules[0].columns.a.min_length",
            "out_of_range",
        ),
        ({"rule": "replace", "columns": ["a"], "pattern": "a", "by": "\0"}, "rules[0].by", "nul"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told_before_a_table_is_there(rule: dict[str, Any], place: str, code: str) -> None:
    assert _problems(rule) == [(place, code)]


@pytest.mark.parametrize("name", ["boolean", "date", "timestamp"])
def test_a_language_whose_words_are_not_known_is_told_with_those_that_are(name: str) -> None:
    document = {"version": 1, "rules": [{"rule": name, "columns": ["a"], "languages": ["en", "xx"]}]}
    (problem,) = validate(document).problems
    assert (problem.place, problem.code) == ("rules[0].languages[1]", "not_one_of")
    assert "de, el, en" in problem.detail
    assert not VALIDATOR.is_valid(document)


def test_what_does_not_fit_the_table_is_told_with_its_place() -> None:
    recipe = recipe_of(
        {"rule": "trim", "columns": ["name", "nmae"]},
        {"rule": "integer", "columns": ["age"]},
        {"rule": "case", "columns": ["age"], "to": "upper"},
    )
    with pytest.raises(WrongRecipe) as wrong:
        compile_recipe(recipe, ["name", "age"])
    assert [(one.place, one.code) for one in wrong.value.problems] == [
        ("rules[0].columns[1]", "unknown_column"),
        ("rules[2].columns[0]", "not_text"),
    ]
    assert "Did you mean name?" in wrong.value.problems[0].detail


@pytest.mark.parametrize(
    ("least", "most"), [(9, 9.0), ("9", "10"), ("2021-04-03T00:00", "2021-04-03"), ("9", "2021-04-03")]
)
def test_a_range_that_may_have_something_in_it_is_none_that_makes_no_sense(least: Any, most: Any) -> None:
    assert _problems({"rule": "range", "columns": ["a"], "min": least, "max": most}) == []


def test_what_a_condition_takes_is_told() -> None:
    given: list[dict[str, Any]] = [
        {"is": "in", "value": 1},
        {"is": "less"},
        {"is": "missing", "value": 1, "values": [1]},
    ]
    rule = {"rule": "drop_rows", "where": [{"column": "a", **condition} for condition in given]}
    assert [problem.detail for problem in validate({"version": 1, "rules": [rule]}).problems] == [
        "`in` takes no value.",
        "`in` needs values.",
        "`less` needs a value.",
        "`missing` takes no value.",
        "`missing` takes no values: only `in` does.",
    ]


def test_columns_that_all_go_are_told_with_their_place() -> None:
    recipe = recipe_of({"rule": "drop_columns", "columns": ["name", "age"]})
    with pytest.raises(WrongRecipe) as wrong:
        compile_recipe(recipe, ["name", "age"])
    assert [(one.place, one.code) for one in wrong.value.problems] == [("rules[0].columns", "no_columns")]


def test_the_schema_needs_nothing_else_and_names_every_rule() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert '"x-' not in json.dumps(SCHEMA)
    assert set(RULES) <= set(SCHEMA["$defs"])
    for name in RULES:
        assert SCHEMA["$defs"][name]["description"]


def test_an_untouched_column_costs_no_expression() -> None:
    plan = compile_recipe(recipe_of({"rule": "trim", "columns": ["b"]}), ["a", "b"])
    assert plan.first.sheet.columns["a"].slot == "c0"
    assert len(plan.first.sheet.changes) == 1


def test_five_hundred_columns_are_compiled_and_done_in_a_moment() -> None:
    columns = [f"column {at}" for at in range(500)]
    rules: list[dict[str, Any]] = [
        {"rule": "trim"},
        {"rule": "inner_space"},
        {"rule": "null_tokens"},
        *({"rule": "integer", "columns": [column], "thousands": ","} for column in columns[:200]),
        {"rule": "decimal", "columns": columns[200:300], "currency": True, "parentheses": True, "percent": True},
    ]
    begin = time.process_time()
    plan = compile_recipe(recipe_of(*rules), columns)
    sql = plan.first.work(Source("raw"))
    assert time.process_time() - begin < 3
    assert len(sql) < 3_000_000
    with duckdb.connect(config={"threads": 1}) as connection:
        raw_table(connection, columns, [dict.fromkeys(columns, cell) for cell in (" 1,000 ", " 12 ")])
        begin = time.process_time()
        for statement in plan.first.prepare:
            connection.execute(statement)
        done = apply(connection, plan.first, Source("raw"))
        assert connection.execute("SELECT count(*) FROM changes_").fetchall() == [(500,)]
        assert time.process_time() - begin < 20
        assert done.rejected == {"not_decimal": 1}


def test_what_a_rule_made_stands_beside_what_none_has_touched() -> None:
    """Untouched columns are read where they are: that is right only as long as DuckDB keeps the order of the rows."""
    rules = [{"rule": "map", "columns": ["a"], "values": {str(n): f"x{n}" for n in range(300)}}]
    plan = compile_recipe(recipe_of(*rules, {"rule": "integer", "columns": ["c"]}), ["a", "b", "c"])
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(
            "CREATE TEMP TABLE raw AS SELECT (range % 500)::VARCHAR AS c0, range::VARCHAR AS c1, "
            "CASE WHEN range % 100 = 7 THEN 'x' ELSE range::VARCHAR END AS c2 FROM range(400_000)"
        )
        for statement in plan.first.prepare:
            connection.execute(statement)
        done = apply(connection, plan.first, Source("raw"))
        wrong = (
            "row_ <> c1::BIGINT OR c2 <> row_ OR "
            "c0 <> CASE WHEN row_ % 500 < 300 THEN 'x' || row_ % 500 ELSE (row_ % 500)::VARCHAR END"
        )
        found = connection.execute(f"SELECT count(*), count_if({wrong}) FROM ({done.cleaned})").fetchall()
        assert found == [(done.cleaned_rows, 0)] == [(396_000, 0)]


def test_the_rows_come_out_in_their_order() -> None:
    with duckdb.connect(config={"threads": 2}) as connection:
        rules = [{"rule": "map", "columns": ["a"], "values": {str(n): f"x{n}" for n in range(300)}}]
        _, done = applied(connection, ["a"], rules, [{"a": str(n)} for n in range(500)])
        rows = [row for row, *_ in connection.execute(done.cleaned).fetchall()]
        assert rows == sorted(rows)
        assert done.changed == {(0, "a"): 300}
