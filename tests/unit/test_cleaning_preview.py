"""What a recipe makes of some records of a file, shown cell by cell."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fixtures.archives import gzipped
from processor.cleaning.preview_step import preview_step
from processor.step import StepError, Task

PEOPLE = (
    b'id,name,age,city\n1, Ann ,41,"Berlin"\n2,Bob,n/a,Paris\n3,Cid\n4,Dan,old,Rome\n2,Bob,n/a,Paris\n5,Eve,7,Oslo\n'
)
RULES: list[dict[str, Any]] = [
    {"rule": "trim", "columns": ["name"]},
    {"rule": "null_tokens", "columns": ["age"]},
    {"rule": "integer", "columns": ["id", "age"]},
    {"rule": "deduplicate"},
    {"rule": "outliers", "columns": ["age"], "factor": 0.1, "action": "report"},
]


def previewed(
    folder: Path, content: bytes, rules: list[dict[str, Any]], *, inputs: tuple[str, ...] = (), **options: Any
) -> dict[str, Any]:
    (folder / "scratch").mkdir(exist_ok=True)
    (folder / "input").write_bytes(content)
    given: Mapping[str, Any] = {"recipe": {"version": 1, "rules": rules}, **options}
    task = Task("csv-preview", str(folder / "input"), dict(given), str(folder / "scratch"), 256, 2, inputs=inputs)
    shares: list[float] = []
    shown = preview_step(task, lambda share, _message: shares.append(share))
    assert shares == sorted(shares), "progress does not go back"
    return shown


def test_each_cell_that_changes_is_shown_before_and_after_and_why_rows_go(tmp_path: Path) -> None:
    shown = previewed(tmp_path, PEOPLE, RULES)

    assert shown["rows"] == {"in": 6, "out": 3, "rejected": 2, "duplicates": 1}
    assert shown["changes"] == [
        {"row": 1, "line": 2, "column": "name", "before": " Ann ", "after": "Ann", "rule": 0, "rule_name": "trim"},
        {"row": 2, "line": 3, "column": "age", "before": "n/a", "after": None, "rule": 1, "rule_name": "null_tokens"},
    ]
    ragged, unread = shown["rejects"]
    assert (ragged["row"], ragged["line"], ragged["reason"], ragged["text"]) == (3, 4, "too_few_fields", "3,Cid")
    assert (unread["row"], unread["column"], unread["rule"]) == (4, "age", 2)
    assert unread["detail"] == "“old” is no whole number."
    assert shown["duplicates"] == [{"row": 5, "line": 6, "survivor_row": 2, "rule": 3, "rule_name": "deduplicate"}]
    assert shown["columns"][2] == {"name": "age", "type": "BIGINT"}
    assert shown["cleaned"][0] == {"row": 1, "cells": ["1", "Ann", "41", "Berlin"]}
    assert [rule["cells"] for rule in shown["rules"]] == [1, 1, 0, 0, 0]
    assert [rule["needs_all_rows"] for rule in shown["rules"]] == [False, False, False, True, True]
    assert shown["sample"] == {"rows": 6, "spread": False, "is_whole_file": True}
    assert shown["notes"] == []


def test_of_a_sample_it_says_that_rules_for_all_rows_have_seen_it_only(tmp_path: Path) -> None:
    shown = previewed(tmp_path, PEOPLE, RULES, rows=4)
    assert shown["rows"] == {"in": 4, "out": 2, "rejected": 2, "duplicates": 0}
    assert shown["sample"]["is_whole_file"] is False
    assert "deduplicate (rules[3]), outliers (rules[4])" in shown["notes"][-1]


def test_a_spread_sample_has_rows_of_the_whole_file(tmp_path: Path) -> None:
    lines = [b"%d,%s\n" % (number, b"x" * 1000) for number in range(1, 30_001)]
    content = b"id,text\n" + b"".join(lines)
    trim: list[dict[str, Any]] = [{"rule": "trim"}]
    shown = previewed(tmp_path, content, trim, rows=40, spread=True)
    rows = [row["row"] for row in shown["cleaned"]]
    assert len(rows) == 40
    assert rows == sorted(rows)
    assert rows[-1] > 28_000
    assert max(after - before for before, after in pairwise(rows)) < 1_000
    assert all(row["cells"][0] == str(row["row"]) for row in shown["cleaned"])
    first = previewed(tmp_path, content, trim, rows=40)
    assert [row["row"] for row in first["cleaned"]] == list(range(1, 41))


def test_a_compressed_file_is_previewed_with_what_is_known_of_it(tmp_path: Path) -> None:
    content = gzipped("1;Jörg\n2;Ann \n".encode("cp1252"))
    reading = {"header": False, "names": ["id", "name"], "encoding": "windows-1252"}
    shown = previewed(tmp_path, content, [{"rule": "trim"}], reading=reading)
    assert shown["input"]["compression"] == ["gzip"]
    assert [row["cells"] for row in shown["cleaned"]] == [["1", "Jörg"], ["2", "Ann"]]


def test_other_files_are_there_for_the_rules_that_name_them(tmp_path: Path) -> None:
    (tmp_path / "cities").write_bytes(gzipped(b"city,land\nBerlin,DE\nRome\nParis,FR\n"))
    rules = [{"rule": "foreign_key", "columns": ["city"], "table": "cities"}]
    shown = previewed(tmp_path, PEOPLE, rules, tables={"cities": "a blob"}, inputs=(str(tmp_path / "cities"),))
    assert [reject["reason"] for reject in shown["rejects"]] == ["too_few_fields", "no_reference", "no_reference"]
    assert shown["notes"][-1].endswith("of the table cities, which can be read as no rows: too_few_fields (1).")


@pytest.mark.parametrize(
    ("options", "code", "place"),
    [
        ({"recipe": {"version": 1, "rules": [{"rule": "trimm"}]}}, "wrong_recipe", "recipe.rules[0].rule: "),
        ({"recipe": {"rules": []}}, "wrong_recipe", "recipe.version: "),
        ({"recipe": []}, "wrong_recipe", "recipe: "),
        (
            {"recipe": {"version": 1, "rules": [{"rule": "case", "columns": ["nam"], "to": "upper"}]}},
            "wrong_recipe",
            "recipe.rules[0].columns[0]: ",
        ),
        ({"recipe": {"version": 1}, "reading": {"table": 0}}, "invalid_option", "`table`"),
    ],
    ids=["no such rule", "no version", "no object", "no such column", "an option of reading"],
)
def test_the_field_that_is_wrong_is_named(tmp_path: Path, options: dict[str, Any], code: str, place: str) -> None:
    with pytest.raises(StepError) as wrong:
        previewed(tmp_path, PEOPLE, [], **options)
    assert wrong.value.code == code
    assert place in wrong.value.detail
