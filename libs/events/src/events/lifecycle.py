"""How a service lives: wired from parts, served until it is told to stop, its loops supervised."""

import asyncio
import contextlib
import errno
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from events.blobs.blobs import Blobs, open_blobs
from events.broker.broker import Broker
from events.broker.by_url import open_broker
from events.broker.measured import MeasuredBroker
from events.database import Pool, database_gone, warm
from events.errors import StartupError, Unavailable
from events.identity import PrincipalSigner
from events.metrics.loop_lag import measure_lag
from events.metrics.measured_pool import open_measured_pool
from events.running import garbage
from events.running.closed_door import emptied
from events.running.last_call import LastCall
from events.running.tasks import end
from events.settings import ServiceSettings
from events.telemetry import Telemetry, configure_logging

_RETRY_FIRST_SECONDS = 0.1
_RETRY_LONGEST_SECONDS = 5.0
_LAST_CALL_SECONDS = 1.0
_LAST_CALL_TICK_SECONDS = 0.02
_WARMING_SECONDS = 5.0  # that the start waits for the database

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is wired from. Whoever opens a service chooses them; nothing is global."""

    name: str
    pool: Pool
    broker: Broker
    blobs: Blobs
    signer: PrincipalSigner
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Service:
    """An ASGI app and, where sockets are the point, protocols that uvicorn hands the raw transport to."""

    name: str
    app: ASGIApp
    http_protocol: Callable[..., asyncio.Protocol] | None = None
    websocket_protocol: Callable[..., asyncio.Protocol] | None = None
    drain: Callable[[], Awaitable[None]] | None = None  # what to end before the service stops


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


OpenService = Callable[[S, Parts], AbstractAsyncContextManager[Service]]


@asynccontextmanager
async def open_parts(settings: ServiceSettings, name: str, *, broker: Broker | None = None) -> AsyncIterator[Parts]:
    """Open what the settings name. A broker that is given is used instead, and stays its giver's to close."""
    telemetry = Telemetry(name)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(telemetry.close)
        pool = await stack.enter_async_context(
            open_measured_pool(
                settings.database_url.get_secret_value(),
                telemetry.metrics,
                name=name,
                size=settings.database_pool_size,
            )
        )
        if broker is None:
            broker = await stack.enter_async_context(open_broker(settings.broker_url.get_secret_value(), name=name))
        blobs = open_blobs(settings.blobs_url or str(settings.data_dir / "blobs"))
        signer = PrincipalSigner(settings.principal_secret.get_secret_value())
        yield Parts(name, pool, MeasuredBroker(broker, telemetry.metrics), blobs, signer, telemetry)


class _Server(uvicorn.Server):
    """uvicorn inside our own loop: who runs it decides about signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def let_nobody_in(self, listener: socket.socket) -> None:
        await emptied(listener)
        for server in self.servers:
            server.close()

    async def last_call(self, seconds: float) -> None:
        """Who is in may ask once more, and is sent away with the answer."""
        clock = asyncio.get_running_loop()
        until = clock.time() + seconds
        while self.server_state.connections and clock.time() < until:
            await asyncio.sleep(_LAST_CALL_TICK_SECONDS)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


@asynccontextmanager
async def serve(
    service: Service, host: str, port: int, *, grace: float = 10.0, last_call: float = 0.0
) -> AsyncIterator[Address]:
    """Serve until the block ends. Then nobody is let in any more, and who is in loses nothing: what lasts is drained,
    who keeps a connection open for more requests has `last_call` seconds to hear that there will be none, and open ones
    get `grace` seconds to finish."""
    listener = listen(host, port)
    app = LastCall(service.app)
    config = uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], service.http_protocol or "httptools"),  # uvicorn only calls them
        ws=cast(type[asyncio.Protocol], service.websocket_protocol or "none"),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=max(1, round(grace)),
        timeout_keep_alive=75,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name=f"serve:{service.name}")
    try:
        await server.listening.wait()
        yield Address(host, listener.getsockname()[1])
        app.over = True
        await server.let_nobody_in(listener)
        if service.drain is not None:
            await service.drain()
        await server.last_call(last_call)
    finally:
        server.should_exit = True
        await serving


def listen(host: str, port: int) -> socket.socket:
    """A socket that has the address, or a sentence that says why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as taken:
        listener.close()
        of_this_machine = taken.errno in (errno.EADDRINUSE, errno.EACCES)
        advice = "MILLRACE_PORT to a free port" if of_this_machine else "MILLRACE_HOST to an address of this machine"
        raise StartupError(f"Cannot listen on {host}:{port} ({taken.strerror}). Set {advice}.") from None
    return listener


class Loops:
    """The endless tasks of a service. One that fails for a while is started again; one that must not go on
    (`LogHole`, a bug) is reported, and the service is no longer ready."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._tasks: list[asyncio.Task[None]] = []
        self.halted: dict[str, str] = {}  # loop's name → why it does not run any more
        self._halts = telemetry.gauge(
            "millrace_loop_halted", "1: this loop has met what it must not go on after.", ["loop"]
        )
        self._interruptions = telemetry.counter(
            "millrace_loop_interruptions_total",
            "Times that a loop failed for a while, and was started again.",
            ["loop"],
        )

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        self._halts.labels(name).set(0)
        self._tasks.append(asyncio.create_task(self._supervise(name, loop), name=name))

    async def _supervise(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        log = self._telemetry.log.bind(loop=name)
        try:
            await lasting(loop, log, interrupted=self._interruptions.labels(name).inc)
        except Exception as error:
            self.halted[name] = repr(error)
            self._halts.labels(name).set(1)
            log.critical("loop halted", exc_info=True)

    async def stop(self) -> None:
        await end(*self._tasks)


async def lasting(
    loop: Callable[[], Awaitable[None]],
    log: structlog.stdlib.BoundLogger,
    interrupted: Callable[[], None] = lambda: None,
) -> None:
    """Run an endless loop, and again when it fails for a while. Raises what it must not go on after."""
    pause = _RETRY_FIRST_SECONDS
    clock = asyncio.get_running_loop()
    while True:
        began = clock.time()
        try:
            return await loop()
        except Exception as error:
            if not passes(error):
                raise
            if clock.time() - began > _RETRY_LONGEST_SECONDS:
                pause = _RETRY_FIRST_SECONDS
            interrupted()
            log.warning("loop interrupted", error=repr(error), cause=_cause_of(error), retry_in=round(pause, 2))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(pause * 2, _RETRY_LONGEST_SECONDS)


def passes(error: Exception) -> bool:
    """Whether a loop that failed so is started again."""
    return database_gone(error) or isinstance(error, Unavailable)


def _cause_of(error: Exception) -> str | None:
    """What a library has said, in one line."""
    return None if error.__cause__ is None else str(error.__cause__).partition("\n")[0]


@asynccontextmanager
async def loops(telemetry: Telemetry) -> AsyncIterator[Loops]:
    running = Loops(telemetry)
    running.start("loop.lag", lambda: measure_lag(telemetry.metrics))
    try:
        yield running
    finally:
        await running.stop()


async def ticking(run_once: Callable[[], Awaitable[bool]], *, every: float, wake: asyncio.Event | None = None) -> None:
    """Call `run_once` for ever: again at once while it says that there is more, else when woken or after `every`."""
    wake = wake or asyncio.Event()
    while True:
        wake.clear()
        if not await run_once():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), every)


def main(name: str, settings_type: type[S], open_service: OpenService[S]) -> None:
    """Run one service as a process, until SIGTERM or SIGINT."""
    try:
        settings = settings_type.from_environment()
        configure_logging(settings.data_dir / "logs" / f"{name}.log", settings.log_level)
        uvloop.run(_run(name, settings, open_service))
    except StartupError as sentence:
        sys.stderr.write(f"{sentence}\n")
        sys.exit(1)


async def _run(name: str, settings: S, open_service: OpenService[S]) -> None:
    stop = stop_signal()
    async with (
        open_parts(settings, name) as parts,
        _warm(parts),
        open_service(settings, parts) as service,
        serve(
            service, settings.host, settings.port, grace=settings.shutdown_grace, last_call=_LAST_CALL_SECONDS
        ) as address,
    ):
        parts.telemetry.log.info("listening", host=address.host, port=address.port)
        with garbage.seldom():
            await stop.wait()
        parts.telemetry.log.info("stopping")


@asynccontextmanager
async def _warm(parts: Parts) -> AsyncIterator[None]:
    """Nobody is let in who would wait for what could have been there."""
    await warm(parts.pool, within=_WARMING_SECONDS)
    yield


def stop_signal() -> asyncio.Event:
    """Set by SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
