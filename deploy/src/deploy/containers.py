"""PostgreSQL and RabbitMQ as containers of a Docker engine, through testcontainers.

testcontainers is imported where it is used: only tests and `make stack` have it, an installed Millrace does not.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.postgres import SETTINGS, PostgresServer
from deploy.process import free_port
from deploy.rabbitmq import USER, RabbitServer

POSTGRES_IMAGE = "postgres:18-alpine"
RABBITMQ_IMAGE = "rabbitmq:4-management-alpine"

_DEFAULT_ENGINE = "unix:///var/run/docker.sock"
_STOP_SECONDS = 30


def engine_has(image: str) -> bool:
    """Whether a Docker engine of this machine answers and has the image, or can get it."""
    if not _engine_listens():
        return False
    from testcontainers.core.docker_client import DockerClient

    client: Any = DockerClient().client
    try:
        if not client.images.list(name=image):
            client.images.pull(image)
    except Exception:  # the engine does not let us in, or has no way to the image
        return False
    finally:
        client.close()
    return True


def _engine_listens() -> bool:
    # An engine elsewhere is of no use: its ports are not on our loopback interface.
    address = urlsplit(os.environ.get("DOCKER_HOST", _DEFAULT_ENGINE))
    if address.scheme != "unix":
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address.path)
        except OSError:
            return False
    return True


def postgres_server(directory: Path, password: str, settings: Mapping[str, str]) -> PostgresServer:
    port = free_port()
    inside = {**SETTINGS, **settings, "listen_addresses": "*"}
    del inside["unix_socket_directories"]  # the image sets its cluster up through the socket
    flags = [f"--{name}={value}" for name, value in inside.items()]
    container = _container(POSTGRES_IMAGE, {5432: port}, {"POSTGRES_PASSWORD": password, "PGDATA": "/data/pgdata"})
    container.with_command(["postgres", *flags]).with_kwargs(shm_size="256m")
    container.with_volume_mapping(str(directory.resolve()), "/data", "rw")
    return PostgresServer(_Container(container), port, password)


def rabbitmq_server(directory: Path, password: str) -> RabbitServer:
    port, api_port = free_port(), free_port()
    container = _container(
        RABBITMQ_IMAGE,
        {5672: port, 15672: api_port},
        {"RABBITMQ_DEFAULT_USER": USER, "RABBITMQ_DEFAULT_PASS": password, "RABBITMQ_NODENAME": "millrace@localhost"},
    )
    container.with_volume_mapping(str(directory.resolve()), "/var/lib/rabbitmq", "rw")
    return RabbitServer(_Container(container), port, api_port, password)


class _Container:
    """A container as a `Runner`. It is made at the first start and removed by `remove`."""

    def __init__(self, container: Any) -> None:
        self._container = container

    async def start(self) -> None:
        if self._container.status == "not_started":
            await asyncio.to_thread(self._container.start)
        else:
            await asyncio.to_thread(self._container.get_wrapped_container().start)

    async def stop(self) -> None:
        if self.running():
            await asyncio.to_thread(self._container.get_wrapped_container().stop, timeout=_STOP_SECONDS)

    async def kill(self) -> None:
        if self.running():
            await asyncio.to_thread(self._container.get_wrapped_container().kill)

    async def remove(self) -> None:
        await self.stop()
        await asyncio.to_thread(self._container.stop)

    def pause(self) -> None:
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        self._container.get_wrapped_container().unpause()

    def running(self) -> bool:
        self._container.reload()
        return str(self._container.status) == "running"

    async def wait(self) -> int:
        answer = await asyncio.to_thread(self._container.get_wrapped_container().wait)
        return int(answer["StatusCode"])

    def last_words(self) -> str:
        if self._container.status == "not_started":
            return ""
        return str(self._container.get_wrapped_container().logs(tail=20).decode(errors="replace"))


def _container(image: str, ports: Mapping[int, int], environment: dict[str, str]) -> Any:
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The reaper is one more image that the engine may not have; whoever opens a server removes it.
    testcontainers_config.ryuk_disabled = True
    container = DockerContainer(image).with_envs(**environment)
    for inside, outside in ports.items():
        container.ports[f"{inside}/tcp"] = ("127.0.0.1", outside)  # type: ignore[assignment]  # docker takes an address
    return container
