"""The gateway's own endpoints."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.provision import Database
from fixtures.gateway import Gateway, Upstream, open_gateway, read_head

Ready = dict[str, str]


@pytest.fixture
def states() -> Ready:
    """What the services' `/readyz` says; a test may change it."""
    return {"broker": "ok", "database": "ok", "storage": "ok"}


@pytest_asyncio.fixture
async def gateway(states: Ready, database: Database, tmp_path: Path) -> AsyncIterator[Gateway]:
    async def readyz(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await read_head(reader)).line.split()[1]
            body = json.dumps(states if path == "/readyz" else {"state": "ok", "asked": path}).encode()
            fields = b"Content-Type: application/json\r\nContent-Length: %d" % len(body)
            status = b"503 Service Unavailable" if "down" in states.values() else b"200 OK"
            writer.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, fields, body))

    async with Upstream.open(readyz) as upstream, open_gateway(database, tmp_path, upstream.url) as running:
        yield running


async def all_ready(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = b'{"broker":"ok","database":"ok","storage":"ok","state":"ok"}'
    while True:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_anybody_may_ask_what_is_public(gateway: Gateway, prefix: str) -> None:
    index = await gateway.ask(f"GET {prefix}/", key=None)
    assert (index.status, json.loads(index.body)["name"]) == (200, "Millrace")
    ping = await gateway.ask(f"GET {prefix}/ping", key=None)
    assert (ping.status, ping.body) == (200, b'{"pong":true}')
    health = await gateway.ask(f"GET {prefix}/health", key=None)
    assert health.status == 200
    assert json.loads(health.body) == {"broker": "ok", "database": "ok", "storage": "ok", "version": "0.1.0"}


async def test_health_says_what_is_down(gateway: Gateway, states: Ready) -> None:
    states["broker"] = "down"
    health = await gateway.ask("GET /health", key=None)
    assert health.status == 503
    assert json.loads(health.body) == {"broker": "down", "database": "ok", "storage": "ok", "version": "0.1.0"}


async def test_health_vouches_for_nothing_when_nobody_answers(database: Database, tmp_path: Path) -> None:
    async with open_gateway(database, tmp_path, "http://127.0.0.1:9") as gateway:
        health = await gateway.ask("GET /health", key=None)
        assert health.status == 503
        said = json.loads(health.body)
        assert said.pop("services") == dict.fromkeys(("ingest", "processor", "notifier"), "down")
        assert set(said.values()) == {"down", "0.1.0"}


async def test_a_service_that_is_gone_is_not_healthy(database: Database, tmp_path: Path) -> None:
    """The others vouch for the parts, but not for it."""
    async with (
        Upstream.open(all_ready) as upstream,
        open_gateway(database, tmp_path, upstream.url, notifier_url="http://127.0.0.1:9") as gateway,
    ):
        health = await gateway.ask("GET /health", key=None)
        said = json.loads(health.body)
        assert (health.status, said["services"]) == (503, {"notifier": "down"})
        assert {said[part] for part in ("broker", "database", "storage")} == {"ok"}
        detailed = json.loads((await gateway.ask("GET /health/detailed")).body)
        assert detailed["details"]["notifier"] == {"state": "down"}


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_details_are_for_operators(gateway: Gateway, prefix: str) -> None:
    assert (await gateway.ask(f"GET {prefix}/health/detailed", key=None)).status == 401
    assert (await gateway.ask("GET /statusz", key=None)).status == 401
    answer = await gateway.ask(f"GET {prefix}/health/detailed")
    said = json.loads(answer.body)
    assert (answer.status, said["broker"], said["version"]) == (200, "ok", "0.1.0")
    own = said["details"]["gateway"]
    assert (own["state"], own["halted_loops"], own["parts"]["database"]["state"]) == ("ok", [], "ok")
    assert own["parts"]["database"]["latency_ms"] > 0
    assert own["uptime_seconds"] >= 0
    for service in ("ingest", "processor", "notifier"):
        assert said["details"][service] == {"state": "ok", "asked": "/statusz"}


async def test_the_gateway_says_that_it_lives_and_is_ready(gateway: Gateway) -> None:
    assert (await gateway.ask("GET /livez", key=None)).status == 200
    assert (await gateway.ask("GET /readyz", key=None)).status == 200


async def test_metrics_are_for_operators(gateway: Gateway) -> None:
    assert (await gateway.ask("GET /metrics", key=None)).status == 401
    await gateway.ask("GET /ping")
    metrics = (await gateway.ask("GET /metrics")).body.decode()
    assert 'millrace_gateway_requests_total{method="GET",route="/ping",status="200"} 1.0' in metrics


async def test_an_own_endpoint_answers_every_mistake_with_a_problem(gateway: Gateway) -> None:
    for line, status, code in (
        ("GET /nothing", 404, "not_found"),
        ("DELETE /ping", 405, "method_not_allowed"),
        ("GET /api/v1", 404, "not_found"),
    ):
        answer = await gateway.ask(line)
        assert answer.head.get("content-type") == "application/problem+json"
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
        assert answer.head.get("x-request-id") == json.loads(answer.body)["request_id"]


async def test_an_own_endpoint_takes_no_large_body(gateway: Gateway) -> None:
    for framing in ("Content-Length: 100000000", "Transfer-Encoding: chunked"):
        async with gateway.wire() as wire:
            wire.request("POST /ping", framing)
            wire.send(b"%x\r\n" % 70_000 + b"x" * 70_000)
            answer = await wire.answer()
            assert (answer.status, answer.head.get("connection")) == (413, "close")


async def test_head_of_an_own_endpoint_has_no_body(gateway: Gateway) -> None:
    async with gateway.wire() as wire:
        wire.request("HEAD /nothing")
        assert (await wire.answer(to_head=True)).status == 404
        wire.request("GET /ping")
        assert (await wire.answer()).body == b'{"pong":true}'


async def test_a_document_that_is_not_whole_is_not_shown(database: Database, tmp_path: Path) -> None:
    """And who asks for it does not wait for each other."""
    async with open_gateway(database, tmp_path, "http://127.0.0.1:9") as gateway:
        answers = await asyncio.gather(*(gateway.ask("GET /api/v1/openapi.json", key=None) for _ in range(5)))
        for answer in answers:
            assert (answer.status, answer.head.get("retry-after")) == (503, "1")
            assert "ingest and the notifier and the processor" in json.loads(answer.body)["detail"]


async def test_a_silent_service_keeps_nobody_from_the_document(database: Database, tmp_path: Path) -> None:
    asked = 0
    release = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await read_head(reader)
        asked += 1
        await release.wait()
        body = b'{"paths":{}}'
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with Upstream.open(silent) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        asking = [asyncio.create_task(gateway.ask("GET /api/v1/openapi.json", key=None)) for _ in range(5)]
        async with asyncio.timeout(10):
            while asked < 3:
                await asyncio.sleep(0.01)
        release.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        assert asked == 3, "each service once, for all who ask"
