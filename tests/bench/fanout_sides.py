"""The contenders of the benchmark `fanout`: each a server on one core, with channels that clients follow by opening a
WebSocket, and a way to send messages to these. All messages hold `BYTES` of text."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from bench.peers import programs
from bench.processes import Watched, python, running
from bench.servers import open_broker, open_database
from deploy.provision import Database
from events.broker.rabbitmq import RabbitBroker
from events.database import open_pool
from events.delivery.relay import Relay, to_feed
from events.envelope import new_event, stream_name
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from events.ids import new_id
from events.log.append import Appended, Appender, AppendRequest
from events.log.doorbell import Doorbell
from events.telemetry import Telemetry
from fixtures.node import MODULES, installed_node

BYTES = 200
SERVER_CORE, OTHER_CORE = 0, 1  # the clients, PostgreSQL and RabbitMQ share the other one

_SECRET = "only-for-this-benchmark-and-nothing-else"
_TENANT = "bench"
_BATCH = 100
_TESTS = Path(__file__).parents[1]
_PEERS = _TESTS / "bench" / "peers"


@dataclass(frozen=True, slots=True)
class Door:
    """How a client follows a channel."""

    path: str  # {} is the channel, here and below
    header: str = ""
    talk: tuple[tuple[str, str], ...] = ()  # what it hears and then says, until it follows


class Side(Protocol):
    watched: Watched

    async def channels(self, count: int) -> list[str]: ...

    def door(self) -> Door: ...

    async def send(self, names: Sequence[str], messages: int) -> None:
        """As fast as it can, each to the next one of the channels."""


class Millrace:
    """A notifier as in production, told by the feed what is appended to the log."""

    def __init__(self, watched: Watched, appender: Appender, database: Database) -> None:
        self.watched = watched
        self._appender = appender
        self._database = database
        self._signer = PrincipalSigner(_SECRET)

    async def channels(self, count: int) -> list[str]:
        names = [str(new_id()) for _ in range(count)]
        async with open_pool(self._database.url("processor"), name="bench", size=1) as pool:
            streams = [stream_name("job", name) for name in names]
            await pool.execute("SELECT events.reserve($1, stream) FROM unnest($2::text[]) AS stream", _TENANT, streams)
        return names

    def door(self) -> Door:
        return Door("/ws/{}", self._header())

    def door_to_all(self) -> Door:
        """How a client follows everything at once."""
        talk = (
            ("", '{"id":1,"connect":{"name":"bench"}}'),
            ('"connect"', f'{{"id":2,"subscribe":{{"channel":"tenant:{_TENANT}"}}}}'),
            ('"subscribe"', ""),
        )
        return Door("/connection/websocket", self._header(), talk)

    def _header(self) -> str:
        principal = self._signer.sign(Principal(_TENANT, "key:bench", frozenset({"jobs:read", "events:read"})))
        return f"{PRINCIPAL_HEADER}: {principal}\r\n"

    async def send(self, names: Sequence[str], messages: int) -> None:
        """In requests of up to a hundred events, some at once."""
        chosen = [names[number % len(names)] for number in range(messages)]
        async with asyncio.TaskGroup() as group:
            for begin in range(0, messages, _BATCH):
                group.create_task(self._append(chosen[begin : begin + _BATCH]))

    async def _append(self, names: Sequence[str]) -> None:
        requests = []
        for name, count in Counter(names).items():
            stream, data = stream_name("job", name), _progress()
            events = tuple(
                new_event(type="job.progressed", stream=stream, tenant=_TENANT, source="/bench", data=data)
                for _ in range(count)
            )
            requests.append(AppendRequest(_TENANT, stream, events))
        outcomes = await self._appender.append_all(requests)
        assert all(isinstance(outcome, Appended) for outcome in outcomes)


def _progress() -> bytes:
    head = b'{"status":"PROCESSING","progress_percent":12,"current_step":"csv-part","step_message":"|%d ' % (
        time.monotonic_ns()
    )
    return head.ljust(BYTES - 2, b"x") + b'"}'


@asynccontextmanager
async def millrace(folder: Path) -> AsyncIterator[Millrace]:
    async with open_database() as database, open_broker() as broker_url:
        broker = RabbitBroker(broker_url, name="bench")
        async with (
            open_pool(database.url("processor"), name="bench", size=8) as pool,
            Doorbell(pool) as doorbell,
            Appender(pool, function="events.append", doorbell=doorbell) as appender,
        ):
            telemetry = Telemetry("bench")
            feed = Relay("feed", pool, doorbell, to_feed(broker, telemetry), telemetry)
            relaying = asyncio.create_task(feed.run())
            environment = {
                "MILLRACE_DATA_DIR": str(folder),
                "MILLRACE_DATABASE_URL": database.url("notifier"),
                "MILLRACE_BROKER_URL": broker_url,
                "MILLRACE_PRINCIPAL_SECRET": _SECRET,
            }
            try:
                async with _on_its_core("millrace", python("-m", "notifier"), folder, environment) as watched:
                    yield Millrace(watched, appender, database)
            finally:
                relaying.cancel()
                with suppress(asyncio.CancelledError):
                    await relaying
        await broker.close()


class Peer:
    def __init__(self, watched: Watched, door: Door) -> None:
        self.watched = watched
        self._door = door

    async def channels(self, count: int) -> list[str]:
        return [f"c{number}" for number in range(count)]

    def door(self) -> Door:
        return self._door

    async def send(self, names: Sequence[str], messages: int) -> None:
        wish = {"names": list(names), "messages": messages, "bytes": BYTES}
        url = f"http://127.0.0.1:{self.watched.port}/fan"
        patience = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=patience) as session, session.post(url, json=wish) as answer:
            answer.raise_for_status()


_PLAIN = Door("/{}")
_ROOMS = Door(
    "/socket.io/?EIO=4&transport=websocket", talk=(("", "40"), ("40{", '42["join","{}"]'), ('["joined"]', ""))
)

PEERS = {"ws": _PLAIN, "socketio": _ROOMS, "fastapi": _PLAIN, "python_socketio": _ROOMS}


@asynccontextmanager
async def peer(name: str, folder: Path) -> AsyncIterator[Peer]:
    if name in ("ws", "socketio"):
        beside = folder / name
        beside.mkdir()
        (beside / "node_modules").symlink_to(MODULES)
        for script in (f"fanout_{name}.mjs", "fanout_fan.mjs"):
            shutil.copy(_PEERS / script, beside)
        argv = [installed_node(), str(beside / f"fanout_{name}.mjs")]
    else:
        await programs.install()
        argv = [programs.PYTHON, "-m", f"bench.peers.fanout_{name}"]
    async with _on_its_core(name, argv, folder, {"PYTHONPATH": str(_TESTS)}) as watched:
        yield Peer(watched, PEERS[name])


@asynccontextmanager
async def _on_its_core(
    name: str, argv: Sequence[str], folder: Path, environment: dict[str, str]
) -> AsyncIterator[Watched]:
    on_core = ["taskset", "--cpu-list", str(SERVER_CORE), *argv]
    async with running(name, on_core, environment, folder) as watched:
        yield watched
