"""What a browser is told: which pages may use us, and that nothing of ours is to be run or framed."""

import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import pytest

from deploy.provision import Database
from fixtures.gateway import Upstream, open_gateway, read_body, read_head

OURS = "https://app.example.org"
PREFLIGHT = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization, upload-offset")


async def page(reader: Reader, writer: Writer) -> None:
    """A service with a policy of its own, and with opinions that are not its to have."""
    while True:
        await read_body(reader, await read_head(reader))
        fields = [
            "HTTP/1.1 200 OK",
            "Content-Type: text/html",
            "Content-Security-Policy: default-src 'self'",
            "Access-Control-Allow-Origin: *",
            "Referrer-Policy: unsafe-url",
            "X-Content-Type-Options: whatever",
            "Content-Length: 0",
        ]
        writer.write("\r\n".join([*fields, "", ""]).encode())


async def test_a_page_of_an_allowed_origin_may_read_answers(database: Database, tmp_path: Path) -> None:
    async with (
        Upstream.open(page) as upstream,
        open_gateway(database, tmp_path, upstream.url, allowed_origins=OURS) as gateway,
    ):
        for line in ("GET /api/v1/jobs", "GET /ping", "GET /nothing/here"):
            answer = await gateway.ask(line, f"Origin: {OURS}")
            assert answer.head.get("access-control-allow-origin") == OURS
            assert answer.head.get("access-control-expose-headers") == "*"
            assert "origin" in answer.head.all("vary")
            assert answer.head.get("access-control-allow-credentials") is None
        refused = await gateway.ask("GET /api/v1/jobs", f"Origin: {OURS}", key="mr_live_wrong")
        assert (refused.status, refused.head.get("access-control-allow-origin")) == (401, OURS)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.org.evil.example", "%00"])
async def test_a_page_of_another_origin_may_not(database: Database, tmp_path: Path, origin: str) -> None:
    async with (
        Upstream.open(page) as upstream,
        open_gateway(database, tmp_path, upstream.url, allowed_origins=OURS) as gateway,
    ):
        answer = await gateway.ask("GET /api/v1/jobs", f"Origin: {origin}")
        assert (answer.status, answer.head.get("access-control-allow-origin")) == (200, None)
        assert answer.head.get("vary") == "origin", "a cache must not give this answer to a page of ours"
        asked = await gateway.ask("OPTIONS /api/v1/jobs", f"Origin: {origin}", *PREFLIGHT, key=None)
        assert (asked.status, json.loads(asked.body)["code"]) == (403, "forbidden")
        assert upstream.connections == 1


async def test_a_browser_that_asks_first_needs_no_credential(database: Database, tmp_path: Path) -> None:
    async with (
        Upstream.open(page) as upstream,
        open_gateway(database, tmp_path, upstream.url, allowed_origins=f"{OURS}, http://localhost:5173") as gateway,
    ):
        for origin in (OURS, "http://localhost:5173"):
            asked = await gateway.ask("OPTIONS /api/v1/uploads", f"Origin: {origin}", *PREFLIGHT, key=None)
            assert asked.status == 204
            assert asked.head.get("access-control-allow-origin") == origin
            assert "PUT" in (asked.head.get("access-control-allow-methods") or "").split(", ")
            assert asked.head.get("access-control-allow-headers") == "authorization, upload-offset"
            assert asked.head.get("access-control-max-age") == "7200"
        assert upstream.connections == 0


async def test_every_origin_may_if_it_is_said_so(database: Database, tmp_path: Path) -> None:
    async with (
        Upstream.open(page) as upstream,
        open_gateway(database, tmp_path, upstream.url, allowed_origins="*") as gateway,
    ):
        answer = await gateway.ask("GET /api/v1/jobs", "Origin: https://any.example")
        assert (answer.head.get("access-control-allow-origin"), answer.head.get("vary")) == ("*", None)


async def test_nothing_is_run_framed_or_kept_for_others(database: Database, tmp_path: Path) -> None:
    async with (
        Upstream.open(page) as upstream,
        open_gateway(database, tmp_path, upstream.url, https_only_seconds=3600) as gateway,
    ):
        for line in ("GET /ping", "GET /nothing", "GET /api/v1/jobs", "GET /api/v1/uploads"):
            answer = await gateway.ask(line)
            assert answer.head.get("x-content-type-options") == "nosniff"
            assert answer.head.get("referrer-policy") == "no-referrer"
            assert answer.head.get("strict-transport-security") == "max-age=3600"
            assert answer.head.get("access-control-allow-origin") is None
        own = await gateway.ask("GET /ping", key=None)
        assert own.head.get("content-security-policy") == "default-src 'none'; frame-ancestors 'none'"
        theirs = await gateway.ask("GET /api/v1/jobs")
        assert theirs.head.get("content-security-policy") == "default-src 'self'"
        assert theirs.head.get("cache-control") == "private, no-cache"


async def test_http_only_is_promised_to_nobody_by_default(database: Database, tmp_path: Path) -> None:
    async with Upstream.open(page) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        answer = await gateway.ask("GET /api/v1/jobs")
        assert answer.head.get("strict-transport-security") is None
