"""Rules that need all rows: each beside a slow and obvious evaluation, on a staged Parquet table."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import mean, median, quantiles, stdev
from typing import Any

import duckdb
import pytest

from fixtures.recipe_reference import Row
from fixtures.recipes import raw_table, recipe_of
from processor.cleaning.recipe.applying import AppliedToAll, apply, apply_to_all, prepare
from processor.cleaning.recipe.compiling import compile_recipe
from processor.cleaning.recipe.sheet import Source
from processor.step import StepError


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


class Cleaned:
    """A recipe done to a table in two chunks, which are staged, and then to all."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        rules: Sequence[dict[str, Any]],
        rows: Sequence[Row],
        tables: dict[str, list[str]] | None = None,
    ) -> None:
        names = list(rows[0])
        plan = compile_recipe(recipe_of(*rules), names, tables)
        prepare(connection, plan.first)
        half, self.chunk_rejects = len(rows) // 2, 0
        for part, chunk in enumerate((rows[:half], rows[half:])):
            raw_table(connection, names, chunk)
            done = apply(connection, plan.first, Source("raw", f"rowid + {part * half}"))
            self.chunk_rejects += done.rejected.total()
            connection.execute(f"COPY ({done.cleaned}) TO '{folder}/{part}.parquet'")
        self.done: AppliedToAll = apply_to_all(connection, plan, f"'{folder}/*.parquet'")
        cells = ", ".join(f"CAST({column.slot} AS VARCHAR)" for column in plan.columns)
        found = connection.execute(f"SELECT row_, {cells} FROM ({self.done.cleaned}) ORDER BY row_").fetchall()
        self.rows = {row: dict(zip((c.name for c in plan.columns), values, strict=True)) for row, *values in found}
        self.rejects = connection.execute("SELECT row_, column_, reason FROM whole_rejects ORDER BY ALL").fetchall()
        self.duplicates = dict(connection.execute("SELECT row_, survivor FROM whole_duplicates").fetchall())
        self.changes = connection.execute(
            "SELECT row_, column_, before, after FROM whole_changes ORDER BY ALL"
        ).fetchall()
        self.findings = connection.execute("SELECT row_, found, expected FROM whole_findings ORDER BY ALL").fetchall()
        # The law.
        assert len(rows) == len(self.rows) + self.chunk_rejects + len(self.rejects) + len(self.duplicates)
        assert self.done.rows == self.done.cleaned_rows + self.done.rejected.total() + self.done.duplicates
        assert len({row for row, *_ in self.rejects} | set(self.duplicates)) == len(self.rejects) + len(self.duplicates)


_INTEGER = {"rule": "integer", "columns": ["n"]}


def _numbers(random: Random, count: int) -> list[Row]:
    large = [random.randint(0, 2000 if random.random() < 0.1 else 100) for _ in range(count)]
    return [{"n": random.choice(["", *[str(number)] * 3])} for number in large]


def _ends(numbers: list[float], method: str) -> tuple[float, float]:
    if method == "iqr":
        low, _, high = quantiles(numbers, n=4, method="inclusive")
        return low - 1.5 * (high - low), high + 1.5 * (high - low)
    middle = mean(numbers) if method == "z" else median(numbers)
    distance = stdev(numbers) if method == "z" else 1.4826 * median(abs(one - middle) for one in numbers)
    factor = 2 if method == "z" else 3.5
    return middle - factor * distance, middle + factor * distance


@pytest.mark.parametrize("method", ["iqr", "z", "mad"])
@pytest.mark.parametrize("action", ["reject", "null", "clip", "report"])
def test_outliers_are_what_is_beyond_the_ends(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, method: str, action: str
) -> None:
    rows = _numbers(Random(f"{method} {action}"), 120)
    rule = {"rule": "outliers", "columns": ["n"], "method": method, "action": action} | (
        {"factor": 2} if method == "z" else {}
    )
    cleaned = Cleaned(connection, tmp_path, [_INTEGER, rule], rows)
    least, most = _ends([float(cell) for row in rows if (cell := row["n"])], method)
    outside = [at for at, row in enumerate(rows) if (cell := row["n"]) and not least <= float(cell) <= most]
    assert outside
    assert [row for row, *_ in cleaned.rejects] == (outside if action == "reject" else [])
    assert [row for row, *_ in cleaned.findings] == (outside if action == "report" else [])
    assert [row for row, *_ in cleaned.changes] == (outside if action in ("null", "clip") else [])
    for row, _, before, after in cleaned.changes:
        assert before == rows[row]["n"]
        assert after == cleaned.rows[row]["n"]
        assert after is None if action == "null" else least <= float(after) <= most


@pytest.mark.parametrize("method", ["forward", "backward", "mean", "median", "mode"])
def test_missing_cells_are_filled_and_all_are_logged(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, method: str
) -> None:
    rows = _numbers(Random(method), 80)
    cleaned = Cleaned(connection, tmp_path, [_INTEGER, {"rule": "fill", "columns": ["n"], "method": method}], rows)
    numbers = [int(cell) for row in rows if (cell := row["n"])]
    counts = Counter(map(str, numbers))
    usual = {
        "mean": lambda: str(int(mean(numbers) + 0.5)),
        "median": lambda: str(round(median(numbers))),
        "mode": lambda: min((-count, cell) for cell, count in counts.items())[1],
    }
    for at, row in enumerate(rows):
        expected = row["n"] or None
        if expected is None and method in usual:
            expected = usual[method]()
        elif expected is None:
            others = rows[at::-1] if method == "forward" else rows[at:]
            expected = next((other["n"] for other in others if other["n"]), None)
        assert cleaned.rows[at]["n"] == expected
        logged = [after for row_, _, _, after in cleaned.changes if row_ == at]
        assert logged == ([expected] if not row["n"] and expected else [])


def _people(random: Random, count: int) -> list[Row]:
    return [
        {
            "name": random.choice(["", "Ann", "Bob", "Cid", "Anne"]),
            "town": random.choice(["", "Ulm", "Rom"]),
            "n": str(random.randint(1, 9)),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("survivor", ["first", "last", "most_complete", "max", "min"])
@pytest.mark.parametrize("columns", [["name", "town"], ["name"], []])
def test_of_duplicates_the_right_one_survives(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, survivor: str, columns: list[str]
) -> None:
    rows = _people(Random(survivor), 60)
    rule = {"rule": "deduplicate", "columns": columns, "survivor": survivor}
    rule |= {"by": "n"} if survivor in ("max", "min") else {}
    cleaned = Cleaned(connection, tmp_path, [_INTEGER, rule], rows)
    groups = defaultdict(list)
    for at, row in enumerate(rows):
        groups[tuple(row[name] for name in columns or row)].append(at)
    best = {
        "first": lambda at: at,
        "last": lambda at: -at,
        "most_complete": lambda at: (sum(not cell for cell in rows[at].values()), at),
        "max": lambda at: (-int(rows[at]["n"] or 0), at),
        "min": lambda at: (int(rows[at]["n"] or 0), at),
    }[survivor]
    expected = {at: min(group, key=best) for group in groups.values() for at in group}
    assert cleaned.duplicates == {at: kept for at, kept in expected.items() if at != kept}
    assert not cleaned.changes


@pytest.mark.parametrize("measure", ["levenshtein", "jaro_winkler"])
def test_what_is_nearly_the_same_is_found_over_others_too(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, measure: str
) -> None:
    random = Random(measure)
    names = ["katharina", "katarina", "catarina", "johann", "johan", "peter", ""]
    rows: list[Row] = [{"name": random.choice(names), "town": random.choice(["a", "b"])} for _ in range(40)]
    rule = {"rule": "deduplicate", "columns": ["name"], "measure": measure, "threshold": 0.85, "block": ["town"]}
    cleaned = Cleaned(connection, tmp_path, [rule], rows)
    function = {
        "levenshtein": "1 - levenshtein(?, ?) / greatest(?, ?)",
        "jaro_winkler": "jaro_winkler_similarity(?, ?)",
    }[measure]

    def alike(one: str, other: str) -> bool:
        lengths = [len(one), len(other)] if measure == "levenshtein" else []
        return bool(connection.execute(f"SELECT {function}", [one, other, *lengths]).fetchall()[0][0] >= 0.85)

    near = {pair for pair in combinations(sorted(set(names) - {""}), 2) if alike(*pair)}
    groups: list[set[str]] = [{name} for name in names]
    for one, other in near:
        joined = [group for group in groups if one in group or other in group]
        groups = [group for group in groups if group not in joined] + [set[str]().union(*joined)]
    expected = {}
    for at, row in enumerate(rows):
        group = next(group for group in groups if row["name"] in group)
        same = [o for o, other in enumerate(rows) if other["name"] in group and other["town"] == row["town"]]
        if row["name"] and same[0] != at:
            expected[at] = same[0]
    assert cleaned.duplicates == expected
    assert len(near) >= 2


def test_a_block_that_is_too_large_is_refused(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.cleaning.recipe.rules.duplicates.MOST_IN_BLOCK", 5)
    rows: list[Row] = [{"name": f"x{at}"} for at in range(6)]
    with pytest.raises(StepError, match=r"6 texts .*finer block"):
        Cleaned(connection, tmp_path, [{"rule": "deduplicate", "measure": "levenshtein"}], rows)


def test_very_many_blocks_are_refused_before_they_are_compared(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block was small enough, and all of them together took a step's whole hour."""
    monkeypatch.setattr("processor.cleaning.recipe.rules.duplicates.MOST_PAIRS", 11)
    rows: list[Row] = [{"name": f"x{at}", "town": f"{at % 4}"} for at in range(12)]
    rule = {"rule": "deduplicate", "columns": ["name"], "measure": "levenshtein", "block": ["town"]}
    with pytest.raises(StepError, match=r"12 pairs of texts .* 11 may be") as refused:
        Cleaned(connection, tmp_path, [rule], rows)
    assert refused.value.code == "block_too_large"


@pytest.mark.parametrize("keep", ["first", "none"])
def test_a_key_is_there_once(connection: duckdb.DuckDBPyConnection, tmp_path: Path, keep: str) -> None:
    rows = _people(Random(keep), 30)
    cleaned = Cleaned(connection, tmp_path, [{"rule": "unique", "columns": ["name", "town"], "keep": keep}], rows)
    groups = defaultdict(list)
    for at, row in enumerate(rows):
        if row["name"] and row["town"]:
            groups[row["name"], row["town"]].append(at)
    expected = [at for group in groups.values() if len(group) > 1 for at in group[1 if keep == "first" else 0 :]]
    assert cleaned.rejects == [(at, None, "not_unique") for at in sorted(expected)]


@pytest.mark.parametrize("on_error", ["reject", "null"])
def test_a_foreign_key_is_in_the_other_table(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, on_error: str
) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE table_0 AS SELECT 'x' AS c0, unnest(['3', '4', '5']) AS c1")
    rows = _people(Random(on_error), 30)
    rule = {"rule": "foreign_key", "columns": ["n"], "table": "towns", "references": ["id"], "on_error": on_error}
    cleaned = Cleaned(connection, tmp_path, [_INTEGER, rule], rows, {"towns": ["kind", "id"]})
    missing = [at for at, row in enumerate(rows) if row["n"] not in ("3", "4", "5")]
    assert [row for row, *_ in cleaned.rejects] == (missing if on_error == "reject" else [])
    logged = [(at, "n", rows[at]["n"], None) for at in missing] if on_error == "null" else []
    assert cleaned.changes == logged


@pytest.mark.parametrize("confidence", [0.6, 0.8])
@pytest.mark.parametrize("otherwise", ["report", "reject"])
def test_a_dependency_is_mended_only_by_a_clear_majority(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, confidence: float, otherwise: str
) -> None:
    random = Random(confidence)
    towns = {"1": ["Ulm"] * 9 + ["Rom", ""], "2": ["Rom"] * 2 + ["Ulm"], "3": ["Bonn", ""]}
    rows: list[Row] = [{"code": code, "town": random.choice(towns[code])} for code in random.choices("123", k=90)]
    rule = {"rule": "dependency", "columns": ["code"], "determines": "town", "repair": "majority"}
    cleaned = Cleaned(connection, tmp_path, [{**rule, "confidence": confidence, "otherwise": otherwise}], rows)
    changes, told = [], []
    for code in towns:
        counts = Counter(row["town"] for row in rows if row["code"] == code and row["town"])
        best, many = counts.most_common(1)[0]
        for at, row in enumerate(rows):
            if row["code"] != code or not row["town"] or len(counts) == 1:
                continue
            if many / counts.total() >= confidence:
                changes += [(at, "town", row["town"], best)] if row["town"] != best else []
            elif otherwise == "reject" or row["town"] != best:
                told.append(at)
    assert cleaned.changes == sorted(changes)
    assert changes
    assert [row for row, *_ in (cleaned.findings if otherwise == "report" else cleaned.rejects)] == sorted(told)


def test_rules_go_on_after_one_that_needs_all_rows(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    rows: list[Row] = [
        {"name": name, "n": n} for name, n in (("a ", "1"), ("a", "x"), ("a", "3"), ("b", "2"), ("", "9"))
    ]
    rules: list[dict[str, Any]] = [
        {"rule": "trim"},
        {"rule": "fill", "columns": ["name"], "method": "forward"},
        {"rule": "case", "columns": ["name"], "to": "upper"},
        _INTEGER,
        {"rule": "rename", "names": {"n": "number"}},
        {"rule": "unique", "columns": ["name"]},
    ]
    cleaned = Cleaned(connection, tmp_path, rules, rows)
    assert cleaned.rows == {0: {"name": "A", "number": "1"}, 3: {"name": "B", "number": "2"}}
    assert cleaned.rejects == [(1, "n", "not_integer"), (2, "name", "not_unique"), (4, "name", "not_unique")]
    assert cleaned.changes == [(0, "name", "a", "A"), (3, "name", "b", "B")]
