"""Everything that is wrong with a document is told at once, each with its place."""
# ruff: noqa: E501  # a row of a table is one line

import re
from typing import Any

import pytest
import yaml

from fixtures.definitions import VALID, workflows
from processor.language.document import read
from processor.language.problems import Problem
from processor.language.validation import validate


def problems_of(text: str) -> list[Problem]:
    return list(validate(read(text.encode(), "yaml"), workflows=workflows).problems)


def told(text: str) -> set[tuple[str, str]]:
    return {(problem.place, problem.code) for problem in problems_of(text)}


@pytest.mark.parametrize("name", VALID)
def test_a_document_that_is_right_has_no_problems(name: str) -> None:
    assert problems_of(VALID[name]) == []


WHOLE = [
    ("[]", {("", "wrong_type")}),
    ("nothing", {("", "wrong_type")}),
    ("{}", {("name", "missing"), ("steps", "missing")}),
    ("{name: a, steps: {}}", {("steps", "too_short")}),
    ("{name: a, steps: [b]}", {("steps", "wrong_type")}),
    ("{name: a, steps: null}", {("steps", "wrong_type")}),
    ("{name: A, steps: {a: {uses: noop}}}", {("name", "wrong_form")}),
    ("{name: a_b, steps: {a: {uses: noop}}}", {("name", "wrong_form")}),
    ('{name: "a\\n", steps: {a: {uses: noop}}}', {("name", "wrong_form")}),
    ("{name: a, stepz: 1, steps: {a: {uses: noop}}}", {("stepz", "unknown_field")}),
    ("{name: a, title: 3, description: [], steps: {a: {uses: noop}}}", {("title", "wrong_type"), ("description", "wrong_type")}),
    ("{name: a, timeout: 0, steps: {a: {uses: noop}}}", {("timeout", "out_of_range")}),
    ("{name: a, timeout: 0s, steps: {a: {uses: noop}}}", {("timeout", "out_of_range")}),
    ("{name: a, timeout: 400d, steps: {a: {uses: noop}}}", {("timeout", "out_of_range")}),
    ("{name: a, timeout: soon, steps: {a: {uses: noop}}}", {("timeout", "wrong_form")}),
    ("{name: a, timeout: '', steps: {a: {uses: noop}}}", {("timeout", "too_short")}),
    ("{name: a, timeout: true, steps: {a: {uses: noop}}}", {("timeout", "wrong_type")}),
    ("{name: a, concurrency: {limit: 0, key: inputs.x}, steps: {a: {uses: noop}}}", {("concurrency.limit", "out_of_range"), ("concurrency.key", "unknown_input")}),
    ("{name: a, concurrency: {key: steps.a.output}, steps: {a: {uses: noop}}}", {("concurrency.key", "not_here")}),
    ("{name: a, concurrency: {key: a b}, steps: {a: {uses: noop}}}", {("concurrency.key", "syntax")}),
    ("{name: a, concurrency: {limit_per_key: 2}, steps: {a: {uses: noop}}}", {("concurrency.limit_per_key", "not_here")}),
    ("{name: a, output: {x: '${{ steps.b.output }}', y: ['${{ item }}']}, steps: {a: {uses: noop}}}", {("output.x", "unknown_step"), ("output.y[0]", "not_here")}),
    ("{name: a, output: '${{ job.status }}', steps: {a: {uses: noop}}}", {("output", "not_here")}),
    ("{name: a, on_exit: {}, steps: {a: {uses: noop}}}", {("on_exit", "choose_one")}),
    ("{name: a, on_exit: {uses: noop, depends: [a], map: {items: []}}, steps: {a: {uses: noop}}}", {("on_exit.depends", "unknown_field"), ("on_exit.map", "unknown_field")}),
    ("{name: a, on_exit: {uses: emit, with: {data: {a: '${{ job.statu }}', b: '${{ steps.b.status }}'}}}, steps: {a: {uses: noop}}}", {("on_exit.with.data.a", "unknown_member"), ("on_exit.with.data.b", "unknown_step")}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WHOLE)
def test_of_the_whole_it_is_told(text: str, expected: set[tuple[str, str]]) -> None:
    assert told(text) == expected


# Of step `b`, which may come after `a`; inputs are n (an integer), s (a text), l (a list of texts) and o (an object).
STEP = [
    ("{}", {("", "choose_one")}),
    ("3", {("", "wrong_type")}),
    ("{uses: noop, wait: {timer: 1}}", {("", "choose_one")}),
    ("{uses: noop, workflow: deliver, with: {to: x}}", {("", "choose_one")}),
    ("{uses: nop}", {("uses", "unknown_handler")}),
    ("{uses: 3}", {("uses", "wrong_type")}),
    ("{uses: null}", {("uses", "wrong_type")}),
    ("{uses: remote/}", {("uses", "wrong_form")}),
    ("{uses: remote/UP}", {("uses", "wrong_form")}),
    ('{uses: "remote/a\\n"}', {("uses", "wrong_form")}),
    ("{uses: noop, depend: [a]}", {("depend", "unknown_field")}),
    ("{uses: noop, depends: a}", {("depends", "wrong_type")}),
    ("{uses: noop, depends: [1]}", {("depends[0]", "wrong_type")}),
    ("{uses: noop, depends: [b]}", {("depends[0]", "self_dependency")}),
    ("{uses: noop, depends: [a, c, a]}", {("depends[1]", "unknown_step"), ("depends[2]", "duplicate")}),
    ("{uses: noop, version: 1}", {("version", "not_here")}),
    ("{uses: noop, weight: 0}", {("weight", "out_of_range")}),
    ("{uses: noop, weight: -1}", {("weight", "out_of_range")}),
    ("{uses: noop, weight: heavy}", {("weight", "wrong_type")}),
    ("{uses: noop, timeout: -1}", {("timeout", "out_of_range")}),
    ("{uses: sleep, with: {seconds: 60}, timeout: 1s}", {("timeout", "not_here")}),
    ("{wait: {timer: 1m}, timeout: 1s}", {("timeout", "not_here")}),
    ("{wait: {until: '2027-03-01T08:00:00Z'}, timeout: 1s}", {("timeout", "not_here")}),
    ("{wait: {signal: go}, timeout: 1s}", set()),
    ("{uses: noop, continue_on_failure: yes}", {("continue_on_failure", "wrong_type")}),
    ("{uses: noop, retry: 3}", {("retry", "wrong_type")}),
    ("{uses: noop, retry: {max: -1, backoff: -1, factor: 0.5, jitter: 2, cap: 1000d, on: [A b, 3]}}",
     {("retry.max", "out_of_range"), ("retry.backoff", "out_of_range"), ("retry.factor", "out_of_range"),
      ("retry.jitter", "out_of_range"), ("retry.cap", "out_of_range"), ("retry.on[0]", "wrong_form"),
      ("retry.on[1]", "wrong_type")}),
    ("{uses: noop, retry: {max: 1.5, on: [a, a], tries: 3}}",
     {("retry.max", "wrong_type"), ("retry.on", "duplicate"), ("retry.tries", "unknown_field")}),
    ("{uses: noop, retry: {max: 101}}", {("retry.max", "out_of_range")}),
    ("{uses: noop, with: 3}", {("with", "wrong_type")}),
    ("{uses: noop, with: {x: '${{ a b }}', y: '${{ lenn(1) }}'}}", {("with.x", "syntax"), ("with.y", "unknown_function")}),
    ("{uses: noop, with: {x: '${{ inputs.n'}}", {("with.x", "syntax")}),
    ("{uses: noop, with: {x: ['${{ input.n }}'], 'a b': '${{ inputs.m }}'}}", {("with.x[0]", "unknown_root"), ('with["a b"]', "unknown_input")}),
    ("{uses: noop, with: {x: '${{ steps.a.output.body }}'}}", {("with.x", "not_before")}),
    ("{uses: noop, with: {x: '${{ steps.b.output.x }}'}}", {("with.x", "not_before")}),
    ("{uses: noop, with: {x: '${{ steps.c.output.x }}'}}", {("with.x", "unknown_step")}),
    ("{uses: noop, with: {x: '${{ steps }}'}}", {("with.x", "unnamed_step")}),
    ("{uses: noop, with: {x: '${{ steps[inputs.s].output }}'}}", {("with.x", "unnamed_step")}),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.outputs }}'}}", {("with.x", "unknown_member")}),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.failed.x }}'}}", {("with.x", "unknown_member")}),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.failed }}'}}", set()),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.output.boddy }}'}}", {("with.x", "unknown_member")}),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.output.status.code }}'}}", {("with.x", "unknown_member")}),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.output[0] }}'}}", {("with.x", "unknown_member")}),
    ("{uses: noop, depends: [a], with: {x: '${{ steps.a.status }} ${{ steps.a.error.code }} ${{ steps.a.output.body.any }}'}}", set()),
    ("{uses: noop, with: {x: '${{ inputs.n.x }}', y: '${{ inputs.l.x }}', z: '${{ inputs.o.x.y }}'}}", {("with.x", "unknown_member"), ("with.y", "unknown_member")}),
    ("{uses: noop, with: {x: '${{ item }} ${{ index }}', y: '${{ job.status }}'}}", {("with.x", "not_here"), ("with.y", "not_here")}),
    ("{uses: noop, when: 3}", {("when", "wrong_type")}),
    ("{uses: noop, when: ''}", {("when", "too_short"), ("when", "empty")}),
    ("{uses: noop, when: 'inputs.n >'}", {("when", "syntax")}),
    ("{uses: noop, when: '${{ inputs.n }} > 3'}", {("when", "syntax")}),
    ("{uses: noop, when: inputs.m > 3}", {("when", "unknown_input")}),
    ("{uses: noop, when: steps.a.status == 'x'}", {("when", "not_before")}),
    ("{uses: noop, when: false}", {("when", "unreachable")}),
    ("{uses: noop, when: '${{ 1 > 2 }}'}", {("when", "unreachable")}),
    ("{uses: noop, map: {}}", {("map.items", "missing")}),
    ("{uses: noop, map: {items: 3}}", {("map.items", "wrong_type")}),
    ("{uses: noop, map: {items: inputs.l}}", {("map.items", "wrong_type")}),
    ("{uses: noop, map: {items: 'x ${{ inputs.l }}'}}", {("map.items", "wrong_type")}),
    ("{uses: noop, map: {items: '${{ inputs.n }}'}}", {("map.items", "wrong_type")}),
    ("{uses: noop, map: {items: '${{ item }}'}}", {("map.items", "not_here")}),
    ("{uses: noop, map: {items: ['${{ item }}', '${{ inputs.m }}']}}", {("map.items[0]", "not_here"), ("map.items[1]", "unknown_input")}),
    ("{uses: noop, map: {items: [], parallel: 0}}", {("map.parallel", "out_of_range")}),
    ("{uses: noop, map: {items: [], parallel: 1001}}", {("map.parallel", "out_of_range")}),
    ("{uses: noop, map: {items: '${{ inputs.l }}'}, when: item == 3}", {("when", "not_here")}),
    ("{uses: noop, map: {items: '${{ inputs.l }}'}, with: {x: '${{ item.name }}', y: '${{ index.x }}'}}", {("with.x", "unknown_member"), ("with.y", "unknown_member")}),
    ("{uses: http.call, map: {items: '${{ inputs.l }}'}, with: {url: '${{ index }}'}}", {("with.url", "wrong_type")}),
    ("{uses: http.call}", {("with.url", "missing")}),
    ("{uses: http.call, with: {uri: x}}", {("with.url", "missing"), ("with.uri", "unknown_field")}),
    ("{uses: http.call, with: {url: 3, method: FETCH, headers: {a: 1}, expect: [99, x]}}",
     {("with.url", "wrong_type"), ("with.method", "not_one_of"), ("with.headers.a", "wrong_type"),
      ("with.expect[0]", "out_of_range"), ("with.expect[1]", "wrong_type")}),
    ("{uses: http.call, with: {url: '${{ inputs.n }}', method: '${{ inputs.s }}', headers: {a: '${{ inputs.l }}', b: 3}, expect: ['${{ inputs.n }}', 1]}}",
     {("with.url", "wrong_type"), ("with.headers.a", "wrong_type"), ("with.headers.b", "wrong_type"), ("with.expect[1]", "out_of_range")}),
    ("{uses: http.call, with: {url: 'https://${{ inputs.n }}', expect: '${{ inputs.l }}', headers: '${{ inputs.o }}', body: '${{ inputs.o }}'}}", set()),
    ("{uses: http.call, with: {url: x, expect: 'a ${{ inputs.n }}'}}", {("with.expect", "wrong_type")}),
    ("{uses: blob.copy, with: {blob: b, name: '../${{ inputs.s }}'}}", set()),
    ("{uses: blob.copy, with: {blob: b, name: ../etc}}", {("with.name", "wrong_form")}),
    ("{uses: sleep, with: {seconds: -1}}", {("with.seconds", "out_of_range")}),
    ("{uses: sleep, with: {seconds: '${{ inputs.s }}'}}", {("with.seconds", "wrong_type")}),
    ("{uses: sleep, with: {seconds: '${{ inputs.n }}'}}", set()),
    ("{uses: sleep, with: {seconds: '${{ inputs.n + inputs.s }}'}}", set()),
    ("{uses: remote/q, with: {x: '${{ inputs.m }}'}}", {("with.x", "unknown_input")}),
    ("{workflow: Deliver}", {("workflow", "wrong_form"), ("workflow", "unknown_workflow")}),
    ("{workflow: other}", {("workflow", "unknown_workflow")}),
    ("{workflow: deliver, version: 2, with: {to: x}}", {("workflow", "unknown_workflow")}),
    ("{workflow: deliver, version: 0, with: {to: x}}", {("version", "out_of_range"), ("workflow", "unknown_workflow")}),
    ("{workflow: deliver}", {("with.to", "missing")}),
    ("{workflow: deliver, with: {to: 3, toe: 1, speed: fast}}", {("with.to", "wrong_type"), ("with.toe", "unknown_input"), ("with.speed", "wrong_type")}),
    ("{workflow: deliver, with: {to: '${{ inputs.l }}', speed: '${{ inputs.m }}'}}", {("with.to", "wrong_type"), ("with.speed", "unknown_input")}),
    ("{workflow: deliver, with: {to: '${{ inputs.s }}', speed: '${{ inputs.n }}'}}", set()),
    ("{workflow: w}", {("workflow", "recursion")}),
    ("{wait: {}}", {("wait", "choose_one")}),
    ("{wait: 5m}", {("wait", "wrong_type")}),
    ("{wait: {timer: 1, signal: x}}", {("wait", "choose_one")}),
    ("{wait: {timer: 1}, with: {x: 1}}", {("with", "not_here")}),
    ("{wait: {timer: soon}}", {("wait.timer", "wrong_form")}),
    ("{wait: {timer: -1}}", {("wait.timer", "out_of_range")}),
    ("{wait: {timer: 400d}}", {("wait.timer", "out_of_range")}),
    ("{wait: {timer: []}}", {("wait.timer", "wrong_type")}),
    ("{wait: {timer: '${{ inputs.l }}'}}", {("wait.timer", "wrong_type")}),
    ("{wait: {timer: '${{ inputs.n }}'}}", set()),
    ("{wait: {timer: '${{ inputs.n }}s'}}", set()),
    ("{wait: {until: tomorrow}}", {("wait.until", "wrong_form")}),
    ("{wait: {until: '2027-02-30T00:00:00Z'}}", {("wait.until", "wrong_form")}),
    ("{wait: {until: '2027-02-03T00:00:00'}}", {("wait.until", "wrong_form")}),
    ("{wait: {until: '2027-02-03T00:00:00.123456789Z'}}", set()),
    ("{wait: {until: '${{ inputs.m }}'}}", {("wait.until", "unknown_input")}),
    ("{wait: {signal: a b}}", {("wait.signal", "wrong_form")}),
    ("{wait: {approval: ''}}", {("wait.approval", "too_short")}),
    ("{wait: {approval: '${{ inputs.m }}?'}}", {("wait.approval", "unknown_input")}),
    ("{uses: noop, compensate: {uses: nop, when: 'job.status == 1 and inputs.m'}}", {("compensate.uses", "unknown_handler"), ("compensate.when", "unknown_input")}),
    ("{uses: noop, compensate: {uses: noop, with: {x: '${{ steps.b.output }} ${{ job.error.code }} ${{ steps.a.output }}'}}}", {("compensate.with.x", "not_before")}),
    ("{uses: noop, compensate: {uses: noop, compensate: {uses: noop}}}", {("compensate.compensate", "unknown_field")}),
    ("{uses: noop, compensate: {uses: noop, with: {x: '${{ item }}'}}}", {("compensate.with.x", "not_here")}),
    ("{uses: noop, map: {items: []}, compensate: {uses: noop, with: {x: '${{ item }}'}}}", set()),
]  # fmt: skip


@pytest.mark.parametrize(("step", "expected"), STEP)
def test_of_a_step_it_is_told(step: str, expected: set[tuple[str, str]]) -> None:
    text = f"""
name: w
inputs:
  n: {{type: integer}}
  s: {{type: string}}
  l: {{type: array, items: {{type: string}}}}
  o: {{type: object}}
steps:
  a: {{uses: http.call, with: {{url: x}}}}
  b: {step}
"""
    places = {(f"steps.b{'.' if place and not place.startswith('[') else ''}{place}", code) for place, code in expected}
    assert told(text) == places


NAMES = [("A", False), ("1a", False), ("a" * 65, False), ("a.b", False), ("ä", False), ("", False), ("a\n", False),
         ("a", True), ("a_b", True), ("a-b", True), ("a" * 64, True), ("import", True), ("on", True)]  # fmt: skip


@pytest.mark.parametrize(("name", "right"), NAMES)
def test_a_steps_name_is_of_small_letters(name: str, right: bool) -> None:
    found = validate({"name": "w", "steps": {name: {"uses": "noop"}}}).problems
    assert [problem.code for problem in found] == ([] if right else ["wrong_name"])


INPUTS = [
    ("{type: strin}", {("type", "not_a_schema")}),
    ("{type: [string, strin], properties: {a: {type: 3}, b: 4}}", {("type", "not_a_schema"), ("properties.a.type", "not_a_schema"), ("properties.b", "not_a_schema")}),
    ("{minLength: -1}", {("minLength", "not_a_schema")}),
    ("{pattern: '('}", {("pattern", "not_a_schema")}),
    ("{pattern: '(?=a)'}", {("pattern", "not_a_schema")}),
    ("{pattern: '(((a{100}){100}){100}){100}'}", {("pattern", "not_a_schema")}),
    ("{$ref: 'http://localhost/x'}", {("$ref", "reference")}),
    ("{$ref: 'file:///etc/passwd'}", {("$ref", "reference")}),
    ("{$ref: '#'}", {("$ref", "reference")}),
    ("{$ref: '#/$defs/b'}", {("$ref", "reference")}),
    ("{items: {$ref: '#/$defs/b'}, $defs: {b: {$ref: '#/$defs/b'}}}", {("", "too_complex")}),
    ("{properties: {enum: {$ref: 'http://localhost/x'}}}", {("properties.enum.$ref", "reference")}),
    ("{$id: 'http://localhost/x'}", {("$id", "reference")}),
    ("{$dynamicRef: '#a', $anchor: a}", {("$dynamicRef", "reference"), ("$anchor", "reference")}),
    ("{$schema: 'http://json-schema.org/draft-07/schema#'}", {("$schema", "not_a_schema")}),
    ("{type: integer, default: x}", {("default", "wrong_type")}),
    ("{type: object, required: [a], default: {}}", {("default.a", "missing")}),
    ("{enum: [{$ref: 'http://localhost/x'}], default: {$ref: 'http://localhost/x'}}", set()),
    ("{$ref: '#/$defs/b', $defs: {b: {type: string}}, default: x}", set()),
    ("{$schema: 'https://json-schema.org/draft/2020-12/schema', type: [integer, 'null'], default: null}", set()),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), INPUTS)
def test_of_an_input_it_is_told(schema: str, expected: set[tuple[str, str]]) -> None:
    places = {(f"inputs.x{'.' if place else ''}{place}", code) for place, code in expected}
    assert told(f"{{name: w, inputs: {{x: {schema}}}, steps: {{a: {{uses: noop}}}}}}") == places


def test_everything_is_told_at_once() -> None:
    text = """
name: Nightly
inputs: {n: {type: integr}, a b: {}}
steps:
  a: {uses: http.cal, depends: [c], retry: {max: many}}
  b: {uses: http.call, depends: [a, z], with: {method: "${{ inputs.m }}"}}
  c: {uses: noop, depends: [b], wait: {}}
  d: {uses: noop, with: {x: "${{ steps.e.output }}"}}
  e: {uses: noop, when: false}
extra: 1
"""
    assert told(text) == {
        ("name", "wrong_form"),
        ("inputs.n.type", "not_a_schema"),
        ('inputs["a b"]', "wrong_name"),
        ("steps.a.uses", "unknown_handler"),
        ("steps.a.retry.max", "wrong_type"),
        ("steps.a.depends[0]", "cycle"),
        ("steps.b.depends[1]", "unknown_step"),
        ("steps.b.with.url", "missing"),
        ("steps.b.with.method", "unknown_input"),
        ("steps.c", "choose_one"),
        ("steps.c.wait", "choose_one"),
        ("steps.d.with.x", "not_before"),
        ("steps.e.when", "unreachable"),
        ("extra", "unknown_field"),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{name: a, stepss: {}, steps: {a: {uses: noop}}}", "stepss is not known here. Did you mean steps?"),
        ("{name: a, steps: {a: {uses: http.cal}}}", "There is no handler http.cal. Did you mean http.call?"),
        ("{name: a, steps: {a: {uses: noop}, b: {uses: noop, with: {x: '${{ steps.a.output }}'}}}}", "a might not have run before b: add a to steps.b.depends."),
        ("{name: a, steps: {a-b: {uses: noop}, b: {uses: noop, with: {x: '${{ steps.a-b.output }}'}}}}", 'There is no step a. A name with a hyphen is written in brackets: steps["a-b"].'),
        ("{name: a, steps: {a: {uses: noop, depends: [c]}, b: {uses: noop, depends: [a]}, c: {uses: noop, depends: [b]}}}", "These 3 steps wait for each other: a → c → b → a."),
        ("{name: a, steps: {a: {uses: http.call, with: {url: x, method: fetch}}}}", "This must be one of: GET, HEAD, POST, PUT, PATCH, DELETE."),
        ("{name: a, steps: {a: {}}}", "There must be exactly one of uses, workflow and wait, not none."),
        ("{name: a, inputs: {n: {type: integer}}, steps: {a: {uses: http.call, with: {url: '${{ inputs.n }}'}}}}", "It gives a whole number, but a text is wanted."),
    ],
)  # fmt: skip
def test_a_problem_says_what_to_do(text: str, sentence: str) -> None:
    assert sentence in [problem.detail for problem in problems_of(text)]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (float("nan"), "not_finite"),
        (float("inf"), "not_finite"),
        (10**30, "number_too_large"),
        ("\ud800", "half_character"),
        ("a\0", "nul"),
        ({1: 2}, "wrong_type"),
        ({"\ud800": 1}, "half_character"),
        (b"bytes", "wrong_type"),
        ({1, 2}, "wrong_type"),
        (object(), "wrong_type"),
    ],
)
def test_what_is_no_json_is_told_with_its_place(value: Any, code: str) -> None:
    found = validate({"name": "w", "steps": {"a": {"uses": "noop", "with": {"x": [value]}}}}).problems
    assert [(problem.place, problem.code) for problem in found] == [("steps.a.with.x[0]", code)]


def test_a_document_that_is_too_deep_is_told_so() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    found = validate({"name": "w", "steps": {"a": {"uses": "noop", "with": {"x": deep}}}}).problems
    assert [problem.code for problem in found] == ["too_deep"]


@pytest.mark.parametrize("name", VALID)
def test_the_examples_are_yaml_as_others_read_it(name: str) -> None:
    theirs = yaml.safe_load(re.sub(r"(?<=[ {])on:", "'on':", VALID[name]))
    assert theirs == read(VALID[name].encode(), "yaml")
