"""How many clients a notifier tells how much, on one core, beside Node's ws and Socket.IO, python-socketio and FastAPI
in the same run. Ours is the notifier as in production: it hears of events by RabbitMQ's feed of a real log, whose work,
like that of the clients, is on the other core. The peers send what they make themselves.

Coalesced: messages come as fast as the log takes them. One by one: the next one is sent when everybody has the one
before, so that nothing can be joined; what counts is then the server's CPU, since most of the time it waits.
"""

import asyncio
import json
import os
import resource
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.fanout_sides import BYTES, OTHER_CORE, PEERS, Door, Millrace, Side, millrace, peer
from bench.report import Aim, Result
from events.running import garbage

AIMS = {
    "coalesced_per_s": Aim(at_least=2_000_000),
    "uncoalesced_per_s": Aim(at_least=120_000),
    "over_socketio": Aim(at_least=8),
    "over_python_socketio": Aim(at_least=25),
    "p99_ms_10k": Aim(at_most=50),
    "idle_kib": Aim(at_most=10),
}

CONNECTIONS = (100, 1_000, 10_000)
# python-socketio needs more than five minutes for ten times as many; FastAPI was not tried with them.
MOST_CONNECTIONS = {"fastapi": 1_000, "python_socketio": 1_000}
HOT_DELIVERIES = 4_000_000
PEER_DELIVERIES = 200_000
COLD_MESSAGES = 40_000
ONE_BY_ONE = 100_000  # deliveries
STEADY_SECONDS = 15
STEADY_DELIVERIES_PER_S = 20_000
STEADY_CHANNELS = 1_000
STALLING_MESSAGES = 4_000  # some 1.5 MB, which neither a socket nor a notifier keeps for anybody
RETURNING, MISSED = 1_000, 1_000  # clients, and the messages that each has missed
_LOAD = Path(__file__).with_name("fanout_load.py")
_PATIENCE_SECONDS = 120
_SHORTEST_SECONDS = 0.01  # between two sendings


@dataclass(frozen=True, slots=True)
class Told:
    """What the clients of one side have received, and what it cost."""

    deliveries: int
    bytes: int
    seconds: float
    server_seconds: float  # of CPU
    load_seconds: float  # of CPU, that the clients took
    waits_ms: dict[str, float]

    @property
    def per_s(self) -> float:
        return self.deliveries / self.seconds

    @property
    def cpu_us(self) -> float:
        return 1e6 * self.server_seconds / self.deliveries


class Load:
    """The clients, in a process of their own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def open(self, side: Side, names: Sequence[str]) -> None:
        """A client for each of these channels."""
        await self._open(side, side.door(), names, stall=False)

    async def open_stalled(self, side: Millrace, count: int) -> None:
        """Clients that follow everything and stop reading at once."""
        await self._open(side, side.door_to_all(), [""] * count, stall=True)

    async def _open(self, side: Side, door: Door, names: Sequence[str], *, stall: bool) -> None:
        await self._do(
            "open",
            port=side.watched.port,
            paths=[door.path.replace("{}", name) for name in names],
            header=door.header,
            talks=[[(hears, says.replace("{}", name)) for hears, says in door.talk] for name in names],
            stall=stall,
        )

    async def count(
        self, side: Side, expected: int, send: Callable[[], Awaitable[None]], *, times: int = 1, timed: bool = False
    ) -> Told:
        """What came of sending, so many times, each when all of the one before had come."""
        found: list[dict[str, Any]] = []
        side.watched.begin()
        for _ in range(times):
            await self._do("count", expected=expected, seconds=_PATIENCE_SECONDS, timed=timed)
            await send()  # it counts by now
            found.append(await self._answer())
            if found[-1]["counted"] != expected:
                raise RuntimeError(f"Of {expected} messages {found[-1]['counted']} came.")
        return Told(
            expected * times,
            sum(each["bytes"] for each in found),
            sum(each["seconds"] for each in found),
            side.watched.cpu_seconds,
            sum(each["cpu_seconds"] for each in found),
            found[-1]["waits_ms"],
        )

    async def close(self) -> None:
        await self._do("close")

    async def _do(self, what: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("The clients have ended: see what they said above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def _clients() -> AsyncIterator[Load]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_LOAD), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Load(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _hot(load: Load, side: Side, connections: int, deliveries: int) -> tuple[Told, Told]:
    """One channel that all follow: messages as fast as can be, and one at a time."""
    names = await side.channels(1)
    await load.open(side, names * connections)
    await load.count(side, 10 * connections, lambda: side.send(names, 10))  # warm
    messages = max(10, deliveries // connections)
    fast = await load.count(side, messages * connections, lambda: side.send(names, messages))
    times = max(10, ONE_BY_ONE // connections)
    single = await load.count(side, connections, lambda: side.send(names, 1), times=times)
    await load.close()
    return fast, single


async def _cold(load: Load, side: Side, connections: int, messages: int) -> Told:
    """A channel for each."""
    names = await side.channels(connections)
    await load.open(side, names)
    found = await load.count(side, messages, lambda: side.send(names, messages))
    await load.close()
    return found


async def _steady(load: Load, side: Side, connections: int, channels: int) -> Told:
    """Messages at a fixed rate, whether or not those before have come."""
    names = await side.channels(channels)
    followers = connections // channels
    await load.open(side, [name for name in names for _ in range(followers)])
    return await _at_a_rate(load, side, names, followers)


async def _steady_beside_stalled(load: Load, side: Millrace, connections: int, channels: int) -> Told:
    """The same, where a tenth of all clients follow everything and have stopped to read, until no more can be written
    to them."""
    names = await side.channels(channels)
    stalled = connections // 10
    followers = (connections - stalled) // channels
    await load.open_stalled(side, stalled)
    await load.open(side, [name for name in names for _ in range(followers)])
    await load.count(side, STALLING_MESSAGES * followers, lambda: side.send(names, STALLING_MESSAGES))
    return await _at_a_rate(load, side, names, followers)


async def _at_a_rate(load: Load, side: Side, names: Sequence[str], followers: int) -> Told:
    channels = len(names)
    per_s = STEADY_DELIVERIES_PER_S / followers
    at_once = max(1, round(per_s * _SHORTEST_SECONDS))
    sendings = round(per_s * STEADY_SECONDS / at_once)

    async def steadily() -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(sendings):
                await asyncio.sleep(begin + number * at_once / per_s - loop.time())
                chosen = [names[at % channels] for at in range(number * at_once, (number + 1) * at_once)]
                group.create_task(side.send(chosen, at_once))

    found = await load.count(side, sendings * at_once * followers, steadily, timed=True)
    await load.close()
    return found


async def _idle_kib(load: Load, side: Side, connections: int) -> float:
    names = await side.channels(1)
    before = side.watched.memory_kib
    await load.open(side, names * connections)
    grown = side.watched.memory_kib - before
    await load.close()
    return grown / connections


async def _catch_up(load: Load, side: Side) -> Told:
    """Clients that come back at once, each behind by all messages of one channel."""
    names = await side.channels(1)
    await side.send(names, MISSED)

    async def come_back() -> None:
        """They are told already while they open: that counts."""

    began = perf_counter()
    await load.open(side, names * RETURNING)
    found = await load.count(side, RETURNING * MISSED, come_back)
    seconds = perf_counter() - began
    await load.close()
    return replace(found, seconds=seconds)


def _figures(name: str, told: Told) -> dict[str, float]:
    return {
        f"{name}_per_s": told.per_s,
        f"{name}_cpu_us": told.cpu_us,
        # Of its time the clients worked so much: near 1, they are what is measured.
        f"{name}_load_share": told.load_seconds / told.seconds,
    }


async def _ours(load: Load, folder: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    async with millrace(folder) as side:
        figures["idle_kib"] = await _idle_kib(load, side, max(CONNECTIONS))
        for connections in CONNECTIONS:
            fast, single = await _hot(load, side, connections, HOT_DELIVERIES)
            cold = await _cold(load, side, connections, COLD_MESSAGES)
            for name, told in (("hot", fast), ("one_by_one", single), ("cold", cold)):
                figures |= _figures(f"{name}_{connections}", told)
        for channels in (STEADY_CHANNELS, 1):
            told = await _steady(load, side, max(CONNECTIONS), channels)
            kind = "10k" if channels > 1 else "10k_on_one"
            figures |= {f"{percent}_ms_{kind}": wait for percent, wait in told.waits_ms.items()}
            figures[f"steady_{kind}_cpu_us"] = told.cpu_us
        told = await _steady_beside_stalled(load, side, max(CONNECTIONS), STEADY_CHANNELS)
        figures |= {f"{percent}_ms_10k_tenth_stalled": wait for percent, wait in told.waits_ms.items()}
        back = await _catch_up(load, side)
        figures["catchup_mb_s"] = back.bytes / 1e6 / back.seconds
        figures["catchup_per_s"] = back.per_s
    return figures


async def _theirs(load: Load, name: str, folder: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    counts = [count for count in CONNECTIONS if count <= MOST_CONNECTIONS.get(name, count)]
    async with peer(name, folder) as side:
        figures[f"{name}_idle_kib"] = await _idle_kib(load, side, max(counts))
        for connections in counts:
            fast, single = await _hot(load, side, connections, PEER_DELIVERIES)
            cold = await _cold(load, side, connections, COLD_MESSAGES // 4)
            for kind, told in (("hot", fast), ("one_by_one", single), ("cold", cold)):
                figures |= _figures(f"{name}_{kind}_{connections}", told)
    return figures


async def run() -> Result:
    if (os.cpu_count() or 1) < 2:
        raise RuntimeError("The server needs a core of its own, and its clients another one.")
    os.sched_setaffinity(0, {OTHER_CORE})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    found: dict[str, float] = {}
    # Seldom as in the processor, whose part we play: who relays must not stand still either.
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, garbage.seldom():
        folder = Path(name)
        async with _clients() as load:
            found |= await _ours(load, folder)
            for peer_name in PEERS:
                found |= await _theirs(load, peer_name, folder)
    best = max(CONNECTIONS, key=lambda connections: found[f"hot_{connections}_per_s"])
    figures = {
        "coalesced_per_s": found[f"hot_{best}_per_s"],
        "uncoalesced_per_s": 1e6 / found["one_by_one_1000_cpu_us"],
        "over_socketio": found["hot_1000_per_s"] / found["socketio_hot_1000_per_s"],
        "over_python_socketio": found["hot_1000_per_s"] / found["python_socketio_hot_1000_per_s"],
        "over_ws": found["hot_1000_per_s"] / found["ws_hot_1000_per_s"],
        "over_fastapi": found["hot_1000_per_s"] / found["fastapi_hot_1000_per_s"],
        "p99_ms_10k": found["p99_ms_10k"],
    }
    settings = {
        "bytes": BYTES,
        "steady": f"{STEADY_DELIVERIES_PER_S} deliveries/s for {STEADY_SECONDS} s",
        "returning": f"{RETURNING} clients, {MISSED} messages each",
        "cores": "server 1; clients, PostgreSQL, RabbitMQ 1",
    }
    return Result("fanout", settings, figures | found)
