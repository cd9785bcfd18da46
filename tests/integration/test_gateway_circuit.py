"""A service that is gone, or has been silent five times in a row, costs its callers no time, and the others nothing."""

import asyncio
import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest_asyncio

from deploy.process import free_port
from deploy.provision import Database
from fixtures.gateway import PATIENCE, Gateway, Upstream, open_gateway, read_body, read_head
from fixtures.limits import UPGRADE

FAILURES = 5  # in a row, that it takes


@dataclass
class Services:
    """All three at one address; the processor hangs up before it answers, as long as it is told to."""

    ill: bool = True
    asked: int = 0  # of the processor
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    held: asyncio.Event = field(default_factory=asyncio.Event)  # nobody is answered before

    def __post_init__(self) -> None:
        self.held.set()

    async def serve(self, reader: Reader, writer: Writer) -> None:
        while True:
            head = await read_head(reader)
            await read_body(reader, head)
            if "/jobs" in head.line:
                self.asked += 1
                await self.held.wait()
                if self.ill:
                    return
            writer.write(self.answer)


@pytest_asyncio.fixture
async def services() -> Services:
    return Services()


@pytest_asyncio.fixture
async def gateway(database: Database, tmp_path: Path, services: Services) -> AsyncIterator[Gateway]:
    async with (
        Upstream.open(services.serve) as upstream,
        open_gateway(database, tmp_path, upstream.url, upstream_timeout=1.0) as running,
    ):
        yield running


async def status(gateway: Gateway, line: str = "GET /api/v1/jobs") -> int:
    return (await gateway.ask(line)).status


async def healed(gateway: Gateway) -> None:
    """Ask, as a client would, until there is an answer."""
    async with asyncio.timeout(PATIENCE):
        while await status(gateway) != 200:
            await asyncio.sleep(0.02)


async def test_who_fails_again_and_again_is_not_asked_for_a_while(gateway: Gateway, services: Services) -> None:
    assert [await status(gateway) for _ in range(FAILURES)] == [502] * FAILURES
    refused = await gateway.ask("GET /api/v1/jobs")
    problem = json.loads(refused.body)
    assert (refused.status, problem["code"]) == (503, "unavailable")
    assert "processor" in problem["detail"]
    assert int(refused.head.get("retry-after") or 0) >= 1
    assert services.asked == FAILURES
    metrics = (await gateway.ask("GET /metrics")).body.decode()
    assert 'millrace_gateway_circuit_open{service="processor"} 1.0' in metrics
    assert 'millrace_gateway_circuit_open{service="ingest"} 0.0' in metrics
    assert 'millrace_gateway_circuit_openings_total{service="processor"} 1.0' in metrics


async def test_a_websocket_is_refused_at_once_too(gateway: Gateway, services: Services) -> None:
    services.answer = b""  # the notifier falls silent
    for _ in range(FAILURES):
        assert await status(gateway, "GET /ws/healthy") == 504
    refused = await gateway.ask("GET /ws/healthy", *UPGRADE)
    assert (refused.status, json.loads(refused.body)["code"]) == (503, "unavailable")


async def test_the_others_go_on(gateway: Gateway, services: Services) -> None:
    for _ in range(2 * FAILURES):
        await status(gateway)
    assert await status(gateway, "GET /api/v1/uploads") == 200


async def test_one_answer_brings_all_requests_back(gateway: Gateway, services: Services) -> None:
    for _ in range(FAILURES):
        await status(gateway)
    services.ill = False
    await healed(gateway)
    assert await asyncio.gather(*(status(gateway) for _ in range(20))) == [200] * 20
    metrics = (await gateway.ask("GET /metrics")).body.decode()
    assert 'millrace_gateway_circuit_open{service="processor"} 0.0' in metrics


async def test_one_request_at_a_time_finds_out(gateway: Gateway, services: Services) -> None:
    for _ in range(FAILURES):
        await status(gateway)
    services.held.clear()
    asking = [asyncio.create_task(healed(gateway)) for _ in range(20)]
    async with asyncio.timeout(PATIENCE):
        while services.asked == FAILURES:
            await asyncio.sleep(0.01)
    assert services.asked == FAILURES + 1, "of twenty who ask"
    services.ill = False
    services.held.set()
    await asyncio.gather(*asking)


async def test_what_a_service_says_itself_is_an_answer(gateway: Gateway, services: Services) -> None:
    services.ill, services.answer = False, b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    assert [await status(gateway) for _ in range(3 * FAILURES)] == [500] * 3 * FAILURES


async def test_clients_that_leave_are_no_failures(gateway: Gateway, services: Services) -> None:
    services.held.clear()
    for number in range(2 * FAILURES):
        async with gateway.wire() as wire:
            wire.request("GET /api/v1/jobs")
            async with asyncio.timeout(PATIENCE):
                while services.asked == number:
                    await asyncio.sleep(0.01)
    services.ill = False
    services.held.set()
    assert await status(gateway) == 200


async def test_failures_with_answers_between_them_are_no_illness(gateway: Gateway, services: Services) -> None:
    for _ in range(FAILURES):
        services.ill = True
        assert [await status(gateway) for _ in range(FAILURES - 1)] == [502] * (FAILURES - 1)
        services.ill = False
        assert await status(gateway) == 200


async def test_who_is_gone_is_not_even_connected_to_and_is_found_when_it_is_back(
    database: Database, tmp_path: Path
) -> None:
    port, asked, go_on = free_port(), asyncio.Event(), asyncio.Event()

    async def hesitant(reader: Reader, writer: Writer) -> None:
        while True:
            await read_head(reader)
            asked.set()
            await go_on.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with open_gateway(database, tmp_path, f"http://127.0.0.1:{port}") as gateway:
        assert [await status(gateway) for _ in range(FAILURES)] == [503] * FAILURES
        assert "for a while" in json.loads((await gateway.ask("GET /api/v1/jobs")).body)["detail"]
        async with Upstream.open(hesitant, port=port) as upstream:
            asking = [asyncio.create_task(healed(gateway)) for _ in range(20)]
            await asyncio.wait_for(asked.wait(), PATIENCE)
            assert upstream.connections == 1, "of twenty who ask"
            go_on.set()
            await asyncio.gather(*asking)


async def test_clients_that_stall_are_no_failures(database: Database, tmp_path: Path, services: Services) -> None:
    services.ill = False
    async with (
        Upstream.open(services.serve) as upstream,
        open_gateway(database, tmp_path, upstream.url, body_timeout=0.05) as gateway,
    ):
        for _ in range(2 * FAILURES):
            async with gateway.wire() as wire:
                wire.request("POST /api/v1/jobs", "Content-Length: 10")
                wire.send(b"half")
                assert (await wire.answer()).status == 408
        assert await status(gateway) == 200
