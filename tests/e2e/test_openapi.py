"""The one document of the whole API: it shows all of it, and a fuzzer finds nothing that it does not say."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import aiohttp
import jsonschema_rs
import pytest
import pytest_asyncio

from events.ids import new_id
from fixtures.fuzz import fuzz
from fixtures.gateway import Answer, Gateway
from fixtures.millrace import Document, Run
from fixtures.tenants import JSON


@pytest_asyncio.fixture(scope="module")
async def client(millrace: Run) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(millrace.url, headers={"X-API-Key": millrace.admin_key}) as session:
        yield session


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


@pytest.mark.timeout(400)
async def test_a_fuzzer_finds_nothing(millrace: Run) -> None:
    code, found = await fuzz(millrace, "--seed=1", "--max-examples=4")
    assert code == 0, found
    tested = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", found)
    assert tested is not None
    assert len(set(tested.groups())) == 1, tested.group()


async def test_it_shows_every_service(document: Document) -> None:
    shown = dict(operations(document))
    for known in ("POST /api/v1/uploads", "GET /api/v1/jobs/{job_id}", "POST /api/v1/keys", "GET /health"):
        assert known in shown
    ids = [operation["operationId"] for operation in shown.values()]
    assert len(set(ids)) == len(ids)


async def test_it_tells_of_each_operation_what_can_go_wrong_and_shows_it(document: Document) -> None:
    for name, operation in operations(document):
        assert {"400", "422", "429", "431", "500", "503"} <= operation["responses"].keys(), name
        assert operation.get("security") is None or {"401", "403"} <= operation["responses"].keys(), name
        for status, response in operation["responses"].items():
            if status >= "400":
                examples = response["content"]["application/problem+json"]["examples"]
                assert all(example["value"]["status"] == int(status) for example in examples.values()), name
                assert examples, name
            assert {"X-Request-ID", "RateLimit", "RateLimit-Policy"} <= response["headers"].keys(), name


async def test_its_examples_are_of_the_schemas_beside_them(document: Document) -> None:
    checked = 0
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                shown = [example["value"] for example in content.get("examples", {}).values()]
                shown += [content["example"]] if "example" in content else []
                schema = content["schema"] | {"components": document["components"]}
                for example in shown:
                    checked += 1
                    problem = [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(example)]
                    assert problem == [], f"{name} {status}"
                if status < "300" and "format" not in content["schema"]:
                    assert shown, f"{name} {status} has no example"
    assert checked > 200


async def test_a_path_that_needs_a_scope_names_it(document: Document) -> None:
    shown = dict(operations(document))
    assert shown["GET /api/v1/jobs"]["security"] == [{"key": ["jobs:read"]}, {"token": ["jobs:read"]}]
    assert shown["GET /api/v1/admin/dead-letters"]["security"] == [{"key": ["ops"]}, {"token": ["ops"]}]
    assert "security" not in shown["GET /health"]
    assert shown["GET /api/v1/auth/me"]["security"] == [{"key": []}, {"token": []}]


async def test_who_has_the_document_need_not_get_it_again(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/v1/openapi.json") as first:
        etag = first.headers["ETag"]
    async with client.get("/api/v1/openapi.json", headers={"If-None-Match": etag}) as again:
        assert again.status == 304


async def test_its_page_needs_nothing_from_elsewhere(client: aiohttp.ClientSession) -> None:
    async with client.get("/docs") as answer:
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        page = await answer.text()
    assert "default-src 'none'" in policy
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) == 4
    for part in parts:
        assert part.startswith("/docs/")
        async with client.get(part) as answer:
            assert answer.status == 200, part
            assert await answer.read()


async def test_an_operator_sees_how_far_the_log_is_and_what_waits(client: aiohttp.ClientSession) -> None:
    async with client.post("/api/v1/uploads", data=b"a,b\n1,2\n") as promised:
        assert promised.status == 202
    while True:
        async with client.get("/health/detailed") as answer:
            processor = (await answer.json())["details"]["processor"]
        if processor["log"]["head"] > 0:
            break
    assert set(processor["relay_lag"]) == {"relay.events", "relay.feed"}
    assert set(processor["jobs"]) == {"waiting", "working", "oldest_waiting_seconds"}
    assert set(processor["queue_depth"]) == {"millrace.intake", "millrace.dead"}


WRONG = "\N{DEGREE SIGN} !"  # nothing that has a form may look like this


async def test_a_parameter_of_another_form_than_it_gives_is_refused_in_words(
    millrace: Run, door: Gateway, document: Document
) -> None:
    """A ticket for a wrong channel was refused with `String should match pattern '^[a-z]…`."""
    asked = 0
    for named, operation in operations(document):
        method, _, path = named.partition(" ")
        for parameter in operation.get("parameters", ()):
            forms = set(patterns(parameter.get("schema")))
            if not forms or method == "HEAD" or path.startswith("/api/v1/files"):  # tus says all by itself
                continue
            name, place = parameter["name"], parameter["in"]
            values = {known: WRONG if known == name else str(new_id()) for known in re.findall("{(.*?)}", path)}
            line = path.format(**{known: quote(value) for known, value in values.items()})
            query = f"?{name}={quote(WRONG)}" if place == "query" else ""
            fields = (JSON, f"{name}: {WRONG}") if place == "header" else (JSON,)
            answer = await door.ask(f"{method} {line}{query}", *fields, body=b"{}", key=millrace.admin_key)
            assert told(answer, name).startswith("This must be "), f"{method} {path} {name}"
            assert not any(form in answer.body.decode() for form in forms), f"{method} {path} {name}"
            asked += 1
    assert asked >= 10


async def test_a_field_of_another_form_than_it_gives_is_refused_in_words(millrace: Run, door: Gateway) -> None:
    for line, field, body in (
        ("POST /api/v1/auth/tickets", "channels[0]", {"channels": ["\n"]}),
        ("POST /api/v1/auth/login", "email", {"email": "ada", "password": "x" * 12}),
        ("POST /api/v1/keys", "name", {"name": "\x00", "scopes": []}),
        ("POST /api/v1/jobs", "workflow", {"workflow": "\n"}),
        ("POST /api/v1/schedules", "workflow", {"workflow": "\n", "input": {}, "cron": "@yearly"}),
    ):
        answer = await door.ask(line, JSON, body=json.dumps(body).encode(), key=millrace.admin_key)
        assert told(answer, field).startswith("This must be "), line


def patterns(schema: Any) -> Iterator[str]:
    for name, inner in schema.items() if isinstance(schema, dict) else enumerate(schema or ()):
        if name == "pattern":
            yield json.dumps(inner)[1:-1]  # as it would be in an answer
        elif isinstance(inner, dict | list):
            yield from patterns(inner)


def told(answer: Answer, field: str) -> str:
    """What is said of one field."""
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"]) == (422, "invalid_input"), problem
    (detail,) = [error["detail"] for error in problem["errors"] if error["field"].endswith(f".{field}")]
    return str(detail)
