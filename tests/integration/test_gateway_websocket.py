"""WebSockets through the door: authenticated before the upgrade, a plain tunnel behind it."""

import asyncio
import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from deploy.provision import Database
from events.identity import PRINCIPAL_HEADER, PrincipalSigner
from fixtures.gateway import KEY, PATIENCE, Gateway, Upstream, open_gateway, read_head
from fixtures.parts import PRINCIPAL_SECRET

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)

OnSocket = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


@asynccontextmanager
async def websocket_service(on_socket: OnSocket) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 26)
        await socket.prepare(request)
        await on_socket(socket, request)
        return socket

    app = web.Application()
    app.router.add_get("/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}, timeout=timeout) as session:
        yield session


async def echo(socket: web.WebSocketResponse, _: web.Request) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        else:
            await socket.send_str(message.data)


@pytest.mark.parametrize("path", ["/ws", "/ws/job-1?after=3", "/api/v1/ws/job-1", "/connection/websocket"])
async def test_messages_pass_both_ways(database: Database, tmp_path: Path, path: str) -> None:
    seen: list[str] = []

    async def tells(socket: web.WebSocketResponse, request: web.Request) -> None:
        seen.append(request.raw_path)
        principal = PrincipalSigner(PRINCIPAL_SECRET).verify(request.headers[PRINCIPAL_HEADER])
        assert principal.tenant == "default"
        assert "Authorization" not in request.headers
        await echo(socket, request)

    async with (
        websocket_service(tells) as service,
        open_gateway(database, tmp_path, service) as gateway,
        client() as session,
        session.ws_connect(gateway.url + path, headers={PRINCIPAL_HEADER: "forged"}) as socket,
    ):
        for text in ("one", "zwei", "三"):
            await socket.send_str(text)
            assert await socket.receive_str() == text
        assert seen == [path]


async def test_a_big_message_arrives_whole(database: Database, tmp_path: Path) -> None:
    message = bytes(range(256)) * (1 << 17)  # 32 MiB
    async with (
        websocket_service(echo) as service,
        open_gateway(database, tmp_path, service) as gateway,
        client() as session,
        session.ws_connect(gateway.url + "/ws", max_msg_size=1 << 26) as socket,
    ):
        await socket.send_bytes(message)
        assert await socket.receive_bytes() == message


async def test_close_codes_pass_both_ways(database: Database, tmp_path: Path) -> None:
    closed: asyncio.Queue[tuple[int | None, str]] = asyncio.Queue()

    async def closes(socket: web.WebSocketResponse, _: web.Request) -> None:
        message = await socket.receive()
        if message.data == "close":
            await socket.close(code=4321, message=b"enough")
        else:
            await closed.put((message.data, message.extra or ""))

    async with (
        websocket_service(closes) as service,
        open_gateway(database, tmp_path, service) as gateway,
        client() as session,
    ):
        async with session.ws_connect(gateway.url + "/ws") as socket:
            await socket.send_str("close")
            message = await socket.receive()
            assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4321, "enough")
        async with session.ws_connect(gateway.url + "/ws") as socket:
            await socket.close(code=4001, message=b"bye")
        assert await asyncio.wait_for(closed.get(), PATIENCE) == (4001, "bye")


@pytest.mark.parametrize("status", [401, 404, 422, 429])
async def test_a_refused_upgrade_reaches_the_client_as_the_service_said_it(
    database: Database, tmp_path: Path, status: int
) -> None:
    problem = json.dumps({"status": status, "code": "because"}).encode()

    async def refuses(reader: Reader, writer: Writer) -> None:
        while True:
            assert (await read_head(reader)).get("upgrade") == "websocket"
            fields = b"Content-Type: application/problem+json\r\nRetry-After: 3\r\nContent-Length: %d" % len(problem)
            writer.write(b"HTTP/1.1 %d No\r\n%b\r\n\r\n%b" % (status, fields, problem))

    async with (
        Upstream.open(refuses) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        for _ in range(2):  # the connection is still good for another try
            wire.request("GET /ws/job-1", *UPGRADE)
            answer = await wire.answer()
            assert (answer.status, answer.body) == (status, problem)
            assert answer.head.get("content-type") == "application/problem+json"
            assert answer.head.get("retry-after") == "3"


async def test_the_switch_of_protocols_is_relayed_with_our_request_id(database: Database, tmp_path: Path) -> None:
    async def switches(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        assert head.get("sec-websocket-key") == "A" * 22 + "=="
        writer.write(SWITCHED + b"first words")
        await reader.read()

    async with (
        Upstream.open(switches) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /ws", *UPGRADE, "X-Request-ID: mine-1")
        head = await wire.head()
        assert head.status == 101
        assert UUID(head.get("x-socket-id")).version == 7
        ours = [field for field in head.fields if field[0] != "x-socket-id" and not field[0].startswith("ratelimit")]
        assert sorted(ours) == [
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "x"),
            ("upgrade", "websocket"),
            ("x-request-id", "mine-1"),
        ]
        assert await asyncio.wait_for(wire.reader.readexactly(11), PATIENCE) == b"first words"


async def test_the_service_is_told_what_the_socket_is_called_by_us_alone(database: Database, tmp_path: Path) -> None:
    told: list[str | None] = []

    async def switches(reader: Reader, writer: Writer) -> None:
        head = await read_head(reader)
        told.extend((head.get("x-socket-id"), head.get("x-socket-expires")))
        writer.write(SWITCHED.replace(b"\r\n\r\n", b"\r\nX-Socket-Id: the service's own\r\n\r\n"))
        await reader.read()

    async with (
        Upstream.open(switches) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /ws", *UPGRADE, "X-Socket-Id: the client's own", "X-Socket-Expires: 1")
        name = (await wire.head()).get("x-socket-id")
        assert name is not None
        assert UUID(name).version == 7
        assert told == [name, None], "a key that never expires"


async def test_what_a_client_says_before_the_switch_is_not_lost(database: Database, tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def late(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(SWITCHED)
        writer.write(await reader.readexactly(100_005))

    async with (
        Upstream.open(late) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /ws", *UPGRADE)
        early = b"x" * 100_000 + b"early"
        wire.send(early)
        assert (await gateway.ask("GET /ping")).status == 200
        go_on.set()
        assert (await wire.head()).status == 101
        assert await asyncio.wait_for(wire.reader.readexactly(len(early)), PATIENCE) == early


async def test_a_half_close_passes_and_the_service_has_the_last_word(database: Database, tmp_path: Path) -> None:
    async def last_word(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        heard = await reader.read()
        writer.write(b"heard " + heard)

    async with (
        Upstream.open(last_word) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /ws", *UPGRADE)
        assert (await wire.head()).status == 101
        wire.send(b"bye")
        wire.writer.write_eof()
        assert await wire.rest() == b"heard bye"


@pytest.mark.parametrize("who", ["client", "service"])
async def test_whoever_leaves_takes_the_other_along(database: Database, tmp_path: Path, who: str) -> None:
    ended = asyncio.Event()

    async def service(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        if who == "service":
            await writer.drain()
            writer.transport.abort()
            return
        await reader.read()
        ended.set()

    async with Upstream.open(service) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        async with gateway.wire() as wire:
            wire.request("GET /ws", *UPGRADE)
            if who == "service":
                await wire.rest()
                return
            assert (await wire.head()).status == 101
        await asyncio.wait_for(ended.wait(), PATIENCE)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_side_that_does_not_read_stops_the_other(database: Database, tmp_path: Path, direction: str) -> None:
    go_on = asyncio.Event()
    pouring: asyncio.Future[asyncio.Task[None]] = asyncio.get_running_loop().create_future()
    size, pieces = 1 << 20, 128
    one_frame = b"\x82\x7f" + (size * pieces).to_bytes(8, "big")

    async def pour(writer: Writer) -> None:
        writer.write(one_frame)
        for _ in range(pieces):
            writer.write(bytes(size))
            await writer.drain()

    async def service(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        if direction == "down":
            pouring.set_result(asyncio.create_task(pour(writer)))
            await pouring.result()
        else:
            await go_on.wait()
            await reader.readexactly(len(one_frame) + size * pieces)
            writer.write(b"all")

    async with (
        Upstream.open(service) as upstream,
        open_gateway(database, tmp_path, upstream.url) as gateway,
        gateway.wire() as wire,
    ):
        wire.request("GET /ws", *UPGRADE)
        assert (await wire.head()).status == 101
        if direction == "up":
            pouring.set_result(asyncio.create_task(pour(wire.writer)))
        task = await asyncio.wait_for(pouring, PATIENCE)
        for _ in range(30):
            assert (await gateway.ask("GET /ping")).status == 200
        assert not task.done()
        go_on.set()
        if direction == "up":
            assert await asyncio.wait_for(wire.reader.readexactly(3), PATIENCE) == b"all"
        else:
            await asyncio.wait_for(wire.reader.readexactly(len(one_frame) + size * pieces), PATIENCE)
        await task


async def test_a_service_that_does_not_answer_the_handshake_is_504(database: Database, tmp_path: Path) -> None:
    async def silent(reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with (
        Upstream.open(silent) as upstream,
        open_gateway(database, tmp_path, upstream.url, handshake_timeout=0.2) as gateway,
    ):
        answer = await gateway.ask("GET /ws", *UPGRADE)
        assert (answer.status, json.loads(answer.body)["code"]) == (504, "upstream_timeout")


async def test_an_upgrade_elsewhere_is_an_ordinary_request(database: Database, tmp_path: Path) -> None:
    async def plain(reader: Reader, writer: Writer) -> None:
        assert (await read_head(reader)).get("upgrade") is None
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    async with Upstream.open(plain) as upstream, open_gateway(database, tmp_path, upstream.url) as gateway:
        assert (await gateway.ask("GET /api/v1/jobs", *UPGRADE)).body == b"[]"
        missing = await gateway.ask("GET /nowhere", *UPGRADE)
        assert (missing.status, json.loads(missing.body)["code"]) == (404, "not_found")


async def test_connections_to_a_service_have_a_limit_that_tunnels_count_in(database: Database, tmp_path: Path) -> None:
    async def switches(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCHED)
        await reader.read()

    async def refused(gateway: Gateway) -> bool:
        return (await gateway.ask("GET /ws", *UPGRADE)).status == 503

    async with (
        Upstream.open(switches) as upstream,
        open_gateway(database, tmp_path, upstream.url, upstream_connections=2) as gateway,
        gateway.wire() as one,
        gateway.wire() as two,
        gateway.wire() as three,
    ):
        for wire in (one, two):
            wire.request("GET /ws", *UPGRADE)
            assert (await wire.head()).status == 101
        assert await refused(gateway)
        one.writer.write_eof()
        assert await one.rest() == b""
        three.request("GET /ws", *UPGRADE)
        assert (await three.head()).status == 101
        assert await refused(gateway)
