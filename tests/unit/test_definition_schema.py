"""The published JSON Schema, for editors: it fits what is right, and refuses nothing that `validate` would take."""

import json
from typing import Any

import jsonschema_rs
import pytest

from fixtures.definitions import VALID, workflows
from processor.handlers import HANDLERS
from processor.language.document import read
from processor.language.json_schemas import DIALECT, compiled
from processor.language.schema import published
from processor.language.validation import validate

SCHEMA = published()
VALIDATOR = compiled(SCHEMA)


def test_it_is_a_schema_that_needs_nothing_else() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert '"x-' not in json.dumps(SCHEMA)


@pytest.mark.parametrize("name", VALID)
def test_what_is_right_fits_it(name: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read(VALID[name].encode(), "yaml"))] == []


@pytest.mark.parametrize(
    "step",
    [
        {},
        {"uses": "nothing"},
        {"uses": "remote/"},
        {"uses": "noop", "wait": {"timer": 1}},
        {"uses": "noop", "nothing": 1},
        {"uses": "noop", "retry": {"max": -1}},
        {"uses": "noop", "retry": None},
        {"uses": "noop", "timeout": "soon"},
        {"uses": "noop", "map": {}},
        {"uses": "noop", "when": 3},
        {"uses": "http.call"},
        {"uses": "http.call", "with": {}},
        {"uses": "http.call", "with": {"url": "x", "method": "FETCH"}},
        {"uses": "http.call", "with": {"url": "x", "more": 1}},
        {"uses": "sleep", "with": {"seconds": -1}},
        {"uses": "sleep", "with": {"seconds": "long"}},
        {"wait": {}},
        {"wait": {"timer": 1, "signal": "a"}},
        {"workflow": "A"},
        {"uses": "noop", "compensate": {}},
        {"uses": "noop", "compensate": {"uses": "nothing"}},
    ],
)
def test_what_it_refuses_is_refused(step: dict[str, Any]) -> None:
    document = {"name": "w", "steps": {"a": step}}
    assert not VALIDATOR.is_valid(document)
    assert validate(document, workflows=workflows).problems


@pytest.mark.parametrize(
    "document", [{}, {"name": "w"}, {"name": "W", "steps": {}}, {"name": "w", "steps": {"A": {"uses": "noop"}}}, []]
)
def test_what_is_no_workflow_does_not_fit(document: Any) -> None:
    assert not VALIDATOR.is_valid(document)
    assert validate(document).problems


@pytest.mark.parametrize("seconds", [1, "${{ inputs.n }}"])
def test_an_expression_may_stand_for_a_parameter(seconds: Any) -> None:
    assert VALIDATOR.is_valid({"name": "w", "steps": {"a": {"uses": "sleep", "with": {"seconds": seconds}}}})


def test_an_editor_is_told_what_there_is() -> None:
    offered = {one["const"] for one in SCHEMA["$defs"]["Step"]["properties"]["uses"]["anyOf"] if "const" in one}
    assert offered == set(HANDLERS)
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        undescribed = [
            name
            for name, member in part["properties"].items()
            if "description" not in member and "$ref" not in member and name not in ("title", "description")
        ]
        assert undescribed == []


def test_the_schema_follows_the_table_of_handlers() -> None:
    only = {"noop": HANDLERS["noop"]}
    validator = compiled(published(only))
    assert validator.is_valid({"name": "w", "steps": {"a": {"uses": "noop"}}})
    assert not validator.is_valid({"name": "w", "steps": {"a": {"uses": "emit", "with": {"data": {}}}}})
    assert [
        problem.code for problem in validate({"name": "w", "steps": {"a": {"uses": "emit"}}}, handlers=only).problems
    ] == ["unknown_handler"]
