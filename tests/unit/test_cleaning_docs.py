"""docs/cleaning.md tells of every rule, option and reason, and its example gives what it says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from processor.cleaning import files
from processor.cleaning.clean import clean_file
from processor.cleaning.options import clean_options
from processor.cleaning.reading.options import Options
from processor.cleaning.reading.records_grammar import Fault
from processor.cleaning.recipe.document import Output
from processor.cleaning.recipe.rules.conditions import Condition, Expected
from processor.cleaning.recipe.rules.table import RULES
from processor.cleaning.recipe.schema import of_rule
from processor.cleaning.recipe.validation import validate
from processor.cleaning.room import Room
from processor.handlers import HANDLERS
from processor.inputs.opening import Input

PAGE = (Path(__file__).parents[2] / "docs" / "cleaning.md").read_text()


def _section(title: str) -> str:
    return re.split(r"\n##+ ", PAGE.split(f" {title}\n", 1)[1])[0]


def _rows(title: str) -> dict[str, str]:
    """The rows of a section's tables, by their first cells."""
    lines = re.findall(r"^\| (`.*?) \|(.*)", _section(title), re.MULTILINE)
    return {cell: rest for cells, rest in lines for cell in re.findall(r"`([^`]+)`", cells)}


def test_every_rule_is_shown_with_its_parameters() -> None:
    shown = _rows("Rules")
    assert set(shown) == set(RULES)
    before = ""
    for name in RULES:
        parameters = shown[name].split("|")[0].replace("the same", before)
        wanted = set(of_rule(name)["properties"]) - {"rule", "why"}
        assert wanted <= set(re.findall(r"`(\w+)`", parameters)), name
        before = parameters


def test_what_is_within_a_parameter_is_shown_too() -> None:
    shown = _rows("Rules")
    assert all(f"`{field}`" in shown["schema"] for field in Expected.__struct_fields__)
    assert all(f"`{field.rstrip('_')}`" in shown["drop_rows"] for field in Condition.__struct_fields__)


def test_rules_that_need_all_rows_are_marked() -> None:
    marked = set(re.findall(r"^\| `(\w+)` \* \|", _section("Rules"), re.MULTILINE))
    need = {name for name, rule in RULES.items() if rule.__mro__[1].__name__ == "WholeRule"}
    assert marked == need - {"fill"}


def test_every_option_of_reading_and_every_reason_is_shown() -> None:
    shown = _rows("What a file is")
    assert set(shown) == set(Options.__struct_fields__) | {fault.code for fault in Fault if fault is not Fault.NONE}


def test_the_output_is_shown_with_its_defaults() -> None:
    shown = _rows("How it is written")
    assert set(shown) == {"output", *Output.__struct_fields__}
    assert shown["quote"].startswith(f" `{Output().quote}`")
    assert shown["format"].startswith(f" `{Output().format}`")


def test_the_columns_of_the_logs_are_shown() -> None:
    shown = _rows("What a clean leaves")
    for file, columns in files.LOGS.items():
        names = [column.split()[0].strip('"') for column in columns.split(", ")]
        assert re.findall(r"`(\w+)`", shown[file]) == names, file


@pytest.mark.parametrize(("handler", "title"), [("csv-suggest", "Suggest"), ("csv-preview", "Preview")])
def test_what_the_steps_take_and_give_is_shown(handler: str, title: str) -> None:
    described = HANDLERS[handler]
    options = set(described.parameters["properties"]["options"]["properties"]) - {"reading", "entry", "spread"}
    assert all(f"`options.{option}`" in _section(title) for option in options)
    given = set(described.output["properties"]) - {"input", "decisions", "sample", "rows", "notes"}
    assert all(f"`{name}`" in _section(title) for name in given)


def _blocks(kind: str) -> Iterator[str]:
    yield from re.findall(rf"```{kind}\n(.*?)```", _section("Recipes"), re.DOTALL)


def test_the_example_gives_what_it_says(tmp_path: Path) -> None:
    people, expected = _blocks("csv")
    (recipe,) = _blocks("json")
    document: Any = json.loads(recipe)
    assert validate(document).problems == ()
    source, folder, scratch = tmp_path / "people.csv", tmp_path / "made", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    source.write_text(people)
    room = Room(256, 1, str(scratch))
    done = clean_file(
        Input(source, source.stat().st_size, (), None),
        clean_options({"recipe": document}),
        folder,
        room,
        lambda _share, _said: None,
        {},
    )

    assert (folder / "cleaned.csv").read_text() == expected
    assert done["rows"] == {"in": 6, "out": 3, "rejected": 2, "duplicates": 1}
    rejected = (folder / "rejects.csv").read_text().splitlines()
    assert rejected == re.findall(r"`(\d,[^`]+)`", _section("Recipes"))
    shown = [
        tuple(None if cell == "null" else cell.strip("`") for cell in re.split(r" \| ", line.strip("| ")))
        for line in re.findall(r"^\| \d.*", _section("Recipes"), re.MULTILINE)
    ]
    changes = (
        duckdb.connect()
        .execute(
            f"""SELECT CAST(row AS VARCHAR), CAST(line AS VARCHAR), "column", before, after, rule_name
        FROM read_parquet('{folder / files.CHANGES}') ORDER BY row, "column" """
        )
        .fetchall()
    )
    assert sorted(changes, key=str) == sorted(shown, key=str)
