"""Secrets are sent to every route, in every place where a client might put them. Afterwards they are nowhere in
clear: not in a log, span, metric, event or table, nor in the answer to whoever sent one to the wrong place."""

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from deploy.stack import SERVICES, Stack
from fixtures.fuzz import UNLIMITED

PASSWORD = "a-planted-password-of-ours"
_HEADERS = (
    *("Authorization", "X-API-Key", "Cookie", "Idempotency-Key"),
    *("Proxy-Authorization", "X-Millrace-Principal", "Traceparent"),
)
WRONG_PASSWORD = "a-planted-password-that-is-wrong"


@dataclass
class Collector:
    """An OpenTelemetry collector that keeps what it is sent."""

    url: str
    spans: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def open_collector() -> AsyncIterator[Collector]:
    async def take(request: web.Request) -> web.Response:
        collector.spans += await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector = Collector(f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        yield collector
    finally:
        await runner.cleanup()


async def call(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, str]:
    async with session.request(method, path, **options) as answer:
        return answer.status, await answer.text(errors="replace")


async def made(session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> dict[str, Any]:
    status, text = await call(session, "POST", f"/api/v1{path}", json=body, headers=headers)
    assert status in (200, 201), text
    return dict(json.loads(text))


async def plant(session: aiohttp.ClientSession, admin_key: str) -> dict[str, str]:
    """One secret of each kind, all of them good."""
    admin = {"Authorization": f"Bearer {admin_key}"}
    person = await made(
        session, "/auth/register", {"email": "a@example.org", "password": PASSWORD, "display_name": "A"}
    )
    bearer = {"Authorization": f"Bearer {person['access_token']}"}
    key = await made(session, "/keys", {"name": "planted", "scopes": ["jobs:read", "keys:admin"]}, **admin)
    return {
        "admin key": admin_key,
        "key": key["key"],
        "rotated key": (await made(session, f"/keys/{key['id']}/rotate", {"overlap_seconds": 600}, **admin))["key"],
        "access token": person["access_token"],
        "refresh token": person["refresh_token"],
        "invitation": (await made(session, "/auth/invitations", {"role": "viewer"}, **bearer))["invitation"],
        "ticket": (await made(session, "/auth/tickets", {}, **bearer))["ticket"],
        "password": PASSWORD,
        "wrong password": WRONG_PASSWORD,
    }


def places(secret: str) -> Iterator[dict[str, Any]]:
    """Where a client might put it."""
    for name in (
        "Authorization",
        "X-API-Key",
        "Cookie",
        "Idempotency-Key",
        "Proxy-Authorization",
        "X-Millrace-Principal",
        "Traceparent",
    ):
        yield {"headers": {name: secret}}
    yield {"headers": {"Authorization": f"Bearer {secret}"}}
    yield {"headers": {"Authorization": "Basic " + b64encode(f"user:{secret}".encode()).decode()}}
    names = ("key", "api_key", "token", "access_token", "ticket", "password", "X-API-Key", "jwt")
    yield {"params": dict.fromkeys(names, secret)}
    yield {"json": {"password": secret, "refresh_token": secret, "invitation": secret, "email": "a@example.org"}}
    yield {"data": f'{{"password": "{secret}"', "headers": {"Content-Type": "application/json"}}
    yield {"data": urlencode({"password": secret}), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


async def send_everywhere(session: aiohttp.ClientSession, secrets: Mapping[str, str], document: Any) -> int:
    sent = 0
    for kind, secret in secrets.items():
        for path, methods in document["paths"].items():
            if path == "/api/v1/auth/logout":
                continue  # it would end the session, and the rest would prove nothing
            for method in methods:
                for place in places(secret):
                    if kind == "key" and method == "delete":
                        continue
                    used = path.format_map(_Ids())
                    _, answer = await call(session, method.upper(), used, **place)
                    assert secret not in answer, f"{kind} in {place} comes back from {method} {path}"
                    sent += 1
    return sent


class _Ids(dict[str, str]):
    """An id for each parameter of a path."""

    def __missing__(self, name: str) -> str:
        return "0123456789ab" if name == "key_id" else "01a1fbea-6fbc-7335-a459-98abf90680e7"


async def knock(url: str, secrets: Mapping[str, str]) -> None:
    """The same at the WebSockets, where a query is read. A path has to be in a log: what has a form of ours is blanked
    there too, but nobody can tell a password from a name."""
    address = url.replace("http", "ws", 1)
    for kind, secret in secrets.items():
        for name in ("ticket", "access_token", "token", "key", "api_key"):
            segment = "x" if "password" in kind else secret
            for path in ("/ws", f"/ws/{segment}", "/api/v1/ws", "/connection/websocket"):
                try:
                    async with connect(f"{address}{path}?{name}={quote(secret, safe='')}"):
                        pass
                except InvalidHandshake:
                    pass


def forms(secret: str) -> Iterator[bytes]:
    """As it is, and as it is written in places that encode."""
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    for encode in (b64encode, urlsafe_b64encode):
        for shift in range(3):  # base64 reads three bytes at a time: what is before it moves its letters
            encoded = encode(b"\0" * shift + raw)
            yield encoded[4 if shift else 0 : -4]
    yield raw.hex().encode()


async def tables(url: str) -> dict[str, bytes]:
    """Every row of every table of ours, as text."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        return {
            f"table {row['name']}": "\n".join(
                each["text"] for each in await connection.fetch(f"SELECT t::text AS text FROM {row['name']} AS t")
            ).encode()
            for row in names
        }
    finally:
        await connection.close()


async def test_secrets_sent_everywhere_are_nowhere_in_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("MILLRACE_LOG_LEVEL", "DEBUG")
        monkeypatch.setenv("MILLRACE_LOCKOUT_FAILURES", "1000000")
        monkeypatch.setenv("MILLRACE_LIMITS", UNLIMITED["MILLRACE_LIMITS"])
        async with Stack.open(tmp_path) as stack:
            found: dict[str, bytes] = {}
            async with aiohttp.ClientSession(stack.base_url) as session:
                secrets = await plant(session, stack.admin_key)
                document = json.loads((await call(session, "GET", "/api/v1/openapi.json"))[1])
                assert await send_everywhere(session, secrets, document) > 2000
                await knock(stack.base_url, secrets)
                admin = {"X-API-Key": stack.admin_key}
                found["metrics of gateway"] = (await call(session, "GET", "/metrics", headers=admin))[1].encode()
                for service in SERVICES[:-1]:
                    metrics = await call(session, "GET", f"{stack.url(service)}/metrics")
                    found[f"metrics of {service}"] = metrics[1].encode()
            await stack.stop_services()  # so that every span has been sent
            found |= await tables(stack.postgres.admin_url("millrace"))
            found |= {f"log {path.name}": path.read_bytes() for path in stack.logs.iterdir()}
            found["spans"] = bytes(collector.spans)
        key_id = secrets["key"].split("_")[2]
        for place in ("table gateway.keys", "table gateway.users", "spans", "log gateway.log"):
            assert found.get(place), f"{place} is not among {sorted(found)}"
        assert key_id.encode() in found["table gateway.keys"], "the search finds what is there"
        assert any(key_id.encode() in rows for name, rows in found.items() if name.startswith("table events.")), "audit"
        assert b"/api/v1/keys" in found["spans"]
        leaks = [
            f"{kind} in {place}"
            for kind, secret in secrets.items()
            for place, content in found.items()
            for form in forms(secret)
            if form in content
        ]
        assert leaks == []
