"""`make stack`: the production shape on one machine, started and stopped as one."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self

import aiohttp

from deploy import servers
from deploy.data_directory import DataDirectory, open_data_directory
from deploy.postgres import PostgresServer
from deploy.process import ChildProcess, Command, free_port
from deploy.provision import Database, provision
from deploy.rabbitmq import RabbitServer
from deploy.supervision import supervise
from events.errors import StartupError
from events.lifecycle import listen
from gateway.auth.keys import new_key

# The gateway comes last: it is ready when those behind it are.
SERVICES = ("ingest", "processor", "notifier", "gateway")
_DATABASE = "millrace"
_VHOST = "millrace"
_READY_SECONDS = 60.0
_TICK_SECONDS = 0.05
# Settings of ours, of traces, and of the clouds where blobs may lie.
_PASSED_ON = ("MILLRACE_", "OTEL_", "AWS_", "GOOGLE_", "AZURE_")


class Stack:
    """The running system. What a test kills stays dead until it starts it again; `supervise` is for `make stack`."""

    def __init__(
        self,
        data: DataDirectory,
        postgres: PostgresServer,
        rabbitmq: RabbitServer,
        database: Database,
        vhost: str,
        door: tuple[str, int],
        replicas: Mapping[str, int] | None = None,
        settings: Mapping[str, str] | None = None,
        settings_of: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> None:
        """`replicas`: of which service more than one process runs. The second one is called `notifier-2`, and so on.
        `settings`: what all processes are told on top of their own environment; `settings_of`: what one is told."""
        self.postgres = postgres
        self.rabbitmq = rabbitmq
        self.vhost = vhost
        self.broker_url = rabbitmq.url(vhost)
        self.broker_url_file = data.broker_url_file
        self.admin_key = data.admin_key(new_key)
        self.admin_key_file = data.admin_key_file
        self.logs = data.logs
        self._data = data
        self._settings = settings or {}
        self._settings_of = settings_of
        self._database = database
        self.processes = [name for service in SERVICES for name in _names(service, (replicas or {}).get(service, 1))]
        self._addresses = {name: ("127.0.0.1", free_port()) for name in self.processes} | {"gateway": door}
        self._running: dict[str, ChildProcess] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        postgres_settings: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Self]:
        """The whole system on `directory`, ready to serve. Host and port are the gateway's; port 0 takes a free one."""
        async with AsyncExitStack() as parts:
            data = parts.enter_context(open_data_directory(directory))
            listen(host, port).close()
            postgres = await parts.enter_async_context(
                servers.open_postgres(
                    data.path / "postgres", password=data.secrets.postgres, settings=postgres_settings
                )
            )
            rabbitmq = await parts.enter_async_context(
                servers.open_rabbitmq(data.path / "rabbitmq", password=data.secrets.rabbitmq)
            )
            database = await provision(postgres.admin_url(), _DATABASE, data.secrets.roles)
            data.keep_database_url(database.admin_url)
            await rabbitmq.create_vhost(_VHOST)
            stack = cls(data, postgres, rabbitmq, database, _VHOST, (host, port or free_port()))
            yield await parts.enter_async_context(stack.serving())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """With its services, on servers that run already."""
        self._data.keep_broker_url(self.broker_url)
        try:
            await asyncio.gather(*(self.start(process) for process in self.processes))
            self._data.keep_url(self.base_url)
            yield self
        finally:
            await self.stop_services()

    @property
    def data(self) -> Path:
        """Where everything of it is kept."""
        return self._data.path

    @property
    def base_url(self) -> str:
        return self.url("gateway")

    def url(self, service: str) -> str:
        host, port = self._addresses[service]
        return f"http://{host}:{port}"

    def urls(self, service: str) -> list[str]:
        """Of all its replicas."""
        return [self.url(name) for name in self.processes if _service_of(name) == service]

    @property
    def key_pepper(self) -> str:
        return self._data.secrets.key_pepper

    def postgres_url(self, role: str) -> str:
        return self._database.url(role)

    def pid(self, service: str) -> int:
        return self._running[service].pid

    async def start(self, service: str, *, environment: Mapping[str, str] | None = None) -> None:
        """Start it, with `environment` on top of its own, and return when it is ready."""
        self.logs.mkdir(exist_ok=True)
        process = ChildProcess(
            Command(
                argv=[sys.executable, "-m", _service_of(service)],
                log=self.logs / f"{service}.console",
                environment={**self._environment(service), **(environment or {})},
            )
        )
        self._running[service] = process
        await process.start()
        self._data.pids.mkdir(exist_ok=True)
        (self._data.pids / service).write_text(f"{process.pid}\n")  # for whoever must end one that hangs
        try:
            await asyncio.wait_for(self._until_ready(service, process), _READY_SECONDS)
        except (TimeoutError, StartupError) as failed:
            await process.kill()
            raise StartupError(f"{service} does not become ready: {process.last_words() or failed}") from None

    async def stop(self, service: str) -> None:
        await self._running[service].stop()

    async def kill(self, service: str) -> None:
        """kill -9"""
        await self._running[service].kill()

    def pause(self, service: str) -> None:
        """Freeze it: its sockets stay open and nobody answers."""
        self._running[service].pause()

    def resume(self, service: str) -> None:
        self._running[service].resume()

    async def restart(self, service: str, *, environment: Mapping[str, str] | None = None) -> None:
        await self.stop(service)
        await self.start(service, environment=environment)

    async def wait_for_death(self, service: str) -> int:
        """Its exit code, once it has ended by itself or by another's hand; -9 after kill -9."""
        return await self._running[service].wait()

    async def stop_services(self) -> None:
        await asyncio.gather(*(process.stop() for process in self._running.values()))
        for service in self._running:
            (self._data.pids / service).unlink(missing_ok=True)

    async def supervise(self) -> None:
        """Start again whatever dies, for ever."""
        async with asyncio.TaskGroup() as watching:
            for server in (self.postgres, self.rabbitmq):
                watching.create_task(supervise(server.name, server.wait, server.start))
            for process in self.processes:
                watching.create_task(self._supervise_service(process))

    async def _supervise_service(self, service: str) -> None:
        await supervise(service, lambda: self.wait_for_death(service), lambda: self.start(service))

    async def _until_ready(self, service: str, process: ChildProcess) -> None:
        async with aiohttp.ClientSession() as session:
            while process.running():
                try:
                    async with session.get(f"{self.url(service)}/readyz") as response:
                        if response.status == 200:
                            return
                except aiohttp.ClientError:
                    pass  # it does not listen yet
                await asyncio.sleep(_TICK_SECONDS)
        raise StartupError(f"it ended with exit code {process.exit_code}")

    def _environment(self, service: str) -> dict[str, str]:
        """The settings of one process. What the user set for all of them stays, such as MILLRACE_LOG_LEVEL."""
        passed_on = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_PASSED_ON) or name in ("PATH", "HOME", "LANG", "TZ")
        }
        host, port = self._addresses[service]
        settings = {
            "MILLRACE_HOST": host,
            "MILLRACE_PORT": str(port),
            "MILLRACE_DATA_DIR": str(self._data.path),
            "MILLRACE_DATABASE_URL": self._database.url(_service_of(service)),
            "MILLRACE_BROKER_URL": self.broker_url,
            "MILLRACE_PRINCIPAL_SECRET": self._data.secrets.principal,
        }
        if _service_of(service) == "notifier":
            settings["MILLRACE_GATEWAY_URL"] = self.url("gateway")
        if _service_of(service) == "gateway":
            settings |= {
                "MILLRACE_INGEST_URL": ",".join(self.urls("ingest")),
                "MILLRACE_PROCESSOR_URL": ",".join(self.urls("processor")),
                "MILLRACE_NOTIFIER_URL": ",".join(self.urls("notifier")),
                "MILLRACE_ADMIN_KEY": self.admin_key,
                "MILLRACE_KEY_PEPPER": self._data.secrets.key_pepper,
            }
        return passed_on | settings | dict(self._settings) | dict(self._settings_of(service))


def _names(service: str, count: int) -> list[str]:
    return [service, *(f"{service}-{number}" for number in range(2, count + 1))]


def _service_of(name: str) -> str:
    return name.partition("-")[0]
