"""The stack, two of each service, with everything about it that can break: the ways between its parts, its disks, its
clocks, and each of its parts itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from chaos.clocks import Clocks, open_clocks
from chaos.small_disk import SmallDisk, small_disk
from deploy import provision, servers
from deploy.data_directory import open_data_directory
from deploy.postgres import PostgresServer
from deploy.process import free_port
from deploy.provision import Database
from deploy.rabbitmq import RabbitServer
from deploy.stack import SERVICES, Stack
from fixtures.servers import new_vhost
from fixtures.way import Way

REPLICAS = dict.fromkeys(SERVICES, 2)
_BEHIND_THE_DOOR = ("ingest", "processor", "notifier")
_DISK_BYTES = 640 << 20

# No power is cut here, and what a log of a few minutes needs fits on a disk that is soon full.
_POSTGRES = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "96MB", "min_wal_size": "32MB"}

_NO_LIMIT = {"subject": None, "tenant": None, "address": None}
_PLENTY = {"seconds": 1, "free": 10000, "most": 10000}

# Nobody is refused for coming often, and what is lost is soon missed.
SETTINGS = {
    "MILLRACE_LIMITS": json.dumps(dict.fromkeys(("ws", "connection", "read", "write", "upload"), _NO_LIMIT)),
    "MILLRACE_LIMITS_CONNECTS": json.dumps({"ws": _PLENTY, "connection": _PLENTY}),
    "MILLRACE_MAX_SOCKETS_PER_SUBJECT": "1000",
    "MILLRACE_QUEUE_BYTES": "16384",
    "MILLRACE_FEED_POLL_SECONDS": "0.3",
    "MILLRACE_WORKERS": "1",
    "MILLRACE_LEASE_SECONDS": "3",
    "MILLRACE_OUTBOX_RETRY_SECONDS": "1",
    "MILLRACE_FILE_SWEEP_SECONDS": "0.5",
    "MILLRACE_STEP_ATTEMPTS": "100",  # a step dies with each processor that is killed
    "MILLRACE_LOG_LEVEL": "WARNING",
}


@dataclass
class Breakable:
    stack: Stack
    ways: Mapping[str, Way]  # to and from the second of each: "ingest-2 to postgres", "the gateways to ingest-2"
    clocks: Clocks
    disks: Mapping[str, SmallDisk]  # of the blobs, of the log; none where nothing may be mounted

    @property
    def gateways(self) -> list[str]:
        return [self.stack.url(name) for name in self.stack.processes if name.startswith("gateway")]

    @property
    def parts(self) -> list[str]:
        return [*self.stack.processes, "postgres", "rabbitmq"]

    def direct(self) -> Mapping[str, str]:
        """What gateways are told that shall go by no way of ours: such a way lets them in before it knows that
        nobody listens at its other end."""
        return {
            f"MILLRACE_{service.upper()}_URL": f"{self.stack.url(service)},{self.stack.url(f'{service}-2')}"
            for service in _BEHIND_THE_DOOR
        }

    async def kill(self, part: str) -> None:
        server = self._server(part)
        await (server.kill() if server else self.stack.kill(part))

    async def stop(self, part: str) -> None:
        server = self._server(part)
        await (server.stop() if server else self.stack.stop(part))

    async def start(self, part: str) -> None:
        server = self._server(part)
        await (server.start() if server else self.stack.start(part))

    def pause(self, part: str) -> None:
        server = self._server(part)
        if server is not None:
            server.pause()
        else:
            self.stack.pause(part)

    def resume(self, part: str) -> None:
        server = self._server(part)
        if server is not None:
            server.resume()
        else:
            self.stack.resume(part)

    def _server(self, part: str) -> PostgresServer | RabbitServer | None:
        if part == "postgres":
            return self.stack.postgres
        return self.stack.rabbitmq if part == "rabbitmq" else None


@dataclass
class _Wiring:
    """What each process is told: it goes to everybody by a way that can be broken."""

    clocks: Clocks
    ways: dict[str, Way] = field(default_factory=dict)

    def settings_of(self, stack: Stack, process: str, database: Database, broker_url: str) -> Mapping[str, str]:
        settings = dict(self.clocks.settings_of(process))
        if _is_second(process):
            database_url = database.url(process.partition("-")[0])
            settings["MILLRACE_DATABASE_URL"] = _by(self.ways[f"{process} to postgres"], database_url)
            settings["MILLRACE_BROKER_URL"] = _by(self.ways[f"{process} to rabbitmq"], broker_url)
        if process.startswith("gateway"):
            for service in _BEHIND_THE_DOOR:
                places = (stack.url(service), self.ways[f"the gateways to {service}-2"].url)
                settings[f"MILLRACE_{service.upper()}_URL"] = ",".join(places)
        return settings


@asynccontextmanager
async def open_breakable(rabbitmq: RabbitServer, folder: Path) -> AsyncIterator[Breakable]:
    async with AsyncExitStack() as parts:
        log_disk = parts.enter_context(small_disk(folder / "postgres", _DISK_BYTES))
        postgres = await parts.enter_async_context(servers.open_postgres(folder / "postgres", settings=_POSTGRES))
        database = await provision.provision(postgres.admin_url(), "millrace", provision.new_passwords())
        vhost = await parts.enter_async_context(new_vhost(rabbitmq))
        data = parts.enter_context(open_data_directory(folder / "data"))
        blobs_disk = parts.enter_context(small_disk(folder / "data" / "blobs", _DISK_BYTES))
        wiring = _Wiring(parts.enter_context(open_clocks(folder / "clocks")))
        stack = Stack(
            data,
            postgres,
            rabbitmq,
            database,
            vhost,
            ("127.0.0.1", free_port()),
            REPLICAS,
            SETTINGS,
            lambda process: wiring.settings_of(stack, process, database, rabbitmq.url(vhost)),
        )
        for name, url in _all_ways(stack, postgres, rabbitmq):
            wiring.ways[name] = await parts.enter_async_context(Way.to(url))
        disks = {name: disk for name, disk in (("blobs", blobs_disk), ("log", log_disk)) if disk is not None}
        async with stack.serving():
            yield Breakable(stack, wiring.ways, wiring.clocks, disks)
            await asyncio.gather(*(stack.kill(process) for process in stack.processes))  # nothing of it is kept


def _all_ways(stack: Stack, postgres: PostgresServer, rabbitmq: RabbitServer) -> Iterator[tuple[str, str]]:
    for process in filter(_is_second, stack.processes):
        yield f"{process} to postgres", f"http://{postgres.host}:{postgres.port}"
        yield f"{process} to rabbitmq", f"http://{rabbitmq.host}:{rabbitmq.port}"
        if not process.startswith("gateway"):
            yield f"the gateways to {process}", stack.url(process)


def _is_second(process: str) -> bool:
    """The first of each has no ways of its own: what goes through one costs the test's own process."""
    return process.endswith("-2")


def _by(way: Way, url: str) -> str:
    place = urlsplit(url)
    return urlunsplit(place._replace(netloc=f"{place.netloc.rpartition('@')[0]}@127.0.0.1:{way.port}"))
