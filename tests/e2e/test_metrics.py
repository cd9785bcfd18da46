"""What four running services say at `/metrics`: as it is written, as Prometheus wants it, and bounded."""

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deploy.packages import debian_program
from deploy.stack import SERVICES, Stack
from fixtures.client import Client
from fixtures.metrics import documented, families, scraped

_OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"
_AN_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}|[0-9a-f]{32}|eyJ|mr_live")
# Whatever these are, nobody has made it up: they come with the process.
_OF_THE_PROCESS = ("process_", "python_")


@pytest_asyncio.fixture(scope="module")
async def used(stack: Stack) -> AsyncIterator[Stack]:
    """A stack that has done some work: an upload, its job, a WebSocket that was told of it, and refusals."""
    async with Client(stack.base_url, stack.admin_key) as client:
        accepted = await client.upload(b"name,age\nAda,36\n")
        await client.watch(accepted["job_id"])
    async with aiohttp.ClientSession() as session:
        for path in ("/api/v1/jobs/none", "/nothing", "/api/v1/nothing"):
            async with session.get(stack.base_url + path) as response:
                await response.read()
    yield stack


async def told_by(stack: Stack, service: str) -> str:
    return await (await scraped(stack.url(service), key=stack.admin_key)).text()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_metric_is_on_the_page_and_all_of_the_page_is_there(used: Stack, service: str) -> None:
    told = families(await told_by(used, service))
    wanted = {metric.name: metric for metric in documented() if service in metric.services}
    ours = {name for name in told if not name.startswith(_OF_THE_PROCESS)}
    assert ours == wanted.keys()
    for name, metric in wanted.items():
        assert told[name].type == metric.type, name
        for sample in told[name].samples:
            assert sample.labels.keys() - {"le"} == metric.labels.keys(), name
        for label, listed in metric.labels.items():
            seen = {sample.labels[label] for sample in told[name].samples}
            if any("…" in value for value in listed):
                listed = [value for value in listed if "…" not in value]
                assert seen >= {*listed}, name
            elif listed:
                assert seen == {*listed}, name


@pytest.mark.parametrize("service", SERVICES)
async def test_promtool_finds_nothing_to_say(used: Stack, service: str) -> None:
    promtool = await asyncio.to_thread(debian_program, "prometheus", "promtool")
    checking = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await checking.communicate((await told_by(used, service)).encode())
    assert (checking.returncode, said.decode()) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
async def test_no_label_holds_an_id_or_a_secret(used: Stack, service: str) -> None:
    for name, family in families(await told_by(used, service)).items():
        for sample in family.samples:
            for value in sample.labels.values():
                assert not _AN_ID.search(value), (name, sample.labels)


async def test_a_slow_request_can_be_found_by_the_trace_that_its_bucket_names(used: Stack) -> None:
    """The same trace at the gateway and behind it, for who reads OpenMetrics; plain text has no place for it."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"Authorization": f"Bearer {used.admin_key}", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    async with aiohttp.ClientSession(headers=headers) as session:
        # Of requests that are quick the gateway names a trace ten times a second.
        while trace not in await traces(used, "gateway", "millrace_gateway_request_duration_seconds"):
            async with session.get(f"{used.base_url}/api/v1/jobs") as answer:
                assert answer.status == 200
    assert trace in await traces(used, "processor", "millrace_http_request_duration_seconds")
    assert trace not in await told_by(used, "processor")


async def traces(stack: Stack, service: str, metric: str) -> list[str]:
    response = await scraped(stack.url(service), key=stack.admin_key, accept=_OPENMETRICS)
    assert response.content_type == "application/openmetrics-text"
    found = text_string_to_metric_families(await response.text())  # type: ignore[no-untyped-call]
    (told,) = [family for family in found if family.name == metric]
    return [sample.exemplar.labels["trace_id"] for sample in told.samples if sample.exemplar]
