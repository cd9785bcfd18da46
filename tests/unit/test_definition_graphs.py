"""Graphs of every form: large ones, right ones, and whatever becomes of a right one that is changed somewhere."""
# ruff: noqa: E501  # a row of a table is one line

import copy
import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.definitions import VALID, workflows
from processor.language import builder
from processor.language.canonical import canonical, from_canonical
from processor.language.definition import MOST_STEPS, Definition
from processor.language.diagram import mermaid
from processor.language.document import read
from processor.language.graph import Graph
from processor.language.json_schemas import compiled
from processor.language.schema import published
from processor.language.validation import MOST_PROBLEMS, validate

PUBLISHED = compiled(published())


def definition_of(document: Any) -> Definition:
    validated = validate(document, workflows=workflows)
    assert validated.definition is not None, validated.problems[:3]
    return validated.definition


def chain(length: int) -> dict[str, Any]:
    steps = {
        f"s{n}": {
            "uses": "noop",
            "depends": [f"s{n - 1}"] if n else [],
            "with": {"first": "${{ steps.s0.output.x }}"} if n else {},
        }
        for n in range(length)
    }
    return {"name": "chain", "steps": steps}


def diamond(width: int) -> dict[str, Any]:
    middle = {
        f"m{n}": {"uses": "noop", "depends": ["begin"], "with": {"x": "${{ steps.begin.output }}"}}
        for n in range(width)
    }
    together = {name: f"${{{{ steps.{name}.output }}}}" for name in middle}
    return {
        "name": "diamond",
        "steps": {"begin": {"uses": "noop"}, **middle, "end": {"uses": "noop", "depends": [*middle], "with": together}},
    }


def layers(of: int, width: int) -> dict[str, Any]:
    steps = {
        f"s{layer}_{n}": {"uses": "noop", "depends": [f"s{layer - 1}_{m}" for m in range(width)] if layer else []}
        for layer in range(of)
        for n in range(width)
    }
    return {"name": "layers", "steps": steps}


@pytest.mark.parametrize(
    "document",
    [chain(1_000), diamond(500), diamond(998), layers(20, 50), {"name": "wide", "steps": {f"s{n}": {"uses": "noop"} for n in range(1_000)}}],
    ids=["chain", "diamond of 500", "diamond of 998", "layers", "wide"],
)  # fmt: skip
def test_a_thousand_steps_are_read_checked_and_drawn_soon(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    begun = time.process_time()
    definition = definition_of(read(body, "json"))
    assert from_canonical(canonical(definition)) == definition
    assert mermaid(definition)
    assert time.process_time() - begun < 2


def test_as_many_steps_as_there_may_be_are_checked_in_seconds() -> None:
    begun = time.process_time()
    definition_of(chain(MOST_STEPS))
    assert time.process_time() - begun < 5
    found = validate(chain(MOST_STEPS + 1)).problems
    assert [(problem.place, problem.code) for problem in found] == [("steps", "too_long")]


def test_a_cycle_of_a_thousand_is_one_problem() -> None:
    document = chain(1_000)
    document["steps"]["s0"]["depends"] = ["s999"]
    found = validate(document).problems
    assert [(problem.place, problem.code) for problem in found] == [("steps.s0.depends[0]", "cycle")]
    assert "These 1000 steps wait for each other: s0 → s999 → " in found[0].detail


def test_each_cycle_is_told_once() -> None:
    steps = {"a": ["b"], "b": ["a"], "c": ["d", "b"], "d": ["e"], "e": ["c"], "f": ["e"], "g": ["g"]}
    found = validate(
        {"name": "w", "steps": {name: {"uses": "noop", "depends": before} for name, before in steps.items()}}
    ).problems
    assert {(problem.code, problem.detail) for problem in found} == {
        ("cycle", "These 2 steps wait for each other: a → b → a."),
        ("cycle", "These 3 steps wait for each other: c → d → e → c."),
        ("self_dependency", "A step cannot come before itself."),
        ("unreachable", "f can never run: what comes before it waits for itself."),
    }


def test_cycles_that_share_a_step_are_told_both() -> None:
    graph = Graph({"a": ["b", "c"], "b": ["a"], "c": ["a"]})
    assert {frozenset(cycle) for cycle in graph.cycles()} == {frozenset("ab"), frozenset("ac")}


@pytest.mark.parametrize(
    "steps",
    [
        {f"step_{n:04}": {"uses": "noop", "depends": [f"stop_{n:04}"]} for n in range(MOST_STEPS)},
        {"a": {"uses": "noop", "depends": ["a"] * 100_000}},
        {"a": {"uses": "noop", "with": {f"k{n}": "${{ inputs.x }}" for n in range(30_000)}}},
        {"a": {"uses": "noop", "with": {"k": ["${{ " + "(" * 1_900 + " }}"] * 500}}},
        {"a": {"uses": "noop", "with": {"k": ["${{ " + "-" * 1_900 + "1 }}"] * 500}}},
        {"a": {"uses": "http.call", "with": {"url": "x", "expect": ["x"] * 100_000}}},
        {f"s{n}": {"uses": "noop", "depends": [f"s{m}" for m in range(300)]} for n in range(300)},
        {"a": {"uses": "noop", "map": {"items": [0] * 100_001}}},
        {f"S{n}": {} for n in range(20_000)},
        {f"s{n}": 3 for n in range(70_000)},
        {f"s{n}": {"retry": 0, "wait": 0, "with": 0, "map": 0, "compensate": {"retry": 0}} for n in range(5_000)},
        {"a": {"uses": "noop", "depends": [0] * 140_000}},
        {"a": {"uses": "noop", "retry": {"on": ["A"] * 140_000}}},
        {"a": {"uses": "http.call", "with": {"url": "x", "headers": {f"h{n}": 1 for n in range(70_000)}}}},
    ],
    ids=[
        "unknown",
        "itself",
        "inputs",
        "brackets",
        "minuses",
        "expect",
        "all on all",
        "items",
        "names",
        "numbers",
        "empty",
        "depends",
        "codes",
        "headers",
    ],
)
def test_a_document_full_of_problems_is_told_soon_and_so_many(steps: dict[str, Any]) -> None:
    begun = time.process_time()
    validated = validate({"name": "w", "steps": steps})
    assert time.process_time() - begun < 8
    assert validated.definition is None
    assert 0 < len(validated.problems) <= MOST_PROBLEMS


def test_what_is_too_much_is_told_so() -> None:
    steps = {
        "a": {"uses": "noop", "with": {"x": [0] * 10_000}},
        "b": {"uses": "noop", "map": {"items": [0] * 100_001}},
        "c": {"uses": "noop", "map": {"items": [0] * 100_000}, "with": {"x": [0] * 9_998}},
        "d": {"uses": "noop", "retry": {"on": [f"code_{n}" for n in range(101)]}},
    }
    found = {(problem.place, problem.code) for problem in validate({"name": "w", "steps": steps}).problems}
    assert {("steps.a.with", "too_large"), ("steps.b.map.items", "too_long"), ("steps.d.retry.on", "too_long")} == found


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,5}", fullmatch=True)
LITERALS = st.none() | st.booleans() | st.integers(-99, 99) | st.text(alphabet="ab äß\n'\"\\", max_size=6)


@st.composite
def right_ones(draw: st.DrawFn) -> builder.Workflow:
    """Random graphs, by the builder."""
    flow = builder.Workflow(
        draw(st.from_regex(r"[a-z][a-z0-9-]{0,5}", fullmatch=True)),
        title=draw(st.none() | st.text('ab<>"', max_size=5)),
    )
    inputs = [flow.input(f"i{n}", type="integer", default=n) for n in range(draw(st.integers(0, 2)))]
    steps: list[builder.Step] = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=7, unique=True)):
        depends = draw(st.lists(st.sampled_from(steps), unique_by=lambda step: step.name, max_size=3)) if steps else []
        terms = [*inputs, *(step.output for step in depends), *(step.status for step in depends)]
        values: st.SearchStrategy[object] = LITERALS
        if terms:  # which cannot be compared, so that Hypothesis does not get them
            values |= st.integers(0, len(terms) - 1).map(terms.__getitem__)
        steps.append(
            flow.step(
                name,
                uses=draw(st.sampled_from(["noop", "remote/some.queue"])),
                depends=depends,
                with_=draw(st.dictionaries(st.text("ab c", max_size=3), st.lists(values, max_size=2), max_size=2)),
                when=draw(
                    st.none()
                    | st.sampled_from([True, "1 < 2", builder.call("len", depends[0].status) > 3 if depends else True])
                ),
                map=builder.Map(items=[1, *terms[:1]], parallel=draw(st.integers(1, 20)))
                if draw(st.booleans())
                else None,
                retry=draw(
                    st.none() | st.builds(builder.Retry, max=st.integers(0, 9), on=st.sampled_from([(), ("b", "a")]))
                ),
                timeout=draw(st.none() | st.integers(1, 1_000) | st.sampled_from(["5s", "1h30m"])),
                continue_on_failure=draw(st.booleans()),
                compensate=draw(st.none() | st.just(builder.Action(uses="noop", with_={"why": builder.job.status}))),
                weight=draw(st.none() | st.floats(0.1, 10)),
            )
        )
    if draw(st.booleans()):
        flow.output({"all": [step.output for step in steps]})
    return flow


@given(right_ones())
@settings(deadline=None)
def test_a_right_one_stays_the_same_however_it_is_written(flow: builder.Workflow) -> None:
    document = flow.document()
    definition = definition_of(document)
    same = canonical(definition)
    assert from_canonical(same) == definition
    assert canonical(definition_of(json.loads(same))) == same, "the canonical form is a document, and its own"
    assert canonical(definition_of(read(json.dumps(document).encode(), "json"))) == same
    assert canonical(definition_of(read(yaml.safe_dump(document, sort_keys=True).encode(), "yaml"))) == same
    assert mermaid(document).count("\n") >= len(document["steps"])
    assert PUBLISHED.is_valid(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["${{ inputs.x }}", "${{ steps", "5m", "noop", "http.call", "nightly", "fetch", "${{ item }}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@given(st.data(), st.sampled_from(sorted(VALID)))
@settings(max_examples=120, deadline=None)
def test_a_change_somewhere_gives_problems_or_another_right_one_and_never_an_error(
    data: st.DataObject, name: str
) -> None:
    document = copy.deepcopy(read(VALID[name].encode(), "yaml"))
    for _ in range(data.draw(st.integers(1, 3))):
        owner, key = data.draw(st.sampled_from(_members(document)))
        how = data.draw(st.sampled_from(["replace", "remove", "rename", "move"]))
        if how == "replace":
            owner[key] = data.draw(JSON)
        elif how == "rename" and isinstance(owner, dict):
            owner[data.draw(st.text(max_size=5) | st.sampled_from(["wait", "uses", "a-b", "depends"]))] = owner.pop(key)
        elif how == "move":
            other, place = data.draw(st.sampled_from(_members(document)))
            other[place] = copy.deepcopy(owner[key])
        else:
            del owner[key]
        if not _members(document):
            break
    validated = validate(document, workflows=workflows)
    assert (validated.definition is None) == bool(validated.problems)
    assert mermaid(document)
    if validated.definition is not None:
        assert from_canonical(canonical(validated.definition)) == validated.definition
        assert PUBLISHED.is_valid(document), "what the schema refuses is refused"


@given(JSON)
def test_whatever_is_no_workflow_gives_problems(document: Any) -> None:
    assert validate(document).problems
    assert mermaid(document)


def _members(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else []
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found
