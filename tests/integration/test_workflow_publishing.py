"""Workflows are published in versions, and every version stays as it is."""

import asyncio
from typing import Any

import msgspec
import pytest

from events.identity import Principal
from fixtures.definitions import NIGHTLY
from fixtures.processor import READER, STRANGER, WRITER, OpenProcessor, Processor

_SMALL: dict[str, Any] = {"name": "small", "steps": {"only": {"uses": "noop"}}}
_NEXT: dict[str, Any] = {"name": "small", "title": "Another", "steps": {"only": {"uses": "noop"}}}


def listed(view: dict[str, Any]) -> dict[str, Any]:
    """A page of documents would be megabytes."""
    return {name: value for name, value in view.items() if name != "document"}


async def test_a_workflow_is_published_read_and_changed_and_each_version_stays(processor: Processor) -> None:
    status, first = await processor.post("/workflows", _SMALL)
    assert (status, first["id"], first["version"], first["published_by"]) == (201, "small", 1, WRITER.subject)
    status, second = await processor.put("/workflows/small", _NEXT)
    assert (status, second["version"], second["document"]["title"]) == (201, 2, "Another")

    assert (await processor.get("/workflows/small", principal=WRITER))[1] == second
    for said in (first, second):
        path = f"/workflows/small/versions/{said['version']}"
        assert await processor.get(path, principal=WRITER) == (200, said)
    assert (await processor.get("/workflows/small/versions/3", principal=WRITER))[0] == 404
    assert (await processor.get("/workflows/small/versions", principal=WRITER))[1]["items"] == [
        listed(second),
        listed(first),
    ]
    assert (await processor.get("/workflows", principal=WRITER))[1] == {"items": [listed(second)], "next_cursor": None}


async def test_the_same_document_makes_no_new_version_however_it_is_written(processor: Processor) -> None:
    _, first = await processor.post("/workflows", _SMALL)
    assert await processor.put("/workflows/small", {**_SMALL, "steps": {"only": {"with": {}, "uses": "noop"}}}) == (
        200,
        first,
    )
    yaml = b"steps:\n  only:\n    uses: noop\nname: small\n"
    assert await processor.send("PUT", "/workflows/small", yaml, content_type="application/yaml") == (200, first)
    _, second = await processor.put("/workflows/small", _NEXT)
    _, third = await processor.put("/workflows/small", _SMALL)
    assert (second["version"], third["version"]) == (2, 3), "what was once is not what is"


async def test_a_workflow_is_posted_once(processor: Processor) -> None:
    assert (await processor.post("/workflows", _SMALL))[0] == 201
    status, problem = await processor.post("/workflows", _NEXT)
    assert (status, problem["code"]) == (409, "conflict")
    status, problem = await processor.put("/workflows/csv-profile", {**_SMALL, "name": "csv-profile"})
    assert (status, "built-in" in problem["detail"]) == (409, True)
    status, problem = await processor.put("/workflows/large", _SMALL)
    assert (status, problem["errors"][0]["field"]) == (422, "body.name")


async def test_what_was_retired_can_not_be_started_and_comes_back_with_a_put(processor: Processor) -> None:
    await processor.post("/workflows", _SMALL)
    job_id = await processor.start("small")
    await processor.finished(job_id)

    assert (await processor.delete("/workflows/small"))[0] == 204
    assert (await processor.delete("/workflows/small"))[0] == 204, "it is what was wanted"
    status, problem = await processor.post("/jobs", {"workflow": "small"})
    assert (status, "retired" in problem["detail"]) == (409, True)
    _, view = await processor.get("/workflows/small", principal=WRITER)
    assert view["retired_at"] is not None
    assert (await processor.job(job_id))["status"] == "COMPLETED"

    status, back = await processor.put("/workflows/small", _SMALL)
    assert (status, back["version"], back["retired_at"]) == (201, 2, None)
    assert (await processor.finished(await processor.start("small")))["workflow_version"] == 2
    status, old = await processor.post("/jobs", {"workflow": "small", "version": 1})
    assert (status, old["workflow_version"]) == (202, 1)
    assert (await processor.delete("/workflows/nothing"))[0] == 404


async def test_yaml_and_json_say_the_same(processor: Processor) -> None:
    deliver = {"name": "deliver", "inputs": {"to": {"type": "string"}}, "steps": {"a": {"uses": "noop"}}}
    await processor.publish(deliver)
    nightly = NIGHTLY.replace("version: 3", "version: 1")
    status, told = await processor.send("POST", "/workflows", nightly.encode(), content_type="application/yaml")
    assert status == 201, told
    status, verdict = await processor.post("/workflows/validate", told["document"])
    assert (status, verdict["valid"]) == (200, True)
    assert (await processor.put("/workflows/nightly", told["document"]))[0] == 200, "the canonical form says the same"


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ({"name": "x", "steps": {}}, {"body.steps": "too_short"}),
        (
            {"name": "x", "steps": {"a": {"uses": "noop", "depends": ["b"]}}},
            {"body.steps.a.depends[0]": "unknown_step"},
        ),
        ({"name": "X", "steps": {"a": {"uses": "noop"}}}, {"body.name": "wrong_form"}),
        ({"name": "x", "steps": {"a": {"uses": "nop"}}}, {"body.steps.a.uses": "unknown_handler"}),
        ({"name": "x", "steps": {"a": {"workflow": "y"}}}, {"body.steps.a.workflow": "unknown_workflow"}),
        (
            {"name": "x", "steps": {"a": {"uses": "noop", "with": {"b": "${{ inputs.c }}"}}}},
            {"body.steps.a.with.b": "unknown_input"},
        ),
        (
            {"name": "x", "steps": {"a": {"uses": "noop", "wait": {"timer": "1s"}}, "b": {"wait": {}}}},
            {"body.steps.a": "choose_one", "body.steps.b.wait": "choose_one"},
        ),
        ([], {"body": "wrong_type"}),
    ],
    ids=["no steps", "no such step", "a name", "a handler", "a workflow", "an input", "two things", "no object"],
)
async def test_what_is_wrong_is_told_with_its_place(processor: Processor, document: Any, wrong: dict[str, str]) -> None:
    for method, path in (("POST", "/workflows"), ("PUT", "/workflows/x")):
        status, problem = await processor.send(method, path, msgspec.json.encode(document))
        assert (status, problem["code"], problem["title"]) == (422, "invalid_input", "Invalid input")
        assert {error["field"]: error["code"] for error in problem["errors"]}.items() >= wrong.items(), problem
    status, verdict = await processor.post("/workflows/validate", document)
    assert (status, verdict["valid"]) == (200, False)
    told = {error["field"]: error["code"] for error in verdict["errors"]}
    assert told.items() >= wrong.items()
    assert verdict["mermaid"].startswith("flowchart")
    assert (await processor.get("/workflows", principal=WRITER))[1]["items"] == []


async def test_a_document_is_judged_and_drawn_without_being_published(processor: Processor) -> None:
    document = {
        "name": "x",
        "steps": {"first": {"uses": "noop"}, "second": {"wait": {"timer": 1}, "depends": ["first"]}},
    }
    status, verdict = await processor.post("/workflows/validate", document, principal=WRITER)
    assert (status, verdict["valid"], verdict["errors"]) == (200, True, [])
    assert "first" in verdict["mermaid"]
    assert "-->" in verdict["mermaid"]
    assert (await processor.get("/workflows/x", principal=WRITER))[0] == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_request"),
        (b"a: [", "application/yaml", 400, "bad_request"),
        (b'{"name":"a","name":"b"}', "application/json", 400, "bad_request"),
        (b"a: &x 1\nb: *x\n", "application/yaml", 400, "bad_request"),
        (b"\xff", "application/json", 400, "bad_request"),
        (b"<x/>", "application/xml", 415, "unsupported_media_type"),
        (b'{"name":"' + b"x" * 10_000_000 + b'"}', "application/json", 413, "too_large"),
    ],
    ids=["half JSON", "half YAML", "a name twice", "an anchor", "no text", "XML", "10 MB"],
)
async def test_what_is_no_document_is_refused(
    processor: Processor, body: bytes, content_type: str, status: int, code: str
) -> None:
    for method, path in (("POST", "/workflows"), ("PUT", "/workflows/x"), ("POST", "/workflows/validate")):
        answered, problem = await processor.send(method, path, body, content_type=content_type)
        assert (answered, problem["code"]) == (status, code)
        assert len(problem["detail"]) < 500


async def test_another_tenant_sees_nothing_of_it_and_may_have_the_same_name(processor: Processor) -> None:
    await processor.post("/workflows", _SMALL)
    for path in ("/workflows/small", "/workflows/small/versions", "/workflows/small/versions/1"):
        assert (await processor.get(path, principal=STRANGER))[0] == 404
    assert (await processor.get("/workflows", principal=STRANGER))[1]["items"] == []
    assert (await processor.delete("/workflows/small", principal=STRANGER))[0] == 404
    assert (await processor.post("/jobs", {"workflow": "small"}, principal=STRANGER))[0] == 404
    used = {"name": "uses", "steps": {"a": {"workflow": "small"}}}
    status, problem = await processor.put("/workflows/uses", used, principal=STRANGER)
    assert (status, problem["errors"][0]["code"]) == (422, "unknown_workflow")

    status, theirs = await processor.put("/workflows/small", _NEXT, principal=STRANGER)
    assert (status, theirs["version"]) == (201, 1)
    assert (await processor.get("/workflows/small", principal=WRITER))[1]["document"] == _SMALL


async def test_each_request_needs_its_scope(processor: Processor) -> None:
    reader = Principal("acme", "user:2", frozenset({"workflows:read"}))
    assert (await processor.put("/workflows/small", _SMALL, principal=reader))[0] == 403
    assert (await processor.delete("/workflows/small", principal=reader))[0] == 403
    assert (await processor.post("/workflows/validate", _SMALL, principal=reader))[0] == 200
    assert (await processor.get("/workflows", principal=READER))[0] == 403
    assert (await processor.get("/workflows/schema.json", principal=reader))[0] == 200


async def test_of_versions_that_are_published_at_once_one_wins(open_processor: OpenProcessor) -> None:
    """Also on two processors; the others are told, and none is lost or there twice."""
    async with open_processor() as one, open_processor(one.broker) as other:
        await one.post("/workflows", _SMALL)
        wishes = [
            part.put("/workflows/small", {**_SMALL, "title": f"Number {number}"})
            for number in range(6)
            for part in (one, other)
        ]
        answers = await asyncio.gather(*wishes)
        published = [view for status, view in answers if status == 201]
        refused = [problem for status, problem in answers if status == 409]
        unchanged = [view for status, view in answers if status == 200]
        assert len(published) + len(refused) + len(unchanged) == 12
        assert published
        assert {problem["code"] for problem in refused} <= {"conflict"}
        versions = (await one.get("/workflows/small/versions?limit=100", principal=WRITER))[1]["items"]
        assert [view["version"] for view in versions] == list(range(len(versions), 0, -1))
        assert {view["version"] for view in published} == {view["version"] for view in versions} - {1}


async def test_a_job_stays_with_the_version_that_it_was_started_with(open_processor: OpenProcessor) -> None:
    async with open_processor(claim_poll_seconds=0.1) as processor:
        await processor.publish({"name": "w", "steps": {"a": {"wait": {"signal": "go"}}}, "output": {"was": "first"}})
        job_id = await processor.start("w")
        await processor.watch.became(job_id, "a", "WAITING")
        await processor.publish({"name": "w", "steps": {"b": {"uses": "noop"}}, "output": {"was": "second"}})
        await processor.delete("/workflows/w")
        await processor.say(job_id, "signals/go")
        job = await processor.finished(job_id)
        assert (job["workflow_version"], job["result"]) == (1, {"was": "first"})


async def test_workflows_and_versions_are_listed_page_by_page(processor: Processor) -> None:
    for name in ("c", "a", "b"):
        for title in ("one", "two", "three"):
            await processor.publish({"name": name, "title": title, "steps": {"s": {"uses": "noop"}}})

    async def walk(path: str) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            status, page = await processor.get(f"{path}?limit=2{cursor}", principal=WRITER)
            assert status == 200, page
            found += page["items"]
            cursor = None if page["next_cursor"] is None else f"&cursor={page['next_cursor']}"
        return found

    assert [(view["id"], view["version"]) for view in await walk("/workflows")] == [("a", 3), ("b", 3), ("c", 3)]
    assert [view["version"] for view in await walk("/workflows/b/versions")] == [3, 2, 1]
