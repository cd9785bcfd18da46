"""One workflow in its forms: what a document says in many ways is one definition, and the builder and the diagram agree."""
# ruff: noqa: E501  # a row of a table is one line

import json
import re
from typing import Any

import pytest

from fixtures.definitions import NIGHTLY, SMALL, workflows
from processor.language.builder import Action, Concurrency, Map, Retry, Term, Wait, Workflow, call, index, item, job
from processor.language.canonical import canonical, from_canonical
from processor.language.definition import Definition
from processor.language.diagram import mermaid
from processor.language.document import read
from processor.language.expressions import Expression
from processor.language.validation import validate


def definition_of(document: Any) -> Definition:
    validated = validate(document, workflows=workflows)
    assert validated.definition is not None, validated.problems
    return validated.definition


def step(**given: Any) -> bytes:
    """The canonical form of a workflow with it."""
    steps = {"a": {"uses": "noop"}, "b": {"uses": "noop"}, "c": {"uses": "noop", "depends": ["a", "b"], **given}}
    return canonical(definition_of({"name": "w", "inputs": {"n": {}}, "steps": steps}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"timeout": 90}, {"timeout": "1m30s"}),
        ({"timeout": 90.0}, {"timeout": "90s"}),
        ({"timeout": 93_784.5}, {"timeout": "1d2h3m4.5s"}),
        ({"when": "inputs.n > 3"}, {"when": "${{inputs.n > 3 }}"}),
        ({"when": True}, {}),
        ({"when": "${{ true }}"}, {}),
        ({"depends": ["b", "a"]}, {"depends": ["a", "b"]}),
        ({"retry": {"on": ["b", "a"], "backoff": "2s"}}, {"retry": {"backoff": 2, "on": ["a", "b"], "max": 3}}),
        ({"with": {"x": "${{inputs.n}}!", "y": 1}}, {"with": {"y": 1, "x": "${{   inputs.n }}!"}}),
        ({"with": {}}, {}),
        ({"weight": 1, "continue_on_failure": False}, {}),
        ({"map": {"items": "${{ [1] }}", "parallel": 16}}, {"map": {"items": "${{[1]}}"}}),
        ({"compensate": {"uses": "noop", "timeout": "1m"}}, {"compensate": {"timeout": 60, "uses": "noop"}}),
    ],
)
def test_what_means_the_same_is_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert step(**one) == step(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"retry": {}}, {}),
        ({"timeout": 90}, {"timeout": 91}),
        ({"with": {"x": "a  b"}}, {"with": {"x": "a b"}}),
        ({"with": {"x": "1"}}, {"with": {"x": 1}}),
        ({"depends": ["a"]}, {"depends": ["a", "b"]}),
        ({"compensate": {"uses": "noop"}}, {}),
    ],
)
def test_what_means_another_thing_is_another(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert step(**one) != step(**other)


def test_the_canonical_form_says_no_defaults_and_is_a_document_itself() -> None:
    definition = definition_of(read(NIGHTLY.encode(), "yaml"))
    body = canonical(definition)
    assert from_canonical(body) == definition
    assert definition_of(read(body, "json")) == definition
    assert (
        canonical(definition_of(read(SMALL.encode(), "yaml"))) == b'{"name":"small","steps":{"only":{"uses":"noop"}}}'
    )


@pytest.mark.parametrize("written", ["30s", "5m", "2h", "1d", "1h30m", "1d1s", "0.5s", 3, 1.5])
def test_a_wait_is_as_long_as_it_says(written: str | float) -> None:
    seconds = {"30s": 30, "5m": 300, "2h": 7_200, "1d": 86_400, "1h30m": 5_400, "1d1s": 86_401, "0.5s": 0.5}.get(
        str(written), written
    )
    wait = definition_of({"name": "w", "steps": {"a": {"wait": {"timer": written}}}}).steps["a"].wait
    assert wait is not None
    assert wait.timer == seconds


def build_nightly() -> Workflow:
    flow = Workflow(
        "nightly",
        title="Profile what has come in",
        description="Every night.\n",
        concurrency=Concurrency(limit=10, key=str(Term("inputs").customer), limit_per_key=2),
        timeout="2d",
    )
    customer = flow.input("customer", type="string", minLength=1)
    limit = flow.input("limit", type="integer", default=10)
    fetch = flow.step(
        "fetch",
        uses="http.call",
        with_={
            "url": f"https://files.example.org/{customer}?limit={limit}",
            "headers": {"accept": "application/json"},
        },
        retry=Retry(max=5, backoff=2, factor=3, jitter=0.5, on=("timeout", "upstream_unavailable")),
        timeout="1m30s",
    )
    each = flow.step(
        "each",
        uses="csv-profile",
        depends=[fetch],
        when=fetch.output.status == 200,
        map=Map(items=fetch.output.body, parallel=4),
        with_={"blob": item.blob, "options": {"number": index + 1}},
        compensate=Action(uses="noop", with_={"why": job.status, "done": "${{ len(steps.each.output) }}"}),
        weight=5,
    )
    sure = flow.step(
        "sure",
        depends=[each],
        wait=Wait(approval=f"Send {call('len', each.output)} profiles to {customer}?"),
        timeout="1d",
    )
    sent = flow.step(
        "send-on", depends=[sure], workflow="deliver", version=3, with_={"to": customer}, continue_on_failure=True
    )
    train = flow.step("train", depends=[each], uses="remote/gpu.large", with_={"anything": [1, 2.5, None, True]})
    flow.step("rest", wait=Wait(timer="5m"), depends=[train])
    flow.step("morning", wait=Wait(until="2027-03-01T08:00:00+01:00"), depends=[train])
    flow.step("told", wait=Wait(signal="delivered"), depends=[sent])
    flow.output({"rows": each.output[0].rows, "sent": sent.status == "COMPLETED"})
    flow.on_exit(Action(uses="emit", with_={"data": {"status": job.status, "why": call("default", job.error, None)}}))
    return flow


def test_the_builder_gives_what_others_write_as_yaml() -> None:
    built, written = build_nightly().document(), read(NIGHTLY.encode(), "yaml")
    assert built.keys() == written.keys()
    assert canonical(definition_of(built)) == canonical(definition_of(written))
    assert json.loads(json.dumps(built)) == built


A = Term("inputs").a


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (A.b["c d"][0], 'inputs.a.b["c d"][0]'),
        (A["it's \"\n\b\\ ä"], 'inputs.a["it\'s \\"\\n\\b\\\\ ä"]'),
        (A[index], "inputs.a[index]"),
        ((A == 1) & (A != "x") | ~(A < 2.5), '((inputs.a == 1) and (inputs.a != "x")) or (not (inputs.a < 2.5))'),
        ((A + 1) * 2 - A / 3, "((inputs.a + 1) * 2) - (inputs.a / 3)"),
        (A >= [1, None, True, A], "inputs.a >= [1, null, true, inputs.a]"),
        (call("default", A, {"x": A}), 'default(inputs.a, {"x": inputs.a})'),
        (call("len", A <= 1) > 2, "len(inputs.a <= 1) > 2"),
        ((A > 1).b, "(inputs.a > 1).b"),
    ],
)  # fmt: skip
def test_a_term_is_written_as_an_expression(term: Term, text: str) -> None:
    assert str(term) == f"${{{{ {text} }}}}"
    assert Expression.parse(text).text == text


def test_a_term_cannot_be_mistaken_for_its_value() -> None:
    with pytest.raises(TypeError, match="combine terms by"):
        bool(A > 3)
    with pytest.raises(TypeError, match="use `map`"):
        list(A)


def test_a_step_cannot_be_built_twice() -> None:
    flow = Workflow("w")
    flow.step("a", uses="noop")
    with pytest.raises(ValueError, match="There is a step a already"):
        flow.step("a", uses="noop")


def test_what_was_built_is_not_changed_by_what_is_built_on() -> None:
    flow = Workflow("w")
    flow.step("a", uses="noop")
    before = flow.document()
    flow.step("b", uses="noop")
    assert set(before["steps"]) == {"a"}


def test_the_diagram_shows_what_there_is() -> None:
    drawn = mermaid(definition_of(read(NIGHTLY.encode(), "yaml")))
    assert drawn.splitlines()[0] == "flowchart TD"
    for part in (
        'subgraph workflow["Profile what has come in"]',
        's0["fetch<br/>http.call"]',
        's1[["each<br/>csv-profile<br/>for each of #36;',
        "s0 --> s1",
        's1 -. undone by .-> s1u["noop"]',
        's2{{"sure<br/>waits for approval Send',
        's3(["send-on<br/>workflow deliver"])',
        's4[/"train<br/>remote/gpu.large"/]',
        'on_exit["on exit<br/>emit"]',
        "s7 -.-> on_exit",
    ):
        assert part in drawn
    assert "s0 -.-> on_exit" not in drawn, "others come after it"


HOSTILE = ['"]; click s0 "javascript:alert(1)"', "a\n  end\n  x --> y", "%%{init: {'securityLevel': 'loose'}}%%", "<img src=x onerror=alert(1)>", "`code` **bold**", "#quot;#35;", "1. one", "- one", "end", "\u2028\u202e]"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_can_write_the_diagram_but_us(text: str) -> None:
    steps = {
        text: {"uses": text, "when": text, "depends": [text, "b"]},
        "b": {"wait": {"approval": text}, "compensate": {"workflow": text}},
    }
    drawn = mermaid({"name": text, "title": text, "steps": steps, "on_exit": {"uses": text}})
    plain = mermaid(
        json.loads(
            json.dumps(
                {
                    "name": "t",
                    "title": "t",
                    "steps": {
                        "t": {"uses": "t", "when": "t", "depends": ["t", "b"]},
                        "b": {"wait": {"approval": "t"}, "compensate": {"workflow": "t"}},
                    },
                    "on_exit": {"uses": "t"},
                }
            )
        )
    )
    assert [re.sub(r'"[^"]*"', '""', line) for line in drawn.splitlines()] == [
        re.sub(r'"[^"]*"', '""', line) for line in plain.splitlines()
    ]
    for label in re.findall(r'"([^"]*)"', drawn):
        assert re.fullmatch(r"(?:[\w /.-]|<br/>|#\d+;)*", label), label


def test_what_is_wrong_is_drawn_as_far_as_it_goes() -> None:
    drawn = mermaid(
        {"steps": {"a": {"uses": "noop", "depends": ["b", "z", 3]}, "b": {"depends": ["a"], "wait": 3}, "c": None}}
    )
    assert "s0 --> s1" in drawn
    assert "s1 --> s0" in drawn
    assert 'm0["z<br/>is missing"]:::missing' in drawn
