"""API keys: made once, recognised everywhere, gone within a second."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from deploy.postgres import PostgresServer
from deploy.provision import Database
from events.database import load_queries
from fixtures.accounts import problem, register
from fixtures.gateway import KEY, Answer, Gateway, Upstream, open_gateway, read_body, read_head
from gateway.auth.keys import parse_key

JSON = "Content-Type: application/json"
READING = {"name": "dashboard", "scopes": ["jobs:read"]}


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_body(reader, await read_head(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest_asyncio.fixture(scope="module")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream.open(answers) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def gateway(
    gateway_database: Database, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    async with open_gateway(gateway_database, tmp_path_factory.mktemp("gateway"), upstream.url) as running:
        yield running


@pytest_asyncio.fixture
async def rows(gateway_database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(gateway_database.admin_url)
    yield connection
    await connection.close()


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def post(gateway: Gateway, path: str, body: Any, *fields: str, key: str | None = KEY) -> Answer:
    return await gateway.ask(f"POST /api/v1/keys{path}", JSON, *fields, body=json.dumps(body).encode(), key=key)


async def make(gateway: Gateway, *fields: str, key: str | None = KEY, **wish: Any) -> dict[str, Any]:
    answer = await post(gateway, "", READING | wish, *fields, key=key)
    assert answer.status == 201, answer.body
    assert answer.head.get("cache-control") == "no-store"
    made: dict[str, Any] = json.loads(answer.body)
    assert answer.head.get("location") == f"/api/v1/keys/{made['id']}"
    return made


async def status(gateway: Gateway, key: str) -> int:
    return (await gateway.ask("GET /api/v1/jobs", key=key)).status


async def refused_soon(gateway: Gateway, key: str) -> Answer:
    async with asyncio.timeout(10):
        while (answer := await gateway.ask("GET /api/v1/jobs", key=key)).status == 200:
            pass
    return answer


async def facts(rows: asyncpg.Connection, kind: str, key_id: str) -> list[dict[str, Any]]:
    found = [json.loads(row["event"]) for row in await rows.fetch("SELECT event FROM gateway.outbox")]
    return [each for each in found if (each["type"], each["subject"]) == (kind, f"key:{key_id}")]


async def test_a_key_opens_what_its_scopes_say_and_is_shown_once(gateway: Gateway, rows: asyncpg.Connection) -> None:
    made = await make(gateway)
    secret = made.pop("key")
    assert made["prefix"] == secret[: len("mr_live_") + 12] == f"mr_live_{made['id']}"
    assert made["made_by"] == f"key:{parse_key(KEY).id}"
    assert await status(gateway, secret) == 200
    assert (await gateway.ask("GET /api/v1/keys", key=secret)).status == 403
    one = await gateway.ask(f"GET /api/v1/keys/{made['id']}")
    assert json.loads(one.body) == made
    assert (await gateway.ask(f"GET /api/v1/keys/{made['id']}", f"If-None-Match: {one.head.get('etag')}")).status == 304
    (fact,) = await facts(rows, "key.created", made["id"])
    assert fact["data"] == {"key_id": made["id"], "scopes": ["jobs:read"], "made_by": made["made_by"]}


async def test_keys_are_listed_newest_first_page_by_page(gateway: Gateway) -> None:
    made = [(await make(gateway, name=f"page {number}"))["id"] for number in range(5)]
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await gateway.ask(f"GET /api/v1/keys?limit=2{cursor and f'&cursor={cursor}'}")
        page = json.loads(answer.body)
        assert b"mr_live_" in answer.body
        assert all("key" not in item for item in page["items"])
        listed += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert listed[:5] == made[::-1]
    assert len(set(listed)) == len(listed)


async def test_a_repeated_request_gets_the_same_key_again(gateway: Gateway, rows: asyncpg.Connection) -> None:
    once, again, other = "Idempotency-Key: once", "Idempotency-Key: once", "Idempotency-Key: other"
    first = await make(gateway, once)
    assert await make(gateway, again) == first
    assert (await make(gateway, other))["id"] != first["id"]
    assert await status(gateway, first["key"]) == 200
    refused = problem(await post(gateway, "", READING | {"name": "another"}, once))
    assert (refused["status"], refused["code"]) == (422, "idempotency_key_reused")
    assert refused["errors"][0]["field"] == "header.idempotency-key"
    assert len(await facts(rows, "key.created", first["id"])) == 1
    at_once = await asyncio.gather(*(make(gateway, "Idempotency-Key: at-once") for _ in range(8)))
    assert all(made == at_once[0] for made in at_once)
    theirs = await register(gateway, "idempotent@example.org")
    made = await make(gateway, once, theirs.bearer, key=None)
    assert made["key"] != first["key"], "another maker's key of the same name is another"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"scopes": ["jobs:everything"]}, "body.scopes[0]"),
        ({"scopes": []}, "body.scopes"),
        ({"name": " "}, "body.name"),
        ({"name": "a\u0000b"}, "body.name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "body.expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "body.expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "body.expires_at"),
        ({"secret": "mine"}, "body.secret"),
    ],
)
async def test_a_wrong_wish_names_its_field(gateway: Gateway, wish: dict[str, Any], field: str) -> None:
    refused = problem(await post(gateway, "", READING | wish))
    assert (refused["status"], [error["field"] for error in refused["errors"]]) == (422, [field])


async def test_what_is_wrong_is_said_in_sentences_of_ours(gateway: Gateway) -> None:
    """It was `body.1: JSON decode error` and `Value error, this moment has passed`."""
    passed = problem(await post(gateway, "", READING | {"expires_at": "2020-01-01T00:00:00Z"}))
    assert passed["detail"] == "body.expires_at: This moment has passed."
    fields = ("Content-Type: application/json",)
    broken = json.loads((await gateway.ask("POST /api/v1/keys", *fields, body=b"{name")).body)
    assert broken["detail"].startswith("body: This is no JSON: ")
    assert [error["field"] for error in broken["errors"]] == ["body"]


async def test_nobody_makes_or_rotates_a_key_that_may_do_more_than_he(gateway: Gateway) -> None:
    admin = await register(gateway, "climber@example.org")
    refused = problem(await post(gateway, "", READING | {"scopes": ["jobs:read", "ops"]}, admin.bearer, key=None))
    assert (refused["status"], refused["errors"][0]["field"]) == (403, "body.scopes")
    strong = await make(gateway, admin.bearer, key=None, scopes=["jobs:read", "uploads:write"])
    weak = await make(gateway, admin.bearer, key=None, scopes=["keys:admin", "jobs:read"])
    assert (await post(gateway, f"/{strong['id']}/rotate", {}, key=weak["key"])).status == 403


async def test_a_wrong_secret_is_refused_and_a_mistyped_one_asks_nobody(gateway: Gateway) -> None:
    secret = (await make(gateway))["key"]
    for text, says in (
        (parse_key(KEY).text[:8] + secret[8:20] + KEY[20:], "mistyped"),
        (secret[:-1] + ("0" if secret[-1] != "0" else "1"), "mistyped"),
        (secret.replace("mr_live_", "mr_test_"), "not an API key"),
    ):
        refused = problem(await gateway.ask("GET /api/v1/jobs", key=text))
        assert refused["status"] == 401
        assert says in refused["detail"]


async def test_a_revoked_key_ends_on_every_replica(
    gateway: Gateway, gateway_database: Database, upstream: Upstream, tmp_path: Path, rows: asyncpg.Connection
) -> None:
    async with open_gateway(gateway_database, tmp_path, upstream.url) as other:
        made = await make(gateway)
        assert [await status(replica, made["key"]) for replica in (gateway, other)] == [200, 200]
        for _ in range(2):
            assert (await gateway.ask(f"DELETE /api/v1/keys/{made['id']}")).status == 204
        for replica in (gateway, other):
            refused = problem(await refused_soon(replica, made["key"]))
            assert (refused["status"], refused["detail"]) == (401, "The API key has been revoked.")
    assert len(await facts(rows, "key.revoked", made["id"])) == 1
    assert (await post(gateway, f"/{made['id']}/rotate", {})).status == 409


async def test_a_replica_that_missed_a_revocation_believes_nothing_that_it_remembers(
    gateway: Gateway, rows: asyncpg.Connection
) -> None:
    made = await make(gateway)
    assert await status(gateway, made["key"]) == 200
    await rows.execute("UPDATE gateway.keys SET revoked_at = now() WHERE id = $1", made["id"])  # and nobody is told
    await rows.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND query ILIKE 'LISTEN%millrace_revoked%'"
    )
    assert (await refused_soon(gateway, made["key"])).status == 401


async def test_a_rotated_key_lives_on_for_the_overlap(gateway: Gateway, rows: asyncpg.Connection) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=2)
    old = await make(gateway, expires_at=expires_at.isoformat())
    rotated = await post(gateway, f"/{old['id']}/rotate", {"overlap_seconds": 3600}, "Idempotency-Key: turn")
    new = json.loads(rotated.body)
    assert (rotated.status, new["name"], new["scopes"]) == (201, old["name"], old["scopes"])
    assert datetime.fromisoformat(new["expires_at"]) >= expires_at
    again = await post(gateway, f"/{old['id']}/rotate", {"overlap_seconds": 3600}, "Idempotency-Key: turn")
    assert json.loads(again.body)["key"] == new["key"]
    assert [await status(gateway, key) for key in (old["key"], new["key"])] == [200, 200]
    (fact,) = await facts(rows, "key.rotated", old["id"])
    assert fact["data"]["successor_id"] == new["id"]
    await rows.execute("UPDATE gateway.keys SET expires_at = now() WHERE id = $1", old["id"])  # the overlap is over
    refused = problem(await refused_soon(gateway, old["key"]))
    assert refused["detail"] == "The API key has expired."
    assert await status(gateway, new["key"]) == 200


async def test_a_keys_last_use_is_noted(gateway: Gateway, rows: asyncpg.Connection) -> None:
    made = await make(gateway)
    assert made["last_used_at"] is None
    assert await status(gateway, made["key"]) == 200
    async with asyncio.timeout(30):
        while await rows.fetchval("SELECT last_used_at FROM gateway.keys WHERE id = $1", made["id"]) is None:
            await asyncio.sleep(0.1)


async def test_with_the_database_away_a_key_is_503_and_never_401(
    database: Database, postgres_server: PostgresServer, upstream: Upstream, tmp_path: Path
) -> None:
    async with open_gateway(database, tmp_path, upstream.url) as gateway:
        secret = (await make(gateway))["key"]
        assert await status(gateway, secret) == 200
        await postgres_server.stop()
        try:
            async with asyncio.timeout(30):
                while (answer := await gateway.ask("GET /api/v1/jobs", key=secret)).status == 200:
                    pass
            assert (answer.status, answer.head.get("retry-after")) == (503, "1")
            assert await status(gateway, KEY) == 200, "the admin key needs no database"
        finally:
            await postgres_server.start()
        async with asyncio.timeout(30):
            while (last := await status(gateway, secret)) != 200:
                assert last == 503


async def test_each_successor_has_the_time_that_the_first_was_given(gateway: Gateway) -> None:
    for_ever, for_two_days = await make(gateway), await make(gateway, expires_at=in_days(2))
    for number in range(2):
        successor = json.loads((await post(gateway, f"/{for_ever['id']}/rotate", {"overlap_seconds": 60})).body)
        assert successor["expires_at"] is None, number
        successor = json.loads((await post(gateway, f"/{for_two_days['id']}/rotate", {"overlap_seconds": 60})).body)
        assert datetime.fromisoformat(successor["expires_at"]) > datetime.now(UTC) + timedelta(days=1.9), number


async def test_a_key_that_rotates_itself_can_ask_again_for_a_lost_answer(gateway: Gateway) -> None:
    own = await make(gateway, scopes=["keys:admin"])
    path, idempotency = f"/{own['id']}/rotate", "Idempotency-Key: rotate-myself"
    first, again = [await post(gateway, path, {}, idempotency, key=own["key"]) for _ in range(2)]
    assert (first.status, again.body) == (201, first.body)


async def test_a_secret_is_told_again_for_a_day_only(gateway: Gateway, rows: asyncpg.Connection) -> None:
    made = await make(gateway, "Idempotency-Key: yesterdays")
    await rows.execute("UPDATE gateway.keys SET created_at = now() - interval '25 hours' WHERE id = $1", made["id"])
    refused = problem(await post(gateway, "", READING, "Idempotency-Key: yesterdays"))
    assert (refused["status"], refused["code"]) == (409, "conflict")


async def test_an_unknown_cursor_is_not_the_end_of_the_list(gateway: Gateway) -> None:
    refused = problem(await gateway.ask("GET /api/v1/keys?cursor=000000000000"))
    assert (refused["status"], refused["code"]) == (410, "cursor_expired")


async def test_keys_may_expire_while_their_uses_are_noted(gateway_database: Database, rows: asyncpg.Connection) -> None:
    """Both lock many keys: in another order, each would wait for the other."""
    queries = load_queries("gateway.keys", "queries.sql")
    ids = [f"{number:012d}" for number in range(300)]
    await rows.execute(
        "INSERT INTO gateway.keys (id, tenant, hash, name, scopes, made_by)"
        " SELECT id, 'expiring', decode(repeat('00', 32), 'hex'), 'x', '{}', 'key:x' FROM unnest($1::text[]) AS id",
        ids,
    )
    other = await asyncpg.connect(gateway_database.admin_url)
    try:
        for _ in range(20):
            await rows.execute("UPDATE gateway.keys SET ended = false, expires_at = now() WHERE tenant = 'expiring'")
            backwards = list(reversed(ids))
            noted, _ = await asyncio.gather(
                rows.execute(queries["note_use"], backwards, [0.0] * len(ids)), other.fetch(queries["end_expired_keys"])
            )
            assert noted == f"UPDATE {len(ids)}"
            left = await rows.fetchval("SELECT count(*) FROM gateway.keys WHERE tenant = 'expiring' AND NOT ended")
            assert left == 0, "ended here, or by a gateway"
    finally:
        await other.close()
        await rows.execute("DELETE FROM gateway.keys WHERE tenant = 'expiring'")
