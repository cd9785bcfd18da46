"""A private Prometheus that scrapes one stack, with the rules that are checked in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

from deploy import packages
from deploy.process import ChildProcess, Command, free_port
from deploy.stack import Stack
from deploy.supervision import supervise
from events.errors import StartupError
from events.lifecycle import listen
from events.running.tasks import end

FOLDER = Path(__file__).parents[2] / "prometheus"

_READY_SECONDS = 30.0
_TICK_SECONDS = 0.05
# The longest window of an objective is three days.
_KEPT = ("--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=1GB")


class PrometheusServer:
    name = "prometheus"

    def __init__(self, process: ChildProcess, port: int, url_file: Path) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{port}"
        self._url_file = url_file

    async def start(self) -> None:
        """Return when it answers queries. The first scrapes come after that."""
        self._url_file.write_text(f"{self.url}\n")
        await self._process.start()
        try:
            await asyncio.wait_for(self._until_ready(), _READY_SECONDS)
        except (TimeoutError, StartupError) as failed:
            await self._process.kill()
            raise StartupError(f"Prometheus does not start: {self._process.last_words() or failed}") from None

    async def stop(self) -> None:
        await self._process.stop()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._process.wait()

    async def kill(self) -> None:
        await self._process.kill()

    async def _until_ready(self) -> None:
        async with aiohttp.ClientSession() as session:
            while self._process.running():
                try:
                    async with session.get(f"{self.url}/-/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass  # it does not listen yet
                await asyncio.sleep(_TICK_SECONDS)
        raise StartupError(f"it ended with exit code {self._process.exit_code}")


@asynccontextmanager
async def open_prometheus(stack: Stack, interval: str | None = None) -> AsyncIterator[PrometheusServer]:
    """One that runs, and keeps what it sees with the stack's data. `interval`: how often it asks, if another is wanted.

    Raises `StartupError` if there is no Prometheus and none can be installed."""
    server = await asyncio.to_thread(_native_server, stack, interval)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def watched(stack: Stack) -> AsyncIterator[str]:
    """With a Prometheus that is started again if it dies, where one is to be had: nothing of ours needs it. Gives the
    sentence that whoever runs the stack should read."""
    async with AsyncExitStack() as parts:
        try:
            server = await parts.enter_async_context(open_prometheus(stack))
        except StartupError as reason:
            sentence = f"No Prometheus watches it. {reason}"
        else:
            sentence = f"Prometheus watches it, with our rules and alerts: {server.url}"
            supervising = asyncio.create_task(supervise(server.name, server.wait, server.start))
            parts.push_async_callback(end, supervising)
        yield sentence


def _native_server(stack: Stack, interval: str | None) -> PrometheusServer:
    program = packages.debian_program("prometheus", "prometheus")
    if not (FOLDER / "prometheus.yml").exists():
        raise StartupError(f"There are no rules in {FOLDER}: Millrace does not run from its repository.")
    directory = stack.data / "prometheus"
    directory.mkdir(exist_ok=True)
    url_file = directory / "url"
    port = _port_as_before(url_file)
    configuration = directory / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(_configuration(stack, interval)))
    argv = [
        str(program),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        *_KEPT,
    ]
    return PrometheusServer(ChildProcess(Command(argv, directory / "prometheus.log")), port, url_file)


def _port_as_before(url_file: Path) -> int:
    """What people have noted or opened in a browser stays right over a restart, unless somebody else listens there."""
    before = urlsplit(url_file.read_text().strip()).port if url_file.exists() else None
    if before:
        with suppress(StartupError):
            listen("127.0.0.1", before).close()
            return before
    return free_port()


def _configuration(stack: Stack, interval: str | None) -> dict[str, Any]:
    """The one that is checked in, with the addresses, the key and the rules of this machine."""
    given: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    if interval is not None:
        given["global"] |= {"scrape_interval": interval, "evaluation_interval": interval}
    given["rule_files"] = [str(FOLDER / files) for files in given["rule_files"]]
    for scrape in given["scrape_configs"]:
        del scrape["dns_sd_configs"]
        targets = [urlsplit(url).netloc for url in stack.urls(scrape["job_name"])]
        scrape["static_configs"] = [{"targets": targets}]
        if "authorization" in scrape:
            scrape["authorization"]["credentials_file"] = str(stack.admin_key_file.resolve())
    return given
