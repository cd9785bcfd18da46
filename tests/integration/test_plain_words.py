"""What is wrong with a request is told in words: never as the regular expression that it did not match."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from events.ids import new_id
from fixtures.gateway import Answer, Gateway
from fixtures.millrace import Document, Run, operations
from fixtures.tenants import JSON

WRONG = "\N{DEGREE SIGN} !"  # nothing that has a form may look like this


async def test_a_parameter_of_the_wrong_form_is_told_so_in_words(
    millrace: Run, door: Gateway, document: Document
) -> None:
    """A ticket for a wrong channel was refused with `String should match pattern '^[a-z]…`."""
    asked = 0
    for method, path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            forms = set(patterns(parameter.get("schema")))
            if not forms or path.startswith("/api/v1/files"):  # tus says all by itself
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


async def test_a_field_of_the_wrong_form_is_told_so_in_words(millrace: Run, door: Gateway) -> None:
    for line, field, body in (
        ("POST /api/v1/auth/tickets", "channels.0", {"channels": ["\n"]}),
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
