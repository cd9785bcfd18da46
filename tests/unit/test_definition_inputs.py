"""What a job is given, against what its workflow wants."""
# ruff: noqa: E501  # a row of a table is one line

import time
from typing import Any

import pytest

from processor.language.definition import Definition
from processor.language.inputs import check_inputs
from processor.language.validation import validate


def workflow(**inputs: Any) -> Definition:
    validated = validate({"name": "w", "inputs": inputs, "steps": {"a": {"uses": "noop"}}})
    assert validated.definition is not None, validated.problems
    return validated.definition


ORDER = workflow(
    customer={"type": "string", "minLength": 1},
    address={
        "type": "object",
        "properties": {"city": {"type": "string"}, "zip": {"$ref": "#/$defs/zip"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
    },
    many={"type": "integer", "minimum": 1, "default": 1},
    note={"type": ["string", "null"], "default": None},
)
ADDRESS = {"city": "Ulm"}


def test_what_is_not_given_has_its_default() -> None:
    inputs, problems = check_inputs(ORDER, {"customer": "Ada", "address": ADDRESS})
    assert problems == []
    assert inputs == {"customer": "Ada", "address": ADDRESS, "many": 1, "note": None}


def test_what_is_given_is_not_replaced() -> None:
    inputs, problems = check_inputs(ORDER, {"customer": "Ada", "address": ADDRESS, "many": 3, "note": "x"})
    assert (inputs["many"], inputs["note"], problems) == (3, "x", [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {("input.customer", "missing"), ("input.address", "missing")}),
        (
            {"customer": "", "address": {"zip": "1", "town": "Ulm"}, "many": 0, "custmer": 1},
            {
                ("input.customer", "too_short"),
                ("input.address.city", "missing"),
                ("input.address.zip", "wrong_form"),
                ("input.address.town", "unknown_field"),
                ("input.many", "out_of_range"),
                ("input.custmer", "unknown_input"),
            },
        ),
        ({"customer": None, "address": ADDRESS, "many": "1"}, {("input.customer", "wrong_type"), ("input.many", "wrong_type")}),
        ({"customer": "Ada", "address": ADDRESS, "many": True}, {("input.many", "wrong_type")}),
        ({"customer": "a\0", "address": ADDRESS}, {("input.customer", "nul")}),
        ({"customer": "\ud800", "address": ADDRESS}, {("input.customer", "half_character")}),
        ({"customer": "Ada", "address": {"city": float("nan")}}, {("input.address.city", "not_finite")}),
        ({"customer": "Ada", "address": [[[1]]]}, {("input.address", "wrong_type")}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_all_at_once(given: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    _, problems = check_inputs(ORDER, given, ("input",))
    assert {(problem.place, problem.code) for problem in problems} == expected
    assert all(problem.detail.endswith((".", "?")) for problem in problems)


def test_an_unknown_input_is_told_with_the_one_that_was_meant() -> None:
    _, problems = check_inputs(ORDER, {"customer": "Ada", "address": ADDRESS, "mny": 3})
    assert [problem.detail for problem in problems] == ["There is no input mny. Did you mean many?"]


def test_a_workflow_without_inputs_takes_none() -> None:
    _, problems = check_inputs(workflow(), {"a": 1})
    assert [problem.detail for problem in problems] == ["There is no input a. There are none."]


def test_a_pattern_takes_linear_time_whatever_it_is_given() -> None:
    hostile = workflow(a={"type": "string", "pattern": "^(a+)+$"})
    begun = time.process_time()
    _, problems = check_inputs(hostile, {"a": "a" * 1_000_000 + "b"})
    assert [problem.code for problem in problems] == ["wrong_form"]
    assert time.process_time() - begun < 1


def test_an_input_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    _, problems = check_inputs(workflow(a={}), {"a": deep})
    assert [problem.code for problem in problems] == ["too_deep"]


def test_parts_that_are_referred_to_again_and_again_are_counted_as_often() -> None:
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)} | {"d30": {}}
    for schema in (
        {"$defs": doubling, "$ref": "#/$defs/d0"},
        {"$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(3_000)}},
    ):
        begun = time.process_time()
        found = validate({"name": "w", "inputs": {"a": schema}, "steps": {"a": {"uses": "noop"}}}).problems
        assert {problem.code for problem in found} <= {"too_complex", "reference"}
        assert found
        assert time.process_time() - begun < 1


def test_as_many_patterns_as_a_document_can_hold_are_compiled_soon() -> None:
    schema = {"properties": {f"p{n}": {"pattern": r"^\w{1,60}$"} for n in range(900)}}
    begun = time.process_time()
    found = validate({"name": "w", "inputs": {"a": schema}, "steps": {"a": {"uses": "noop"}}})
    assert time.process_time() - begun < 5, found.problems[:2]
