"""What the SQL of a recipe does is what each of its rules does in Python, cell by cell: nothing is changed, made null
or refused that the change log and the rejects do not have, and they have nothing else.

Each seed makes recipes and a table with hundreds of dirty cells; what differs is told by cell."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import duckdb
import pytest

from fixtures.dirty_cells import CELLS, RULES, Maker
from fixtures.recipe_reference import Row, evaluate
from fixtures.recipes import outcome

COLUMNS = ("a", "b")
_ROWS = 150


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def _check(connection: duckdb.DuckDBPyConnection, rules: list[dict[str, Any]], rows: list[Row]) -> None:
    expected, found = evaluate(rules, rows), outcome(connection, COLUMNS, rules, rows)
    wrong: list[Any] = [("refused", *one) for one in found.rejects.items() ^ expected.rejects.items()]
    wrong += [("changed", *one) for one in found.changes ^ expected.changes]
    for number, row in expected.rows.items():
        there = found.rows.get(number, {})
        if {name: cell or "" for name, cell in row.items()} != {name: cell or "" for name, cell in there.items()}:
            wrong.append(("row", number, row, there))
    if wrong:
        tell = "\n".join(f"{one} of {rows[one[1] if isinstance(one[1], int) else one[1][0]]}" for one in wrong[:10])
        pytest.fail(f"{rules}\n{tell}", pytrace=False)


def _table(random: Random, cells: Maker[str]) -> list[Row]:
    return [{name: cells(random) for name in COLUMNS} for _ in range(_ROWS)]


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_each_kind_of_rule_does_what_it_does_in_python(
    connection: duckdb.DuckDBPyConnection, kind: str, seed: int
) -> None:
    random = Random(f"{kind} {seed}")
    before: Sequence[dict[str, Any]] = random.choice([[], [], [{"rule": "trim"}]])
    _check(connection, [*before, RULES[kind](random)], _table(random, CELLS[kind]))


@pytest.mark.parametrize("on_error", ["reject", "null", "clip"])
def test_values_out_of_a_range_are_told(connection: duckdb.DuckDBPyConnection, on_error: str) -> None:
    rules: list[dict[str, Any]] = [
        {"rule": "integer", "columns": ["a", "b"], "on_error": "null"},
        {"rule": "range", "columns": ["a"], "min": 0, "on_error": on_error},
        {"rule": "range", "columns": ["b"], "min": -5, "max": 1000, "on_error": on_error},
    ]
    _check(connection, rules, _table(Random(on_error), CELLS["integer"]))


@pytest.mark.parametrize("seed", range(12))
def test_rules_in_a_row_do_what_they_do_in_python(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    random = Random(seed)
    last = random.choice([kind for kind in RULES if kind not in ("table", "schema")])
    kinds = ["text"] * random.randint(1, 4) + [last]
    rules = [{**RULES[kind](random), "columns": random.choice([["a"], ["a", "b"], ["b"]])} for kind in kinds]
    rules += [RULES["table"](random)] if last == "text" else []
    _check(connection, rules, _table(random, lambda random: CELLS[random.choice(kinds)](random)))


def test_words_of_ones_own_are_true_and_false(connection: duckdb.DuckDBPyConnection) -> None:
    """Without `true` or `false` among them, the statement had a CASE without a branch."""
    rule = {"rule": "boolean", "columns": ["a"], "true": ["ja"], "false": ["nein"]}
    found = outcome(connection, COLUMNS, [rule], [{"a": "Ja", "b": ""}, {"a": "nein", "b": ""}, {"a": "true", "b": ""}])
    assert [row["a"] for row in found.rows.values()] == ["true", "false"]
    assert found.rejects == {2: ("a", "not_boolean", 0)}
