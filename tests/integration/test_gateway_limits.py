"""The limits at the door, over real sockets."""

import asyncio
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.postgres import PostgresServer
from deploy.provision import Database
from fixtures.gateway import KEY, PATIENCE, Gateway, open_gateway
from fixtures.limits import COUNTED, SLOW, connect, let_time_pass, only
from gateway.auth.keys import new_key
from gateway.limits.policy import Limit, Per


async def statuses(gateway: Gateway, line: str, count: int, *fields: str, key: str | None = KEY) -> list[int]:
    return [(await gateway.ask(line, *fields, key=key)).status for _ in range(count)]


async def test_a_burst_passes_then_it_is_429_with_a_problem_until_the_wait_is_over(
    database: Database, tmp_path: Path, any_service: str, database_owner: asyncpg.Connection
) -> None:
    limits = only("read", "subject", 3)
    async with open_gateway(database, tmp_path, any_service, limits=limits, **COUNTED) as gateway:
        for left in (2, 1, 0):
            answer = await gateway.ask("GET /api/v1/jobs")
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.head.get("ratelimit-policy") == '"read-subject";q=3;w=3000'
            assert (answer.head.get("ratelimit") or "").startswith(f'"read-subject";r={left};t=')
        refused = await gateway.ask("GET /api/v1/jobs")
        assert refused.status == 429
        wait = int(refused.head.get("retry-after") or 0)
        assert 900 < wait <= 1000
        assert refused.head.get("ratelimit") == f'"read-subject";r=0;t={wait}'
        assert refused.head.get("content-type") == "application/problem+json"
        problem = json.loads(refused.body)
        assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
        assert (problem["code"], problem["status"]) == ("quota_exceeded", 429)
        assert problem["violated-policies"] == ["read-subject"]
        assert (await gateway.ask("POST /api/v1/jobs")).status == 200, "writes are of another class"
        await let_time_pass(database_owner, wait)
        assert await statuses(gateway, "GET /api/v1/jobs", 2) == [200, 429]


async def test_two_replicas_share_a_bucket_to_the_last_request(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    limits = only("read", "subject", 20)
    async with (
        open_gateway(database, tmp_path / "1", any_service, limits=limits, **COUNTED) as one,
        open_gateway(database, tmp_path / "2", any_service, limits=limits, **COUNTED) as other,
    ):
        found = await asyncio.gather(*(replica.ask("GET /api/v1/jobs") for replica in (one, other) for _ in range(30)))
        assert [answer.status for answer in found].count(200) == 20


async def test_tenants_and_keys_do_not_touch_each_other(database: Database, tmp_path: Path, any_service: str) -> None:
    other_key = new_key()
    for per, key, tenant in (("subject", other_key, "default"), ("tenant", KEY, "other")):
        limits = only("read", per, 2)  # type: ignore[arg-type]  # mypy widens the literal
        async with (
            open_gateway(database, tmp_path / f"{per}1", any_service, limits=limits, **COUNTED) as mine,
            open_gateway(
                database,
                tmp_path / f"{per}2",
                any_service,
                limits=limits,
                admin_key=SecretStr(key),
                admin_tenant=tenant,
                **COUNTED,
            ) as theirs,
        ):
            assert await statuses(mine, "GET /api/v1/jobs", 3) == [200, 200, 429]
            assert await statuses(theirs, "GET /api/v1/jobs", 3, key=key) == [200, 200, 429]


async def test_a_request_that_one_bucket_refuses_costs_the_others_nothing(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    limits: dict[str, dict[Per, Limit | None]] = {
        "read": {"subject": Limit(SLOW, 2), "tenant": Limit(SLOW, 50), "address": Limit(SLOW, 50)}
    }
    async with open_gateway(database, tmp_path, any_service, limits=limits, **COUNTED) as gateway:
        assert await statuses(gateway, "GET /api/v1/jobs", 12) == [200] * 2 + [429] * 10
    generous = {"read": {**limits["read"], "subject": Limit(SLOW, 1000)}}
    async with open_gateway(database, tmp_path / "2", any_service, limits=generous, **COUNTED) as gateway:
        answer = await gateway.ask("GET /api/v1/jobs")
        assert (answer.head.get("ratelimit") or "").startswith('"read-tenant";r=47;')


ANSWERS = {
    "forwarded": ("GET /api/v1/jobs", KEY, 200),
    "our own": ("GET /", None, 200),
    "not counted": ("GET /ping", None, 200),
    "not found": ("GET /api/v1/nothing", None, 404),
    "an ambiguous path": ("GET /api//v1", None, 404),
    "unauthenticated": ("GET /api/v1/jobs", None, 401),
    "a wrong method": ("DELETE /", None, 405),
    "a malformed head": ("GET jobs", None, 400),
    "a HEAD": ("HEAD /api/v1/jobs", KEY, 200),
    "metrics": ("GET /metrics", KEY, 200),
}


async def test_every_answer_says_what_is_left_once(database: Database, tmp_path: Path, any_service: str) -> None:
    async with open_gateway(database, tmp_path, any_service) as gateway:
        for line, key, status in ANSWERS.values():
            answer = await gateway.ask(line, key=key)
            assert answer.status == status
            policies, left = answer.head.get("ratelimit-policy"), answer.head.get("ratelimit")
            assert policies is not None
            assert left is not None
            name, remaining, seconds = left.split(";")
            assert f"{name};q=" in policies
            assert remaining.removeprefix("r=").isdigit()
            assert seconds.removeprefix("t=").isdigit()
            assert not any(known.startswith("x-ratelimit") for known, _ in answer.head.fields)


async def test_a_service_that_is_gone_is_answered_for_with_limits(database: Database, tmp_path: Path) -> None:
    async with open_gateway(database, tmp_path, "http://127.0.0.1:9") as gateway:
        answer = await gateway.ask("GET /api/v1/jobs")
        assert answer.status == 503
        assert (answer.head.get("ratelimit") or "").startswith('"read-subject";r=199;')


async def test_health_and_ping_are_never_refused(database: Database, tmp_path: Path, any_service: str) -> None:
    limits = only("public", "address", 1) | only("read", "subject", 1)
    async with open_gateway(database, tmp_path, any_service, limits=limits, **COUNTED) as gateway:
        assert await statuses(gateway, "GET /", 2, key=None) == [200, 429]
        for path in ("/ping", "/api/v1/ping", "/livez", "/metrics"):
            assert await statuses(gateway, f"GET {path}", 3) == [200] * 3


async def test_an_upload_over_the_limit_is_refused_before_its_body_is_read(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    limits = only("upload", "subject", 1)
    async with open_gateway(database, tmp_path, any_service, limits=limits, **COUNTED) as gateway:
        assert (await gateway.ask("POST /api/v1/uploads", body=b"x")).status == 200
        async with gateway.wire() as wire:
            wire.request("POST /api/v1/uploads", "Content-Length: 1000000000")
            answer = await wire.answer()
            assert (answer.status, answer.head.get("connection")) == (429, "close")
        assert (await gateway.ask("GET /api/v1/uploads")).status == 200


async def test_guessing_is_limited_by_address_and_silences_nobody_elsewhere(
    database: Database, tmp_path: Path, any_service: str, database_owner: asyncpg.Connection
) -> None:
    limits = only("guess", "address", 3)
    trusted: dict[str, Any] = {"trusted_proxies": (ip_network("127.0.0.0/8"),)}
    here, elsewhere = "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 203.0.113.8"
    async with open_gateway(database, tmp_path, any_service, limits=limits, **trusted, **COUNTED) as gateway:
        assert (await gateway.ask("GET /api/v1/jobs", here)).status == 200
        guesses = [await gateway.ask("GET /api/v1/jobs", here, key=new_key()) for _ in range(5)]
        assert [guess.status for guess in guesses] == [401] * 3 + [429] * 2
        assert [guess.head.get("ratelimit") for guess in guesses[3:]] == ['"guess-address";r=0;t=1000'] * 2
        assert (await gateway.ask("GET /api/v1/jobs", here)).status == 429, "the next guess may be the right one"
        assert (await gateway.ask("GET /api/v1/jobs", elsewhere)).status == 200
        assert (await gateway.ask("GET /api/v1/jobs", elsewhere, key=new_key())).status == 401


async def test_registering_and_logging_in_are_strictly_limited_by_default(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    async with open_gateway(database, tmp_path, any_service, limits={}, **COUNTED) as gateway:
        found = [await gateway.ask("POST /api/v1/auth/login", key=None) for _ in range(25)]
        assert 0 < [answer.status for answer in found].count(429) <= 5
        refused = await gateway.ask("POST /api/v1/auth/register", key=None)
        assert refused.status == 429
        assert refused.head.get("ratelimit") in ('"auth-address";r=0;t=1', '"auth-address";r=0;t=2')


FORWARDED = {
    "nobody is trusted": ((), "198.51.100.1", ["203.0.113.1", "203.0.113.2"], False),
    "another is trusted": (("10.0.0.0/8",), "198.51.100.1", ["203.0.113.1", "203.0.113.2"], False),
    "the peer is trusted": (("127.0.0.0/8",), "198.51.100.1", ["203.0.113.1", "203.0.113.2"], True),
    "two proxies are trusted": (
        ("127.0.0.0/8", "10.0.0.0/8"),
        "1.2.3.4",
        ["203.0.113.1, 10.1.1.1", "203.0.113.2, 10.1.1.2"],
        True,
    ),
    "what a client made up": (("127.0.0.0/8",), "1.2.3.4", ["1.1.1.1, 203.0.113.1", "2.2.2.2, 203.0.113.1"], False),
    "one IPv6 site": (("127.0.0.0/8",), "1.2.3.4", ["2001:db8::1", "2001:db8::ffff:2"], False),
    "two IPv6 sites": (("127.0.0.0/8",), "1.2.3.4", ["2001:db8::1", "2001:db8:0:1::1"], True),
}


@pytest.mark.parametrize(("trusted", "first", "others", "apart"), FORWARDED.values(), ids=FORWARDED)
async def test_the_address_is_what_trusted_proxies_say_it_is(
    database: Database,
    tmp_path: Path,
    any_service: str,
    trusted: tuple[str, ...],
    first: str,
    others: list[str],
    apart: bool,
) -> None:
    settings: dict[str, Any] = {"trusted_proxies": tuple(ip_network(network) for network in trusted)}
    async with open_gateway(
        database, tmp_path, any_service, limits=only("public", "address", 1), **settings, **COUNTED
    ) as gateway:
        one, two = [(await gateway.ask("GET /", f"X-Forwarded-For: {hops}", key=None)).status for hops in others]
        assert (one, two) == (200, 200 if apart else 429)


V2 = b"\r\n\r\n\x00\r\nQUIT\n"
PREAMBLES = {
    "a line": b"PROXY TCP4 203.0.113.%d 198.51.100.1 5000 443\r\n",
    "a binary header": V2 + b"\x21\x11\x00\x0c\xcb\x00\x71%c\xc6\x33\x64\x01\x13\x88\x01\xbb",
}


@pytest.mark.parametrize("preamble", PREAMBLES.values(), ids=PREAMBLES)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_tcp_proxy_that_is_trusted_says_whom_it_connects(
    database: Database, tmp_path: Path, any_service: str, preamble: bytes, pieces: int
) -> None:
    limits = only("public", "address", 1)
    trusted: dict[str, Any] = {"trusted_proxies": (ip_network("127.0.0.0/8"),)}
    async with open_gateway(database, tmp_path, any_service, limits=limits, **trusted, **COUNTED) as gateway:

        async def ask(client: int) -> int:
            async with gateway.wire() as wire:
                said = preamble % client
                for start in range(0, len(said), max(1, len(said) // pieces)):
                    wire.send(said[start : start + max(1, len(said) // pieces)])
                    await wire.writer.drain()
                wire.request("GET /", key=None)
                return (await wire.answer()).status

        assert [await ask(1), await ask(2), await ask(1)] == [200, 200, 429]
        assert (await gateway.ask("GET /", key=None)).status == 200, "one that says nothing is itself"


async def test_whoever_is_not_trusted_may_not_say_whom_it_connects(
    database: Database, tmp_path: Path, any_service: str
) -> None:
    async with open_gateway(database, tmp_path, any_service) as gateway, gateway.wire() as wire:
        wire.send(PREAMBLES["a line"] % 1)
        wire.request("GET /", key=None)
        assert (await wire.answer()).status in (400, 405)


async def test_without_the_database_open_classes_pass_and_closed_ones_do_not(
    database: Database, tmp_path: Path, any_service: str, postgres_server: PostgresServer
) -> None:
    async with open_gateway(database, tmp_path, any_service, limits=only("read", "subject", 2)) as gateway:
        assert await statuses(gateway, "GET /api/v1/jobs", 3) == [200, 200, 429]
        await postgres_server.stop()
        try:
            passed = [await gateway.ask("GET /api/v1/jobs") for _ in range(5)]
            closed = await gateway.ask("POST /api/v1/auth/login", key=None)
            opened = await connect(gateway, "/ws")
        finally:
            await postgres_server.start()
        assert [answer.status for answer in passed] == [200] * 5
        assert passed[-1].head.get("ratelimit") == '"read-subject";r=2;t=0'
        assert closed.status == 503
        assert (closed.head.get("retry-after"), json.loads(closed.body)["code"]) == ("1", "unavailable")
        assert opened == "open"
        async with asyncio.timeout(PATIENCE):
            while (await gateway.ask("POST /api/v1/auth/login", key=None)).status == 503:
                await asyncio.sleep(0.05)
