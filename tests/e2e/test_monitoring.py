"""A real Prometheus scrapes a real stack, with the rules and alerts that are checked in."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from deploy.monitoring.files import RUNBOOKS
from deploy.prometheus import PrometheusServer, open_prometheus, watched
from deploy.stack import SERVICES, Stack
from fixtures import monitoring_queries as queries
from fixtures.client import Client

_CSV = b"name,age\nAda,36\nGrace,45\n"
_TICK_SECONDS = 0.2
_FAMILY = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


@pytest_asyncio.fixture(scope="module")
async def prometheus(stack: Stack) -> AsyncIterator[PrometheusServer]:
    async with Client(stack.base_url, stack.admin_key) as client:
        accepted = await client.upload(_CSV)
        await client.watch(accepted["job_id"])
    async with open_prometheus(stack, interval="1s") as server:
        yield server


async def ask(server: PrometheusServer, path: str, **query: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/api/v1/{path}", params=query) as answer:
        said = await answer.json()
        assert said["status"] == "success", (query, said)
        return said["data"]


async def until(answer: Callable[[], Awaitable[Any]]) -> Any:
    """Prometheus gives no signal when it has scraped or evaluated: ask until it has."""
    async with asyncio.timeout(60):
        while not (found := await answer()):
            await asyncio.sleep(_TICK_SECONDS)
    return found


async def emitted(stack: Stack) -> set[str]:
    """Every name that a series of the four services may have."""
    names: set[str] = set()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {stack.admin_key}"}) as session:
        for service in SERVICES:
            async with session.get(f"{stack.url(service)}/metrics") as answer:
                assert answer.status == 200
                for name, kind in _FAMILY.findall(await answer.text()):
                    names |= {name + suffix for suffix in _SUFFIXES.get(kind, ("",))}
    return names


async def test_prometheus_sees_all_four_services(prometheus: PrometheusServer) -> None:
    async def up() -> Any:
        found = (await ask(prometheus, "query", query="up == 1"))["result"]
        return found if len(found) == len(SERVICES) else None

    assert {series["metric"]["job"] for series in await until(up)} == set(SERVICES)


async def test_a_recording_rule_is_evaluated_on_what_the_services_say(prometheus: PrometheusServer) -> None:
    async def lag() -> Any:
        query = 'reader:millrace_log_reader_lag_seconds:max{reader="relay.feed"}'
        return (await ask(prometheus, "query", query=query))["result"]

    (series,) = await until(lag)
    assert float(series["value"][1]) >= 0


async def test_our_alerts_are_loaded_and_none_of_them_fails(prometheus: PrometheusServer) -> None:
    async def evaluated() -> Any:
        groups = (await ask(prometheus, "rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return None if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = await until(evaluated)
    assert [rule for rule in rules if rule["health"] != "ok"] == []
    assert {rule["name"] for rule in rules if rule["type"] == "alerting"} == set(queries.alerts())
    firing = [alert for alert in (await ask(prometheus, "alerts"))["alerts"] if alert["state"] == "firing"]
    assert [alert for alert in firing if "objective" not in alert["labels"]] == []  # how fast it is, is the machine's


async def test_every_query_names_metrics_that_the_running_services_emit(stack: Stack) -> None:
    known = await emitted(stack) | queries.recorded() | {"up", "ALERTS"}
    asked = {place: queries.metrics(query) for place, query in queries.everywhere()}
    assert {place: names - known for place, names in asked.items() if names - known} == {}
    assert len(asked) > 100  # so that the test does not pass by finding nothing


async def test_every_query_is_one_that_prometheus_understands(prometheus: PrometheusServer) -> None:
    for _, query in queries.everywhere():
        await ask(prometheus, "query", query=queries.without_variables(query))


async def test_every_statement_of_a_runbook_is_one_that_the_database_understands(stack: Stack) -> None:
    statements = re.compile(r'^psql "\$DATABASE" -c "(.+)"$', re.MULTILINE)
    found = [query for page in RUNBOOKS.glob("*.md") for query in statements.findall(page.read_text())]
    assert len(found) > 5
    owner = await asyncpg.connect(stack.postgres_url("owner"))
    for query in found:
        await owner.fetch(query)
    await owner.close()


async def test_a_dead_service_is_noticed(stack: Stack, prometheus: PrometheusServer) -> None:
    await stack.kill("ingest")

    async def pending() -> Any:
        return [
            alert
            for alert in (await ask(prometheus, "alerts"))["alerts"]
            if alert["labels"]["alertname"] == "ServiceIsDown" and alert["labels"]["job"] == "ingest"
        ]

    try:
        (alert,) = await until(pending)
        assert alert["state"] == "pending"  # it would fire after a minute
    finally:
        await stack.start("ingest")


async def test_a_killed_prometheus_goes_on_with_what_it_had(prometheus: PrometheusServer) -> None:
    async def first() -> Any:
        return (await ask(prometheus, "query", query="min_over_time(timestamp(up{job='gateway'})[10m:1s])"))["result"]

    (before,) = await until(first)
    await prometheus.kill()
    await prometheus.start()
    (after,) = await until(first)
    assert float(after["value"][1]) <= float(before["value"][1])


async def test_a_stack_runs_without_prometheus_and_says_so(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no prometheus, and no apt-get to install it
    async with watched(stack) as sentence:
        assert sentence.startswith("No Prometheus watches it. ")
        assert "install it" in sentence


async def test_make_stack_is_watched_and_says_where_which_a_restart_does_not_change(stack: Stack) -> None:
    """The address was printed once, kept nowhere, and another one after each start."""
    kept = stack.data / "prometheus" / "url"
    before = kept.read_text()
    async with watched(stack) as sentence:
        address = sentence.rpartition(" ")[2]
        assert kept.read_text() == f"{address}\n"
        assert kept.read_text() != before, "the one that the other tests ask still listens there"
        async with aiohttp.ClientSession() as session, session.get(f"{address}/-/ready") as answer:
            assert answer.status == 200
    async with watched(stack) as sentence:
        assert sentence.rpartition(" ")[2] == address
