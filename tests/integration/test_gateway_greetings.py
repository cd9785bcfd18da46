"""WebSockets whose handshake has no credential: Centrifugo's clients show theirs in their first command."""

import asyncio
import json
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from fixtures.frames import BINARY, CLOSE, MASK, PING, PONG, TEXT, connect, frame, read_close, read_frame
from fixtures.gateway import KEY, PATIENCE, Gateway, Head, Upstream, Wire, open_gateway, read_head
from fixtures.greetings import PATH, WELCOME, Person, Service, open_place
from fixtures.limits import only
from fixtures.log import as_owner
from fixtures.sockets import ADMIN, SWITCHED, UPGRADE
from gateway import greetings
from gateway.auth.keys import new_key

INVALID = (3500, "invalid token")
NO_CONNECT = (3501, "The first command must be connect, with a token.")
STALE = (3502, "stale")


@pytest_asyncio.fixture(scope="module")
async def place(
    gateway_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Gateway, Service]]:
    many = {"connection": {"seconds": 1, "free": 10_000, "most": 10_000}}
    data_dir = tmp_path_factory.mktemp("place")
    settings: dict[str, Any] = {"greeting_timeout": PATIENCE, "greeting_bytes": 16 * 1024, "limits_connects": many}
    async with open_place(gateway_database, data_dir, **settings) as opened:
        yield opened


@pytest.fixture
def gateway(place: tuple[Gateway, Service]) -> Gateway:
    return place[0]


@pytest.fixture
def service(place: tuple[Gateway, Service]) -> Service:
    service = place[1]
    service.heads, service.heard = [], asyncio.Queue()
    return service


@asynccontextmanager
async def greeted(gateway: Gateway, *, path: str = PATH) -> AsyncIterator[tuple[Wire, Head]]:
    """A WebSocket that nobody knows yet."""
    async with gateway.wire() as wire:
        wire.request(f"GET {path}", *UPGRADE, key=None)
        head = await wire.head()
        assert head.status == 101
        yield wire, head


async def said(wire: Wire) -> tuple[int, Any]:
    async with asyncio.timeout(PATIENCE):
        opcode, payload = await read_frame(wire.reader)
    return opcode, json.loads(payload) if opcode == TEXT else payload


async def welcomed(wire: Wire, token: str) -> None:
    wire.send(frame(connect(token)))
    assert await said(wire) == (TEXT, WELCOME)


@pytest.mark.parametrize("path", [PATH, "/api/v1/connection/websocket"])
async def test_the_service_gets_the_principal_and_what_was_said_but_not_the_token(
    gateway: Gateway, service: Service, path: str
) -> None:
    subscribe = b'{"id":2 , "subscribe":{"channel":"job:1","x":[1.50, "\xc3\xa4"]}}\n'
    async with greeted(gateway, path=path) as (wire, head):
        behind = frame(b'{"id":3,"ping":{}}') + frame(b"tail", first=0x80 | BINARY)
        first = b'{"connect": {"name":"js","data":{"a": 1.0},"token":"%b"} ,"id":1}' % KEY.encode()
        wire.send(frame(first + b"\n" + subscribe) + behind)
        assert await said(wire) == (TEXT, WELCOME)
        told, newline, rest = (await service.hears()).partition(b"\n")
        assert json.loads(told) == {"id": 1, "connect": {"name": "js", "data": {"a": 1.0}}}
        assert b'{"a": 1.0}' in told, "what a client says is passed on as it wrote it"
        assert (newline, rest) == (b"\n", subscribe)
        assert [await service.hears(), await service.hears()] == [b'{"id":3,"ping":{}}', b"tail"]
        asked = service.heads[-1]
        assert KEY not in str(asked)
        assert asked.line == f"GET {path} HTTP/1.1"
        assert (service.principal.tenant, service.principal.subject) == ("default", ADMIN)
        assert asked.get("x-socket-id") == head.get("x-socket-id")
        assert UUID(head.get("x-socket-id")).version == 7


async def test_our_101_agrees_on_nothing_and_neither_does_the_services(gateway: Gateway, service: Service) -> None:
    offers = ("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: centrifuge-protobuf")
    async with gateway.wire() as wire:
        wire.request(f"GET {PATH}", *UPGRADE, *offers, key=None)
        head = await wire.head()
        assert head.status == 101
        await welcomed(wire, KEY)
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        assert head.get(name) is None
        assert service.heads[-1].get(name) is None


async def test_a_message_may_come_in_fragments_and_pings_between_them_are_answered(
    gateway: Gateway, service: Service
) -> None:
    message = connect(KEY)
    async with greeted(gateway) as (wire, _):
        wire.send(frame(message[:7], first=TEXT) + frame(b"are you there?", first=0x80 | PING))
        assert await said(wire) == (PONG, b"are you there?")
        whole = frame(message[7:20], first=0) + frame(b"", first=0x80 | PONG) + frame(message[20:], first=0x80)
        for place in range(len(whole)):
            wire.send(whole[place : place + 1])
        assert await said(wire) == (TEXT, WELCOME)
        assert json.loads(await service.hears()) == {"id": 1, "connect": {}}


async def test_a_key_or_ticket_in_the_handshake_is_the_credential_as_ever(gateway: Gateway, service: Service) -> None:
    ticket = json.loads((await gateway.ask("POST /api/v1/auth/tickets")).body)["ticket"]
    for path, key in ((PATH, KEY), (f"{PATH}?ticket={ticket}", None)):
        async with gateway.wire() as wire:
            wire.request(f"GET {path}", *UPGRADE, key=key)
            assert (await wire.head()).get("upgrade") == "websocket"
            wire.send(frame(connect("whatever")))
            assert await service.hears() == connect("whatever")


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (f"GET {PATH}", ("Authorization: Bearer wrong",), 401),
        (f"GET {PATH}?token=abc", (), 401),
        (f"GET {PATH}?ticket=abc", (), 401),
        (f"GET {PATH}", ("Origin: https://evil.example",), 403),
        ("GET /connection/other", (), 401),
        ("GET /ws", (), 401),
    ],
    ids=["a wrong header", "a token in the query", "a wrong ticket", "a foreign page", "elsewhere", "our own protocol"],
)
async def test_nobody_is_greeted_who_would_have_been_refused(
    gateway: Gateway, service: Service, line: str, fields: tuple[str, ...], status: int
) -> None:
    assert (await gateway.ask(line, *UPGRADE, *fields, key=None)).status == status
    assert service.heads == []


@pytest.mark.parametrize("wrong", ["Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: short"])
async def test_a_handshake_that_is_none_is_not_greeted(gateway: Gateway, wrong: str) -> None:
    fields = [each for each in UPGRADE if each.partition(":")[0] != wrong.partition(":")[0]]
    assert (await gateway.ask(f"GET {PATH}", *fields, wrong, key=None)).status == 401


BIG = b"x" * (16 * 1024 + 1)
ATTACKS: dict[str, tuple[bytes, tuple[int, str]]] = {
    "unmasked": (frame(connect(KEY), mask=None), (1002, "A client's frame must be masked.")),
    "a compressed message": (
        frame(connect(KEY), first=0xC0 | TEXT),
        (1002, "No extension was agreed on: the reserved bits must be 0."),
    ),
    "binary": (frame(connect(KEY), first=0x80 | BINARY), (1003, "Only text is understood.")),
    "no UTF-8": (frame(b'"\xff"'), (1007, "Text must be UTF-8.")),
    "an unknown opcode": (
        frame(b"", first=0x83),
        (1002, "The opcode is unknown, or a fragment is out of its order."),
    ),
    "a fragment of nothing": (
        frame(b"", first=0x80),
        (1002, "The opcode is unknown, or a fragment is out of its order."),
    ),
    "a message in a message": (
        frame(b"a", first=TEXT) + frame(connect(KEY)),
        (1002, "The opcode is unknown, or a fragment is out of its order."),
    ),
    "a long ping": (frame(b"x" * 126, first=0x80 | PING), (1002, "A control frame is fragmented or too long.")),
    "a fragmented ping": (frame(b"", first=PING), (1002, "A control frame is fragmented or too long.")),
    "a length in a longer form": (
        b"\x81\xfe\x00\x05" + MASK + b"hello",
        (1002, "The length is not in its shortest form."),
    ),
    "a giant message": (frame(BIG), (1009, "The first message may have 16384 bytes.")),
    "a giant that is only announced": (
        b"\x81\xff" + (1 << 62).to_bytes(8, "big"),
        (1009, "The first message may have 16384 bytes."),
    ),
    "a token of 1 MB": (frame(connect("x" * 1_000_000)), (1009, "The first message may have 16384 bytes.")),
    "a giant in fragments": (
        frame(BIG[:9000], first=TEXT) + frame(BIG[:9000], first=0),
        (1009, "The first message may have 16384 bytes."),
    ),
    "thousands of fragments": (
        frame(b"", first=TEXT) + frame(b"", first=0) * 6_000,
        (1008, "There were too many frames before the first message was whole."),
    ),
    "no JSON": (frame(b"hello"), NO_CONNECT),
    "nothing": (frame(b""), NO_CONNECT),
    "a list": (frame(b"[" + connect(KEY) + b"]"), NO_CONNECT),
    "deep JSON": (frame(b'{"id":1,"connect":' + b"[" * 16_000), NO_CONNECT),
    "another command": (frame(b'{"id":1,"subscribe":{"channel":"job:1"}}'), NO_CONNECT),
    "another command first": (frame(b'{"id":1,"ping":{}}\n' + connect(KEY)), NO_CONNECT),
    "an empty line first": (frame(b"\n" + connect(KEY)), NO_CONNECT),
    "a pong": (frame(b"{}"), NO_CONNECT),
    "no token": (frame(b'{"id":1,"connect":{}}'), NO_CONNECT),
    "an empty token": (frame(connect("")), NO_CONNECT),
    "a number for a token": (frame(connect(7)), NO_CONNECT),
    "a token beside connect": (frame(json.dumps({"id": 1, "connect": {}, "token": KEY}).encode()), NO_CONNECT),
    "a token in the data": (frame(json.dumps({"id": 1, "connect": {"data": {"token": KEY}}}).encode()), NO_CONNECT),
    "no id": (frame(json.dumps({"connect": {"token": KEY}}).encode()), NO_CONNECT),
    "a text for an id": (frame(json.dumps({"id": "1", "connect": {"token": KEY}}).encode()), NO_CONNECT),
    "a wrong key": (frame(connect(new_key())), INVALID),
    "a mistyped key": (frame(connect(KEY[:-1] + "~")), INVALID),
    "no credential of any kind": (frame(connect("secret")), INVALID),
    "a ticket": (frame(connect("mr_tkt_" + "A" * 43)), INVALID),
    "a token that is too long": (frame(connect("ey" * 5_000)), INVALID),
    "a token beyond ASCII": (frame(json.dumps({"id": 1, "connect": {"token": "ключ"}}).encode()), INVALID),
    "half a surrogate": (frame(b'{"id":1,"connect":{"token":"\\ud800"}}'), NO_CONNECT),
    "NUL": (frame(connect("\0")), INVALID),
    "an unsigned JWT": (frame(connect("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.")), INVALID),
}


@pytest.mark.parametrize(("sent", "told"), ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_ends_with_a_close_code_and_reaches_no_service(
    gateway: Gateway, service: Service, sent: bytes, told: tuple[int, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with greeted(gateway) as (wire, _):
        wire.send(sent)
        assert await read_close(wire.reader) == told
    assert service.heads == []
    assert KEY not in capsys.readouterr().out


async def test_of_a_name_that_stands_twice_the_service_sees_what_the_door_has_read(
    gateway: Gateway, service: Service
) -> None:
    async with greeted(gateway) as (wire, _):
        secret = new_key()
        twice = f'{{"connect":{{"token":"{secret}"}},"id":1,"connect":{{"token":"{secret}","token":"{KEY}"}},"id":2}}'
        wire.send(frame(twice.encode()))
        assert json.loads(await service.hears()) == {"id": 2, "connect": {}}


async def test_whoever_says_nothing_in_time_is_sent_away_however_busy(
    gateway_database: Database, tmp_path: Path
) -> None:
    async with open_place(gateway_database, tmp_path, greeting_timeout=0.3) as (gateway, service):
        async with greeted(gateway) as (silent, _), greeted(gateway) as (slow, _), greeted(gateway) as (pinging, _):
            message, pings = frame(connect(KEY)), 0
            slow.send(message[:-1])
            while (heard := await read_frame(pinging.reader) if pings else (PONG, b"")) == (PONG, b""):
                pinging.send(frame(b"", first=0x80 | PING))
                pings += 1
            assert heard == (CLOSE, b"\x0d\xaestale")
            assert pings > 3
            assert await read_close(silent.reader) == STALE
            assert await read_close(slow.reader) == STALE
        assert service.heads == []


async def test_strangers_take_places_of_their_own_and_give_them_back(
    gateway_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greetings, "SILENT_SECONDS", PATIENCE)
    trusting: Any = {"max_greetings": 3, "max_greetings_per_address": 2, "trusted_proxies": ["127.0.0.0/8"]}

    async def come(gateway: Gateway, stack: AsyncExitStack, address: str) -> Wire | int:
        wire = await stack.enter_async_context(gateway.wire())
        wire.request(f"GET {PATH}", *UPGRADE, f"X-Forwarded-For: {address}", key=None)
        head = await wire.head()
        if head.status != 101:
            assert int(head.get("retry-after") or 0) > 0
            return head.status
        return wire

    async with open_place(gateway_database, tmp_path, **trusting) as (gateway, _), AsyncExitStack() as stack:
        first, second = await come(gateway, stack, "198.51.100.1"), await come(gateway, stack, "198.51.100.1")
        assert isinstance(first, Wire)
        assert isinstance(second, Wire)
        assert await come(gateway, stack, "198.51.100.1") == 429
        third = await come(gateway, stack, "198.51.100.2")
        assert isinstance(third, Wire)
        assert await come(gateway, stack, "198.51.100.3") == 503
        assert (await gateway.ask(f"GET {PATH}", *UPGRADE, "X-Forwarded-For: 198.51.100.3")).status == 101
        first.writer.transport.abort()
        await welcomed(second, KEY)
        third.send(frame(b"nonsense"))
        assert await read_close(third.reader) == NO_CONNECT
        third.writer.transport.abort()
        async with asyncio.timeout(PATIENCE):
            found: list[Wire | int] = []
            while len([each for each in found if isinstance(each, Wire)]) < 3:  # as soon as their ends were seen
                found.append(await come(gateway, stack, f"198.51.100.{4 + len(found)}"))


async def test_where_no_more_may_wait_the_oldest_of_the_silent_gives_way(
    gateway_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greetings, "SILENT_SECONDS", 0.0)
    async with (
        open_place(gateway_database, tmp_path, max_greetings=2) as (gateway, _),
        greeted(gateway) as (first, _),
        greeted(gateway) as (second, _),
        greeted(gateway) as (third, _),
    ):
        assert await first.rest() == b"", "an SDK comes again after that"
        for wire in (second, third):
            await welcomed(wire, KEY)


@pytest.mark.parametrize("guess", [connect(new_key()), b"nonsense", b""], ids=["a wrong key", "no connect", "nothing"])
async def test_whoever_guesses_is_not_greeted_for_a_while(database: Database, tmp_path: Path, guess: bytes) -> None:
    limits = only("guess", "address", 3)
    async with open_place(database, tmp_path, limits=limits) as (gateway, _):
        async with asyncio.timeout(PATIENCE):
            attempts = 0
            while True:
                async with gateway.wire() as wire:
                    wire.request(f"GET {PATH}", *UPGRADE, key=None)
                    head = await wire.head()
                    if head.status == 429:
                        break
                    attempts += 1
                    if guess:
                        wire.send(frame(guess))
                        await read_frame(wire.reader)
        assert int(head.get("retry-after") or 0) > 0
        assert attempts >= 3
        assert (await gateway.ask(f"GET {PATH}", *UPGRADE)).status == 429, "the next guess may be the right one"


async def test_whoever_gives_up_while_his_introduction_lasts_has_not_guessed(
    database: Database, tmp_path: Path
) -> None:
    """As all do at once where something is slow: they come by one proxy's address, maybe."""
    asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def thinks(reader: Reader, _: Writer) -> None:
        await read_head(reader)
        left = asyncio.Event()
        asked.put_nowait(left)
        await reader.read()
        left.set()

    async with (
        Upstream.open(thinks) as upstream,
        open_gateway(database, tmp_path, upstream.url, limits=only("guess", "address", 3)) as gateway,
        asyncio.timeout(PATIENCE),
    ):
        for _ in range(8):
            async with greeted(gateway) as (wire, _):
                wire.send(frame(connect(KEY)))
                left = await asked.get()
            await left.wait()


@pytest_asyncio.fixture(scope="module")
async def person(place: tuple[Gateway, Service], gateway_database: Database) -> Person:
    return await Person.come(place[0], gateway_database, "ada@example.org")


@pytest_asyncio.fixture
async def owner(gateway_database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with as_owner(gateway_database) as connection:
        yield connection


async def test_an_expired_token_is_error_109_so_that_the_client_gets_another_one(
    gateway: Gateway, service: Service, person: Person
) -> None:
    async with greeted(gateway) as (wire, _):
        wire.send(frame(json.dumps({"id": 17, "connect": {"token": person.token(exp=int(time.time()) - 1)}}).encode()))
        assert await said(wire) == (TEXT, {"id": 17, "error": {"code": 109, "message": "token expired"}})
        wire.send(frame(connect(KEY)))  # it has had its chance: what comes now is not heard
        assert (await gateway.ask("GET /ping")).status == 200
    assert service.heads == []


async def test_an_access_token_opens_a_socket_until_it_expires_and_a_refresh_prolongs_it(
    gateway: Gateway, service: Service, person: Person
) -> None:
    soon = int(time.time()) + 4
    async with greeted(gateway) as (wire, head), greeted(gateway) as (kept, kept_head):
        await welcomed(wire, person.token(exp=soon))
        assert service.principal.subject == f"user:{person.login.user['id']}"
        assert service.heads[-1].get("x-socket-expires") == str(soon)
        await welcomed(kept, person.token(exp=soon))
        name = kept_head.get("x-socket-id")
        assert name != head.get("x-socket-id")
        answer = await gateway.ask(f"POST /api/v1/auth/sockets/{name}/refresh", person.login.bearer, key=None)
        assert (answer.status, json.loads(answer.body)["socket"]) == (200, name)
        assert await read_close(wire.reader) == (3005, "credential expired")
        for _ in range(2):
            await service.hears()
        kept.send(frame(b"still here"))
        assert await service.hears() == b"still here"


@pytest.mark.parametrize("shown", ["in its first command", "in the handshake"])
async def test_a_revoked_client_is_told_so_that_it_does_not_come_again(
    gateway: Gateway, service: Service, owner: asyncpg.Connection, shown: str
) -> None:
    wish = json.dumps({"name": "to be revoked", "scopes": ["jobs:read"]}).encode()
    made = json.loads((await gateway.ask("POST /api/v1/keys", "Content-Type: application/json", body=wish)).body)
    async with gateway.wire() as wire:
        wire.request(f"GET {PATH}", *UPGRADE, key=made["key"] if shown == "in the handshake" else None)
        assert (await wire.head()).status == 101
        await welcomed(wire, made["key"])
        assert (await gateway.ask(f"DELETE /api/v1/keys/{made['id']}")).status == 204
        assert await read_close(wire.reader) == (3500, "credential revoked")
    async with greeted(gateway) as (again, _):
        again.send(frame(connect(made["key"])))
        assert await read_close(again.reader) == INVALID


async def test_a_replica_that_stops_sends_away_who_is_known_and_who_is_not(
    gateway_database: Database, tmp_path: Path
) -> None:
    restarts = (3001, "The service restarts. Connect again.")
    async with AsyncExitStack() as clients, AsyncExitStack() as place:
        gateway, _ = await place.enter_async_context(open_place(gateway_database, tmp_path))
        known, _ = await clients.enter_async_context(greeted(gateway))
        unknown, _ = await clients.enter_async_context(greeted(gateway))
        await welcomed(known, KEY)
        stopping = asyncio.create_task(place.aclose())
        for wire in (known, unknown):
            assert await read_close(wire.reader) == restarts
            wire.writer.close()
        await asyncio.wait_for(stopping, PATIENCE)


@pytest.mark.parametrize(
    ("status", "error"),
    {
        b"403 Forbidden": {"code": 103, "message": "permission denied"},
        b"404 Not Found": {"code": 107, "message": "bad request"},
        b"429 Too Many Requests": {"code": 111, "message": "too many requests", "temporary": True},
        b"503 Service Unavailable": {"code": 100, "message": "internal server error", "temporary": True},
        b"401 Unauthorized": {"code": 100, "message": "internal server error", "temporary": True},
    }.items(),
    ids=lambda given: given[:3].decode() if isinstance(given, bytes) else "",
)
async def test_a_service_that_refuses_is_told_in_the_protocols_own_words(
    gateway: Gateway, service: Service, status: bytes, error: dict[str, Any]
) -> None:
    service.refusals = [status]
    async with greeted(gateway) as (wire, _):
        wire.send(frame(connect(KEY)))
        assert await said(wire) == (TEXT, {"id": 1, "error": error})


async def test_a_service_that_is_gone_is_worth_another_try(gateway_database: Database, tmp_path: Path) -> None:
    async with (
        open_gateway(gateway_database, tmp_path, "http://127.0.0.1:9") as gateway,
        greeted(gateway) as (wire, _),
    ):
        wire.send(frame(connect(KEY)))
        error = {"code": 100, "message": "internal server error", "temporary": True}
        assert await said(wire) == (TEXT, {"id": 1, "error": error})


ONE: dict[str, dict[str, Any]] = {
    "open sockets": {"max_sockets_per_subject": 1},
    "polite connects": {"limits_connects": {"connection": {"seconds": 10, "free": 1, "most": 10}}},
    "connects": {"limits_connects": {"connection": {"seconds": 10, "free": 1, "most": 1}}},
    "requests": {"limits": only("connection", "subject", 1)},
}


@pytest.mark.parametrize("limit", ONE.values(), ids=ONE)
async def test_limits_count_who_introduced_himself(database: Database, tmp_path: Path, limit: dict[str, Any]) -> None:
    async with (
        open_place(database, tmp_path, **limit) as (gateway, _),
        greeted(gateway) as (first, _),
        greeted(gateway) as (second, _),
    ):
        await welcomed(first, KEY)
        second.send(frame(connect(KEY)))
        error = {"code": 111, "message": "too many requests", "temporary": True}
        assert await said(second) == (TEXT, {"id": 1, "error": error})


async def test_what_a_service_says_at_once_is_not_lost(gateway_database: Database, tmp_path: Path) -> None:
    hello = frame(b'"hello"', mask=None)

    async def greets(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED + hello[:5])
        await read_frame(reader)
        writer.write(hello[5:])
        await reader.read()

    async with (
        Upstream.open(greets) as upstream,
        open_gateway(gateway_database, tmp_path, upstream.url) as gateway,
        greeted(gateway) as (wire, _),
    ):
        wire.send(frame(connect(KEY)))
        assert await said(wire) == (TEXT, "hello")


async def test_whatever_is_said_behind_the_first_message_waits_for_the_service(
    gateway_database: Database, tmp_path: Path
) -> None:
    go_on, heard = asyncio.Event(), asyncio.Queue[bytes]()
    much = bytes(range(256)) * 2_000

    async def late(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(SWITCHED)
        for _ in range(3):
            await heard.put((await read_frame(reader))[1])

    async with (
        Upstream.open(late) as upstream,
        open_gateway(gateway_database, tmp_path, upstream.url) as gateway,
        greeted(gateway) as (wire, _),
    ):
        wire.send(frame(connect(KEY)) + frame(much) + frame(b"end"))
        assert (await gateway.ask("GET /ping")).status == 200
        go_on.set()
        said_there = [await asyncio.wait_for(heard.get(), PATIENCE) for _ in range(3)]
        assert json.loads(said_there[0]) == {"id": 1, "connect": {}}
        assert said_there[1:] == [much, b"end"]


async def test_a_client_that_leaves_while_the_service_thinks_takes_its_connection_along(
    gateway_database: Database, tmp_path: Path
) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def thinks(reader: Reader, _: Writer) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()
        left.set()

    async with Upstream.open(thinks) as upstream, open_gateway(gateway_database, tmp_path, upstream.url) as gateway:
        async with greeted(gateway) as (wire, _):
            wire.send(frame(connect(KEY)))
            await asyncio.wait_for(asked.wait(), PATIENCE)
        await asyncio.wait_for(left.wait(), PATIENCE)
