"""A Docker engine: the machine's, or a private one that ends with the tests."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.packages import debian_program

_START_SECONDS = 60.0
_TICK_SECONDS = 0.2


class NoEngine(Exception):
    """Why there is none, in one sentence."""


class Engine:
    def __init__(self, docker: str, host: str | None) -> None:
        self.docker = docker
        self.environment: Mapping[str, str] = {
            **os.environ,
            "DOCKER_BUILDKIT": "1",
            **({} if host is None else {"DOCKER_HOST": host}),
        }

    def __call__(self, *arguments: str | Path, given: bytes | None = None) -> str:
        """What `docker …` prints."""
        return self.run(self.docker, *arguments, given=given)

    def run(self, *command: str | Path, given: bytes | None = None) -> str:
        """What any command that speaks to this engine prints."""
        outcome = subprocess.run(
            list(map(str, command)), env=self.environment, input=given, stdout=subprocess.PIPE, check=False
        )
        assert outcome.returncode == 0, f"{' '.join(map(str, command))} failed"
        return outcome.stdout.decode().strip()

    def has(self, image: str) -> bool:
        return self.succeeds("image", "inspect", image)

    def can_get(self, image: str) -> bool:
        return self.has(image) or self.succeeds("pull", "--quiet", image)

    def answers(self) -> bool:
        return self.succeeds("version")

    def succeeds(self, *arguments: str) -> bool:
        command = [self.docker, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0


@contextmanager
def open_engine(folder: Path, runtime: Path) -> Iterator[Engine]:
    """The machine's engine if it answers. Else one of our own, which keeps its images in `folder` for the next time."""
    if (docker := _client()) is not None and (engine := Engine(docker, None)).answers():
        yield engine
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngine("No Docker engine answers, and only root on Debian can start one here: start one.")
    daemon = debian_program("docker.io", "dockerd")
    docker = _client()
    if docker is None:
        raise NoEngine("No docker command that can build with BuildKit was found: install docker-buildx.")
    host = f"unix://{runtime / 'docker.sock'}"
    # A private engine changes no rules of this machine's firewall: nothing of it is reached but by its own ports.
    flags = [
        f"--data-root={folder}",
        f"--exec-root={runtime / 'exec'}",
        f"--pidfile={runtime / 'pid'}",
        f"--host={host}",
    ]
    with (folder.parent / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [daemon, *flags, "--iptables=false", "--ip6tables=false"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        engine = Engine(docker, host)
        deadline = time.monotonic() + _START_SECONDS
        while not engine.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"dockerd does not start: {folder.parent / 'dockerd.log'} says why.")
            time.sleep(_TICK_SECONDS)
        yield engine
    finally:
        process.terminate()
        process.wait(timeout=_START_SECONDS)


def _client() -> str | None:
    """A docker command that has BuildKit: in it, as before 23, or as a plugin."""
    for folder in os.get_exec_path():
        docker = Path(folder) / "docker"
        if docker.exists():
            version = subprocess.run([docker, "--version"], capture_output=True, text=True, check=False).stdout
            plugin = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False)
            if plugin.returncode == 0 or (
                version.startswith("Docker version ") and int(version.split()[2].split(".")[0]) < 23
            ):
                return str(docker)
    return None
