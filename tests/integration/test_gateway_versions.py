"""A version can be added by rows of the table, and announced to go, without a word of any service."""

import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError

from deploy.provision import Database
from events.errors import StartupError
from fixtures.gateway import Gateway, Upstream, gateway_settings, open_gateway, read_body, read_head
from fixtures.limits import UPGRADE
from gateway.upstreams import OWN, UPSTREAMS, Route
from gateway.versions import Deprecation, Versions

# What this test declares: a path that only the new version has, one that means the same as before, and an own one.
V2 = (
    *UPSTREAMS,
    Route("/api/v2/reports", "processor"),
    Route("/api/v2/jobs", "processor", sent_as="/api/v1/jobs"),
    Route("/api/v2/auth/me", OWN, sent_as="/api/v1/auth/me"),
)
DEPRECATED = {
    "v1": {
        "deprecated_at": "2027-01-01T00:00:00Z",
        "sunset_at": "2027-07-01T00:00:00+02:00",
        "link": "https://docs.example.org/v2",
    }
}


@pytest_asyncio.fixture(scope="module")
async def gateway(gateway_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async def echo(reader: Reader, writer: Writer) -> None:
        while True:
            head = await read_head(reader)
            await read_body(reader, head)
            body = head.line.encode()
            writer.write(b"HTTP/1.1 200 OK\r\nDeprecation: @1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async with (
        Upstream.open(echo) as upstream,
        open_gateway(
            gateway_database,
            tmp_path_factory.mktemp("gateway"),
            upstream.url,
            table=V2,
            deprecated_versions=DEPRECATED,
        ) as running,
    ):
        yield running


async def test_a_version_is_rows_of_the_table(gateway: Gateway) -> None:
    assert (await gateway.ask("GET /api/v2/reports/7?x=1")).body == b"GET /api/v2/reports/7?x=1 HTTP/1.1"
    assert (await gateway.ask("GET /api/v2/jobs/7?x=1")).body == b"GET /api/v1/jobs/7?x=1 HTTP/1.1"
    own = await gateway.ask("GET /api/v2/auth/me")
    assert (own.status, json.loads(own.body)["tenant"]) == (200, "default")
    assert (await gateway.ask("GET /api/v2/uploads")).status == 404, "the new version has no uploads"


@pytest.mark.parametrize(
    "asked",
    [
        ["GET /api/v1/jobs"],
        ["GET /api/v1/auth/me"],
        ["GET /api/v1/ping"],
        ["GET /api/v1/nothing"],
        ["POST /api/v1/keys"],
        ["GET /api/v1/ws/x?token=y", *UPGRADE],
    ],
    ids=lambda asked: str(asked[0]),
)
async def test_all_answers_of_a_version_that_goes_say_when(gateway: Gateway, asked: list[str]) -> None:
    answer = await gateway.ask(*asked)
    assert answer.head.get("deprecation") == "@1798761600"
    assert answer.head.get("sunset") == "Wed, 30 Jun 2027 22:00:00 GMT"
    assert answer.head.get("link") == '<https://docs.example.org/v2>; rel="deprecation"; type="text/html"'


@pytest.mark.parametrize("line", ["GET /api/v2/jobs", "GET /ping", "GET /api/v10/jobs"])
async def test_the_others_say_nothing(gateway: Gateway, line: str) -> None:
    answer = await gateway.ask(line)
    assert (answer.head.get("deprecation"), answer.head.get("sunset")) == (None, None)


@pytest.mark.parametrize("path", ["/api/v3", "/api/v3/", "/api/v3/jobs", "/api/v0/keys"])
async def test_a_version_that_does_not_exist_is_told_with_those_that_do(gateway: Gateway, path: str) -> None:
    answer = await gateway.ask(f"GET {path}")
    assert answer.status == 404
    assert json.loads(answer.body)["detail"].endswith("There is v1 and v2.")


@pytest.mark.parametrize(
    "wrong",
    [
        {"deprecated_at": "2027-01-01"},
        {"deprecated_at": "2027-01-01T00:00:00Z", "link": "https://a\r\nX: y"},
        {"deprecated_at": "2027-01-01T00:00:00Z", "sunset": "2027-01-01T00:00:00Z"},
        {"deprecated_at": "2027-01-02T00:00:00Z", "sunset_at": "2027-01-01T00:00:00Z"},
        {},
    ],
)
async def test_a_wrong_announcement_is_refused_at_the_start(
    database: Database, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="deprecated_versions"):
        gateway_settings(database, tmp_path, "http://127.0.0.1:1", deprecated_versions={"v1": wrong})


@pytest.mark.parametrize("version", ["v3", "V1", "1"])
async def test_a_version_that_does_not_exist_is_not_announced(version: str) -> None:
    with pytest.raises(StartupError, match=f"names {version}. There is v1.$"):
        Versions(UPSTREAMS, {version: Deprecation.model_validate(DEPRECATED["v1"])})
