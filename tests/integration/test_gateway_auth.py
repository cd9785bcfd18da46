"""Who may come in."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.provision import Database
from events.telemetry import configure_logging
from fixtures.gateway import KEY, Gateway, Upstream, open_gateway, read_body, read_head
from gateway.auth.keys import new_key

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
)
OTHER_KEY = new_key()
MISTYPED = KEY[:-8] + ("a" if KEY[-8] != "a" else "b") + KEY[-7:]


@pytest_asyncio.fixture(scope="module")
async def gateway(gateway_database: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    tmp_path = tmp_path_factory.mktemp("gateway")
    configure_logging(tmp_path / "logs" / "gateway.log", "INFO")

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            await read_body(reader, head)
            assert KEY not in str(head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with Upstream.open(answers) as upstream, open_gateway(gateway_database, tmp_path, upstream.url) as running:
        yield running


@pytest.mark.parametrize("header", ["Authorization: Bearer", "authorization: bearer", "x-api-key:"])
async def test_a_key_opens_the_door_in_either_header(gateway: Gateway, header: str) -> None:
    credential = f"{header} {KEY}"
    assert (await gateway.ask("GET /api/v1/jobs", credential, key=None)).status == 200


REFUSED = {
    "nothing": (),
    "an unknown key": (f"X-API-Key: {OTHER_KEY}",),
    "a mistyped key": (f"X-API-Key: {MISTYPED}",),
    "a truncated key": (f"X-API-Key: {KEY[:-1]}",),
    "a longer key": (f"X-API-Key: {KEY}0",),
    "an empty key": ("X-API-Key:",),
    "an empty bearer": ("Authorization: Bearer",),
    "another scheme": (f"Authorization: Basic {KEY}",),
    "two credentials": (f"Authorization: Bearer {KEY}", f"X-API-Key: {KEY}"),
    "two keys": (f"X-API-Key: {KEY}", f"X-API-Key: {OTHER_KEY}"),
    "an unsigned token": ("Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",),
    "a huge credential": ("Authorization: Bearer " + "x" * 9000,),
    "bytes that are no text": ("X-API-Key: ÿþ",),
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
async def test_without_a_valid_key_it_is_401_with_a_problem(
    gateway: Gateway, fields: tuple[str, ...], websocket: bool
) -> None:
    line, extra = ("GET /ws/1", WEBSOCKET) if websocket else ("GET /api/v1/jobs", ())
    answer = await gateway.ask(line, *extra, *fields, key=None)
    assert answer.status == 401
    assert answer.head.get("www-authenticate") == "Bearer"
    assert answer.head.get("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["code"]) == (401, "unauthenticated")
    assert problem["instance"] == line.split()[1]
    for secret in (KEY, OTHER_KEY, MISTYPED):
        assert secret not in answer.body.decode()


async def test_a_mistyped_key_is_told_apart_from_a_wrong_one(gateway: Gateway) -> None:
    async def detail(key: str) -> str:
        return str(json.loads((await gateway.ask("GET /api/v1/jobs", key=key)).body)["detail"])

    assert "mistyped" in await detail(MISTYPED)
    assert "is unknown" in await detail(OTHER_KEY)


async def test_an_upload_without_a_key_is_refused_before_its_body_is_read(gateway: Gateway) -> None:
    async with gateway.wire() as wire:
        wire.request("POST /api/v1/uploads", "Content-Length: 1000000000", key=None)
        answer = await wire.answer()
        assert (answer.status, answer.head.get("connection")) == (401, "close")


async def test_a_path_that_leads_nowhere_needs_no_key_to_say_so(gateway: Gateway) -> None:
    answer = await gateway.ask("GET /api/v1/nothing", key=None)
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "not_found")
