"""What is appended together has one span, in which each caller's trace finds its own."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.database import open_pool
from events.log.append import Appended, Appender
from events.telemetry import Telemetry
from fixtures.collected import Collector, collecting
from fixtures.log import note, request

CALLERS = 64


def trace_of(number: int) -> str:
    return f"{number + 1:032x}"


@pytest_asyncio.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


async def test_callers_that_are_answered_by_one_commit_share_its_span(
    database: Database, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in collector.settings.items():
        monkeypatch.setenv(name, value)
    telemetry = Telemetry("test")

    async def append(number: int, flags: str) -> None:
        with telemetry.span("caller", traceparent=f"00-{trace_of(number)}-{number + 1:016x}-{flags}"):
            assert isinstance(await appender.append(request(note(f"note:{number}"))), Appended)

    async with (
        open_pool(database.url("processor"), name="test", size=6) as pool,
        Appender(pool, telemetry=telemetry) as appender,
    ):
        await asyncio.gather(*(append(number, "00") for number in range(CALLERS, CALLERS + 8)))
        await asyncio.gather(*(append(number, "01") for number in range(CALLERS)))
    telemetry.close()
    await collector.all(lambda span: span.name == "caller", count=CALLERS)
    calls = await collector.all(lambda span: span.name == "SELECT events.append")
    assert 1 <= len(calls) < CALLERS
    assert sum(call.attributes["millrace.events"] for call in calls) == CALLERS
    assert sum(call.attributes.get("db.operation.batch.size", 1) for call in calls) == CALLERS
    for number in range(CALLERS):
        assert sum(call.is_about(trace_of(number)) for call in calls) == 1
    callers = {(span.trace, span.id) for span in collector.spans if span.name == "caller"}
    assert {(call.trace, call.parent) for call in calls}.union(*(call.links for call in calls)) == callers
