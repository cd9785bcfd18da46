"""Finds the servers' programs on this machine, or installs Debian's packages where that is permitted."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from events.errors import StartupError

_NEWEST_POSTGRES, _OLDEST_POSTGRES = 30, 15


def postgres_binaries() -> Path:
    """The folder of this machine's newest PostgreSQL."""
    return _found_or_installed("postgresql", _find_postgres)


def rabbitmq_program() -> Path:
    return _found_or_installed("rabbitmq-server", _find_rabbitmq)


def debian_program(package: str, name: str) -> Path:
    """Any other program that a test or a benchmark needs, by the package that brings it."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])

    def find() -> Path | None:
        program = shutil.which(name, path=path)
        return Path(program) if program else None

    return _found_or_installed(package, find)


def _find_postgres() -> Path | None:
    for major in range(_NEWEST_POSTGRES, _OLDEST_POSTGRES - 1, -1):
        binaries = Path(f"/usr/lib/postgresql/{major}/bin")
        if (binaries / "initdb").exists():
            return binaries
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _find_rabbitmq() -> Path | None:
    # Debian's /usr/sbin/rabbitmq-server is a wrapper that changes user and directory: look behind it first.
    path = os.pathsep.join(["/usr/lib/rabbitmq/bin", os.environ.get("PATH", os.defpath)])
    program = shutil.which("rabbitmq-server", path=path)
    return Path(program) if program else None


def _found_or_installed(package: str, find: Callable[[], Path | None]) -> Path:
    program = find()
    if program is None:
        _install(package)
        program = find()
    if program is None:
        raise StartupError(f"The package {package} was installed, but its programs were not found.")
    return program


def _install(package: str) -> None:
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise StartupError(
            f"Neither a Docker engine nor {package} was found: start Docker, or install it "
            f"(on Debian or Ubuntu: sudo apt-get install {package})."
        )
    # Runlevel 1 keeps the package from starting a server of its own, which nobody asked for.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", package]):
        outcome = subprocess.run([apt, *arguments], env=environment, capture_output=True, text=True, check=False)
        if outcome.returncode != 0 and arguments[0] == "install":
            last = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise StartupError(
                f"{package} could not be installed (apt-get: {last}): install it yourself or start Docker."
            )
