"""The document of what is told: AsyncAPI's own parser takes it, and what is really told is as it says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import pytest_asyncio

from events.catalog import CATALOG
from events.vocabulary import IN_LOG
from fixtures.millrace import Document, Run
from fixtures.node import NodeCommand

READER = Path(__file__).parents[1] / "node" / "read_asyncapi.mjs"
WORKFLOW = {
    "name": "told",
    "steps": {
        "say": {"uses": "emit", "with": {"data": {"of": "this"}}},
        "ask": {"uses": "approve", "with": {"question": "Well?"}, "depends": ["say"]},
        "fail": {"uses": "csv-profile", "with": {"blob": "there is none"}, "depends": ["ask"]},
    },
}


@pytest_asyncio.fixture(scope="module")
async def client(millrace: Run) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(millrace.url, headers={"X-API-Key": millrace.admin_key}) as session:
        yield session


@pytest_asyncio.fixture(scope="module")
async def told(client: aiohttp.ClientSession) -> Document:
    async with client.get("/api/v1/asyncapi.json") as answer:
        assert answer.status == 200
        return dict(await answer.json())


def messages(document: Document) -> dict[str, jsonschema_rs.Draft7Validator]:
    components = {"components": {"schemas": document["components"]["schemas"]}}
    return {
        name: jsonschema_rs.Draft7Validator(message["payload"] | components, validate_formats=True)
        for name, message in document["components"]["messages"].items()
    }


@pytest.mark.timeout(600)  # the first time, Node is fetched
async def test_the_official_parser_finds_nothing_wrong(
    told: Document, node_command: NodeCommand, tmp_path: Path
) -> None:
    document = tmp_path / "asyncapi.json"
    document.write_text(json.dumps(told))
    process = await asyncio.create_subprocess_exec(*node_command(READER), str(document), stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    found = json.loads(out)
    assert [each["code"] for each in found["diagnostics"]] == ["asyncapi-latest-version"], "3.0 is what tools know"
    assert {"job:{id}", "job:*", "tenant:{tenant}", "/ws/{id}", "{tenant}.{category}.{verb}"} <= set(found["addresses"])
    assert set(found["messages"]) >= IN_LOG.keys()


def test_every_type_of_the_catalog_has_a_message_and_a_channel(told: Document) -> None:
    components = told["components"]
    assert components["messages"].keys() >= CATALOG.keys()
    assert {name for channel in told["channels"].values() for name in channel["messages"]} >= CATALOG.keys()
    for channel in told["channels"].values():
        for server in channel["servers"]:
            assert server["$ref"].removeprefix("#/servers/") in told["servers"]


async def test_who_has_it_need_not_get_it_again_and_the_index_and_the_page_lead_to_it(
    client: aiohttp.ClientSession, document: Document
) -> None:
    assert "(/api/v1/asyncapi.json)" in document["info"]["description"], "which the page shows as a link"
    async with client.get("/") as index:
        path = (await index.json())["links"]["asyncapi"]
    async with client.get(path) as first:
        etag = first.headers["ETag"]
    async with client.get("/asyncapi.json", headers={"If-None-Match": etag}) as again:
        assert again.status == 304


async def test_what_is_told_is_as_the_document_says(client: aiohttp.ClientSession, told: Document) -> None:
    known = messages(told)
    async with client.post("/api/v1/workflows", json=WORKFLOW) as published:
        assert published.status == 201
    async with client.post("/api/v1/jobs", json={"workflow": "told"}) as started:
        job = (await started.json())["id"]
    async with client.post(f"/api/v1/jobs/{job}/signals/ask", json={"approved": True}) as answered:
        assert answered.status == 202
    async with client.post("/api/v1/uploads", data=b"a,b\n1,2\n") as uploaded:
        assert uploaded.status == 202
    async with client.post("/api/v1/keys", json={"name": "told", "scopes": ["jobs:read"]}) as made:
        assert made.status == 201

    frames: list[Mapping[str, Any]] = []
    async with client.ws_connect(f"/ws/{job}?after=0") as socket:
        async for message in socket:
            frames.append(message.json())
            if frames[-1]["status"] == "FAILED":
                break
    events: list[Mapping[str, Any]] = []
    async with asyncio.timeout(60):
        while not {"key.created", "upload.completed", "workflow.published"} <= {event["type"] for event in events}:
            async with client.get("/api/v1/events?limit=1000") as page:
                events = (await page.json())["items"]
    assert {"job.created", "job.emitted", "job.signalled", "job.failed"} <= {frame["type"] for frame in frames}
    for event in events:
        known[event["type"]].validate(event)
    for frame in frames:
        known[f"frame.{frame['type']}"].validate(frame)
        assert frame["version"] == frames.index(frame) + 1
        assert not known["frame.job.claimed"].is_valid(frame)
