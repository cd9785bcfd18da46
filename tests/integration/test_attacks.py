"""Attacks on the whole of it. The other rows of the table are where their subject is:

- forged tokens (alg none, HS/RS confusion, stripped signature, embedded jwk, crit, kid, aud, iss, exp):
  test_gateway_tokens, and of other issuers test_gateway_issuers
- reused refresh tokens: test_gateway_users
- expired, used and foreign tickets, credentials in a query: test_gateway_tickets
- foreign origins: test_gateway_browsers
- smuggling, drips, endless heads, path tricks: test_gateway_hostile
- hostile bodies of uploads: test_ingest_refusals
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio

from fixtures.fuzz import UNLIMITED
from fixtures.gateway import PATIENCE
from fixtures.millrace import Run, running

PROBLEM = "application/problem+json"
NOBODYS = str(uuid4())
# Ids that nobody has, for each parameter of a path. A route with another one fails here until somebody thinks of it.
UNKNOWN = {
    "upload_id": str(uuid4()),
    "job_id": NOBODYS,
    "stream": f"job:{NOBODYS}",
    "key_id": "0123456789ab",
    "socket": str(uuid4()),
}
UNREADABLE = ((400, "bad_request"), (413, "too_large"))

Operation = tuple[str, str, dict[str, Any]]  # method, path, what the document says of it


@dataclass
class Person:
    """Somebody with a tenant of their own."""

    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.request(method, path, **options) as answer:
            body = await answer.read()
            if answer.status >= 400:
                assert answer.content_type == PROBLEM, f"{method} {path}: {answer.status} {body!r:.200}"
            is_json = body and answer.content_type.endswith("json")
            return answer.status, json.loads(body) if is_json else {}


@pytest_asyncio.fixture(scope="module")
async def millrace(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    async with running(tmp_path_factory.mktemp("millrace") / "data", UNLIMITED) as started:
        yield started


@pytest_asyncio.fixture(scope="module")
async def operations(millrace: Run) -> list[Operation]:
    async with (
        aiohttp.ClientSession(millrace.url) as session,
        session.get("/api/v1/openapi.json") as answer,
    ):
        paths = (await answer.json())["paths"]
    return [(method, path, said) for path, methods in paths.items() for method, said in methods.items()]


async def person(millrace: Run, email: str) -> Person:
    wish = {"email": email, "password": "correct horse battery", "display_name": "x"}
    async with (
        aiohttp.ClientSession(millrace.url) as session,
        session.post("/api/v1/auth/register", json=wish) as answer,
    ):
        assert answer.status == 201
        token = (await answer.json())["access_token"]
    return Person(aiohttp.ClientSession(millrace.url, headers={"Authorization": f"Bearer {token}"}))


@pytest_asyncio.fixture(scope="module")
async def owner(millrace: Run) -> AsyncIterator[Person]:
    owner = await person(millrace, "owner@example.org")
    yield owner
    await owner.session.close()


@pytest_asyncio.fixture(scope="module")
async def thief(millrace: Run) -> AsyncIterator[Person]:
    thief = await person(millrace, "thief@example.org")
    yield thief
    await thief.session.close()


@pytest_asyncio.fixture(scope="module")
async def owned(owner: Person) -> dict[str, str]:
    """One of each of what has an id."""
    _, upload = await owner.ask("POST", "/api/v1/uploads?filename=mine.csv", data=b"secret,b\n1,2\n")
    _, key = await owner.ask("POST", "/api/v1/keys", json={"name": "mine", "scopes": ["jobs:read"]})
    _, ticket = await owner.ask("POST", "/api/v1/auth/tickets")
    return {
        "upload_id": upload["upload_id"],
        "job_id": upload["job_id"],
        "stream": upload["channel"],
        "key_id": key["id"],
        "socket": ticket["socket"],
    }


def with_ids(operations: list[Operation]) -> Iterator[Operation]:
    yield from (each for each in operations if "{" in each[1])


async def test_anothers_ids_are_unknown_on_every_route(
    owner: Person, thief: Person, owned: dict[str, str], operations: list[Operation]
) -> None:
    """Word for word: nothing tells a thief that the id exists."""
    tried = 0
    for method, path, _ in with_ids(operations):
        foreign, unknown = path.format(**owned), path.format(**UNKNOWN)
        status, refused = await thief.ask(method, foreign)
        assert (status, refused["code"]) == (404, "not_found"), f"{method} {path}"
        _, never_was = await thief.ask(method, unknown)
        for problem, used in ((refused, owned), (never_was, UNKNOWN)):
            problem.pop("request_id"), problem.pop("instance")
            for name, id_ in sorted(used.items(), key=lambda item: -len(item[1])):
                problem["detail"] = problem["detail"].replace(id_, name)
        assert refused == never_was, f"{method} {path}"
        tried += 1
    assert tried >= 9
    assert (await owner.ask("GET", f"/api/v1/uploads/{owned['upload_id']}"))[0] == 200, "and nothing was changed"
    assert (await owner.ask("GET", f"/api/v1/keys/{owned['key_id']}"))[1]["revoked_at"] is None


async def test_anothers_things_are_in_no_list(
    thief: Person, owned: dict[str, str], operations: list[Operation]
) -> None:
    tried = 0
    for method, path, said in operations:
        if method == "get" and "{" not in path and said.get("security"):
            status, found = await thief.ask("GET", path)
            assert status in (200, 403), path
            for id_ in owned.values():
                assert id_ not in json.dumps(found), path
            tried += status == 200
    assert tried >= 4


async def test_anothers_job_opens_no_websocket(thief: Person, owned: dict[str, str]) -> None:
    for path in ("/ws/{job_id}", "/api/v1/ws/{job_id}"):
        refusals = []
        for ids in (owned, UNKNOWN):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await thief.session.ws_connect(path.format(**ids))
            refusals.append(refused.value.status)
        assert refusals == [404, 404]
    async with thief.session.ws_connect("/ws") as socket:
        assert (await socket.receive_json(timeout=PATIENCE))["type"] == "connected"
        answers = []
        for ids in (owned, UNKNOWN):
            await socket.send_json({"action": "subscribe", "job_id": ids["job_id"]})
            said = await socket.receive_json(timeout=PATIENCE)
            answers.append(json.dumps(said).replace(ids["job_id"], "…"))
        assert answers[0] == answers[1]
        assert "error" in answers[0]


@pytest.mark.parametrize("depth", [100_000, 30_000])
@pytest.mark.parametrize("shape", [("[", "]"), ('{"a":', "}")])
async def test_json_of_any_depth_is_refused(
    millrace: Run, operations: list[Operation], depth: int, shape: tuple[str, str]
) -> None:
    deep = shape[0] * depth + "1" + shape[1] * depth
    headers = {"Authorization": f"Bearer {millrace.admin_key}", "Content-Type": "application/json"}
    tried = 0
    async with aiohttp.ClientSession(millrace.url) as session:
        for method, path, said in operations:
            if "application/json" in said.get("requestBody", {}).get("content", {}):
                async with session.request(method, path.format(**UNKNOWN), data=deep, headers=headers) as answer:
                    refused = await answer.json(content_type=PROBLEM)
                    assert (answer.status, refused["code"]) in UNREADABLE, f"{method} {path}"
                tried += 1
        assert tried >= 8
        async with session.get("/ping") as alive:
            assert alive.status == 200


async def test_a_bomb_is_never_unpacked(millrace: Run, operations: list[Operation]) -> None:
    """A gigabyte, said to be compressed: in a command it is refused, in an upload it is the file itself."""
    bomb = gzip.compress(bytes(1 << 20), 9) * 50
    headers = {"Authorization": f"Bearer {millrace.admin_key}", "Content-Encoding": "gzip"}
    async with aiohttp.ClientSession(millrace.url) as session:
        for method, path, said in operations:
            if "application/json" in said.get("requestBody", {}).get("content", {}):
                asked = {**headers, "Content-Type": "application/json"}
                async with session.request(method, path.format(**UNKNOWN), data=bomb, headers=asked) as answer:
                    refused = await answer.json(content_type=PROBLEM)
                    assert (answer.status, refused["errors"][0]["field"]) == (400, "body"), f"{method} {path}"
        async with session.post("/api/v1/uploads", data=bomb, headers=headers) as answer:
            assert (answer.status, (await answer.json())["bytes"]) == (202, len(bomb))
