"""A private RabbitMQ server that shares nothing with any other: own ports, directories, cookie and port mapper."""

import asyncio
import base64
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.process import ChildProcess, Command, Runner, free_port
from events.errors import StartupError

START_SECONDS = 120.0
_TICK_SECONDS = 0.1
USER = "millrace"


class ApiRefused(Exception):
    """What RabbitMQ's management API says no to."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class RabbitServer:
    name = "rabbitmq"

    def __init__(self, runner: Runner, port: int, api_port: int, password: str) -> None:
        self._runner = runner
        self._api_port = api_port
        self._password = password
        self.host = "127.0.0.1"
        self.port = port

    def url(self, vhost: str) -> str:
        return f"amqp://{USER}:{self._password}@{self.host}:{self.port}/{quote(vhost, safe='')}"

    async def start(self) -> None:
        """Return when it accepts AMQP connections."""
        await self._runner.start()
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await self._answers():
            if not self._runner.running() or asyncio.get_running_loop().time() > deadline:
                words = self._runner.last_words()
                await self._runner.kill()
                raise StartupError(f"RabbitMQ does not start: {words}")
            await asyncio.sleep(_TICK_SECONDS)

    async def stop(self) -> None:
        await self._runner.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def kill(self) -> None:
        await self._runner.kill()

    async def remove(self) -> None:
        """Stop it for good. Its data stays."""
        await self._runner.remove()

    async def wait(self) -> int:
        """Its exit code, once it has ended."""
        return await self._runner.wait()

    def pause(self) -> None:
        self._runner.pause()

    def resume(self) -> None:
        self._runner.resume()

    async def create_vhost(self, name: str) -> None:
        """Make the virtual host if there is none, and let our user use it."""
        await self.api("PUT", f"/vhosts/{quote(name, safe='')}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await self.api("PUT", f"/permissions/{quote(name, safe='')}/{USER}", everything)

    async def delete_vhost(self, name: str) -> None:
        await self.api("DELETE", f"/vhosts/{quote(name, safe='')}")

    async def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the management API. Raises `ApiRefused`."""
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method: str, path: str, body: Any) -> Any:
        credentials = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        request = urllib.request.Request(
            f"http://{self.host}:{self._api_port}/api{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - our own address
                answer = response.read()
        except urllib.error.HTTPError as refused:
            raise ApiRefused(refused.code, f"{method} {path}: {refused.code} {refused.read().decode()}") from None
        return json.loads(answer) if answer else None

    async def _answers(self) -> bool:
        try:
            await self.api("GET", "/overview")
            _, writer = await asyncio.open_connection(self.host, self.port)
        except (OSError, ApiRefused):
            return False
        writer.close()
        await writer.wait_closed()
        return True


class _NodeWithPortMapper(ChildProcess):
    """A RabbitMQ node and the epmd of its own that it registers with."""

    def __init__(self, node: Command, port_mapper: Command) -> None:
        super().__init__(node)
        self._port_mapper = ChildProcess(port_mapper)

    async def start(self) -> None:
        if not self._port_mapper.running():
            await self._port_mapper.start()
        await super().start()

    async def _end(self, number: signal.Signals) -> None:
        await super()._end(number)
        await self._port_mapper.kill()


def native_server(program: Path, directory: Path, password: str) -> RabbitServer:
    """A server, not yet started, whose data lies in `directory`."""
    port, api_port, dist_port, epmd_port = (free_port() for _ in range(4))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (directory / "none.conf").touch()
    configuration = directory / "rabbitmq.conf"
    configuration.touch(mode=0o600)  # it names the password
    configuration.write_text(
        f"""listeners.tcp.1 = 127.0.0.1:{port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {api_port}
default_user = {USER}
default_pass = {password}
loopback_users = none
log.console = true
log.console.level = info
log.file = false
vm_memory_high_watermark.relative = 0.4
disk_free_limit.absolute = 50MB
"""
    )
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "millrace@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(dist_port),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none.conf"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "none.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(directory / "config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
        "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the server instead of its parent
    }
    log = directory / "rabbitmq.log"
    node = Command([str(program), "-noinput"], log, environment)
    port_mapper = Command(["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"], log, environment)
    return RabbitServer(_NodeWithPortMapper(node, port_mapper), port, api_port, password)
