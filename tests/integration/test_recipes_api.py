"""Recipes before there is a file: their schema is published, and what is wrong with one is told with its place."""

from typing import Any

import jsonschema_rs
import pytest

from events.identity import Principal
from fixtures.processor import READER, WRITER, Processor

RECIPE = {"version": 1, "rules": [{"rule": "trim"}, {"rule": "integer", "columns": ["age"], "why": "Ages."}]}


async def test_the_schema_of_recipes_is_published_and_takes_what_is_right(processor: Processor) -> None:
    status, schema = await processor.get("/recipes/schema", principal=WRITER)
    assert status == 200
    assert jsonschema_rs.validator_for(schema).is_valid(RECIPE)
    assert not jsonschema_rs.validator_for(schema).is_valid({"version": 1, "rules": [{"rule": "trimm"}]})
    _, _, headers = await processor.get_with_headers("/recipes/schema", principal=WRITER)
    again, _ = await processor.get("/recipes/schema", principal=WRITER, if_none_match=headers["ETag"])
    assert again == 304


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        (RECIPE, {}),
        ({"version": 1, "rules": [{"rule": "trimm"}]}, {"body.rules[0].rule": "unknown_rule"}),
        (
            {"version": 2, "rules": [{"rule": "case", "columns": ["a"], "to": "up"}]},
            {"body.version": "out_of_range", "body.rules[0].to": "not_one_of"},
        ),
        (
            {"version": 1, "rules": [{"rule": "replace", "columns": ["a"], "pattern": "(", "by": ""}]},
            {"body.rules[0].pattern": "wrong_pattern"},
        ),
        ([], {"body": "wrong_type"}),
    ],
    ids=["nothing", "no such rule", "two fields", "no pattern", "no object"],
)
async def test_what_is_wrong_with_a_recipe_is_told_with_its_place(
    processor: Processor, document: Any, wrong: dict[str, str]
) -> None:
    status, verdict = await processor.post("/recipes/validate", document)
    assert (status, verdict["valid"]) == (200, not wrong)
    assert {error["field"]: error["code"] for error in verdict["errors"]} == wrong


async def test_a_recipe_may_be_yaml(processor: Processor) -> None:
    recipe = b"version: 1\nrules:\n  - {rule: trim}\n  - {rule: date, columns: [born], formats: ['%d.%m.%Y']}\n"
    status, verdict = await processor.send("POST", "/recipes/validate", recipe, content_type="application/yaml")
    assert (status, verdict) == (200, {"valid": True, "errors": []})


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_request"),
        (b"<x/>", "application/xml", 415, "unsupported_media_type"),
        (b'{"a":"' + b"x" * 2_000_000 + b'"}', "application/json", 413, "too_large"),
    ],
    ids=["half JSON", "XML", "2 MB"],
)
async def test_what_is_no_document_is_refused(
    processor: Processor, body: bytes, content_type: str, status: int, code: str
) -> None:
    answered, problem = await processor.send("POST", "/recipes/validate", body, content_type=content_type)
    assert (answered, problem["code"]) == (status, code)


async def test_recipes_need_the_scope_of_workflows(processor: Processor) -> None:
    reader = Principal("acme", "user:2", frozenset({"workflows:read"}))
    assert (await processor.post("/recipes/validate", RECIPE, principal=reader))[0] == 200
    assert (await processor.post("/recipes/validate", RECIPE, principal=READER))[0] == 403
    assert (await processor.get("/recipes/schema", principal=READER))[0] == 403
