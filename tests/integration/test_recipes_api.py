"""Recipes before there is a file: their schema is published, and what is wrong with one is told with its place."""

from typing import Any

import jsonschema_rs

from events.identity import Principal
from fixtures.processor import READER, WRITER, Processor

RECIPE = {"version": 1, "rules": [{"rule": "trim"}, {"rule": "integer", "columns": ["age"], "why": "Ages."}]}
VERDICTS: dict[str, tuple[Any, dict[str, str]]] = {
    "nothing is wrong": (RECIPE, {}),
    "no such rule": ({"version": 1, "rules": [{"rule": "trimm"}]}, {"body.rules[0].rule": "unknown_rule"}),
    "two fields": (
        {"version": 2, "rules": [{"rule": "case", "columns": ["a"], "to": "up"}]},
        {"body.version": "out_of_range", "body.rules[0].to": "not_one_of"},
    ),
    "no pattern": (
        {"version": 1, "rules": [{"rule": "replace", "columns": ["a"], "pattern": "(", "by": ""}]},
        {"body.rules[0].pattern": "wrong_pattern"},
    ),
    "no object": ([], {"body": "wrong_type"}),
}
REFUSED = {
    "half JSON": (b"{", "application/json", 400, "bad_request"),
    "XML": (b"<x/>", "application/xml", 415, "unsupported_media_type"),
    "2 MB": (b'{"a":"' + b"x" * 2_000_000 + b'"}', "application/json", 413, "too_large"),
}


async def test_the_schema_of_recipes_is_published_for_who_may_read_workflows(processor: Processor) -> None:
    status, schema = await processor.get("/recipes/schema", principal=WRITER)
    assert status == 200
    assert jsonschema_rs.validator_for(schema).is_valid(RECIPE)
    assert not jsonschema_rs.validator_for(schema).is_valid({"version": 1, "rules": [{"rule": "trimm"}]})
    _, _, headers = await processor.get_with_headers("/recipes/schema", principal=WRITER)
    again, _ = await processor.get("/recipes/schema", principal=WRITER, if_none_match=headers["ETag"])
    assert again == 304
    reader = Principal("acme", "user:2", frozenset({"workflows:read"}))
    assert (await processor.post("/recipes/validate", RECIPE, principal=reader))[0] == 200
    assert (await processor.post("/recipes/validate", RECIPE, principal=READER))[0] == 403
    assert (await processor.get("/recipes/schema", principal=READER))[0] == 403


async def test_what_is_wrong_with_a_recipe_is_told_with_its_place(processor: Processor) -> None:
    for name, (document, wrong) in VERDICTS.items():
        status, verdict = await processor.post("/recipes/validate", document)
        assert (status, verdict["valid"]) == (200, not wrong), name
        assert {error["field"]: error["code"] for error in verdict["errors"]} == wrong, name
    recipe = b"version: 1\nrules:\n  - {rule: trim}\n  - {rule: date, columns: [born], formats: ['%d.%m.%Y']}\n"
    status, verdict = await processor.send("POST", "/recipes/validate", recipe, content_type="application/yaml")
    assert (status, verdict) == (200, {"valid": True, "errors": []})


async def test_what_is_no_document_is_refused(processor: Processor) -> None:
    for name, (body, content_type, status, code) in REFUSED.items():
        answered, problem = await processor.send("POST", "/recipes/validate", body, content_type=content_type)
        assert (answered, problem["code"]) == (status, code), name
