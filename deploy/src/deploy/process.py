"""Child processes that are started, stopped, killed and paused by those who own them.

Each runs in a session of its own, so that Ctrl-C at the terminal reaches only us, and where the system can do it
(Linux, by setpriv) the kernel stops it when we die.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from events.errors import StartupError

_STOP_SECONDS = 60.0
_TICK_SECONDS = 0.02
_LAST_WORDS_BYTES = 2_000


class Runner(Protocol):
    """Something that runs: a child process or a container."""

    async def start(self) -> None: ...
    async def stop(self) -> None:
        """Ask it to end in order, and wait until it has ended. Does nothing if it does not run."""

    async def kill(self) -> None:
        """End it as kill -9 does, and wait until it has ended."""

    async def remove(self) -> None:
        """Stop it for good."""

    def pause(self) -> None:
        """Freeze it: its sockets stay open and nobody answers."""

    def resume(self) -> None: ...
    def running(self) -> bool: ...
    async def wait(self) -> int:
        """The exit code, once it has ended."""

    def last_words(self) -> str:
        """The end of its output, for an error message."""


@dataclass(frozen=True, slots=True)
class Command:
    argv: Sequence[str]
    log: Path  # stdout and stderr are appended here
    environment: Mapping[str, str] = field(default_factory=dict)  # its whole environment
    account: "Account | None" = None  # run as this user; None means as we are
    stop_signal: signal.Signals = signal.SIGTERM


class ChildProcess:
    def __init__(self, command: Command) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        if self.running():
            raise RuntimeError(f"{self._command.argv[0]} is running already")
        account = self._command.account
        with self._command.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork takes milliseconds, and the child outlives loops
                [*setpriv(account, self._command.stop_signal), *self._command.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self._command.environment),
                start_new_session=True,
            )

    async def stop(self) -> None:
        await self._end(self._command.stop_signal)

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def remove(self) -> None:
        await self.stop()

    def pause(self) -> None:
        self._signal_family(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_family(signal.SIGCONT)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._command.argv[0]} was never started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def last_words(self) -> str:
        with self._command.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
            return log.read().decode(errors="replace").strip()

    async def wait(self) -> int:
        if self._process is None:
            raise RuntimeError(f"{self._command.argv[0]} was never started")
        while (code := self._process.poll()) is None:
            await asyncio.sleep(_TICK_SECONDS)
        return code

    async def _end(self, number: signal.Signals) -> None:
        if self._process is None or not self.running():
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # a paused process would not hear us
        try:
            await asyncio.wait_for(self.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self.wait()

    def _signal_family(self, number: signal.Signals) -> None:
        """Signal it and its children, which a server such as PostgreSQL puts into sessions of their own."""
        listing = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        children = listing.read_text().split() if listing.exists() else []
        for pid in (self.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that a server runs as when we are root, because it refuses to run as root."""

    uid: int
    gid: int
    passes_locked_directories: bool  # may enter directories that only root may, such as /root


def setpriv(account: Account | None, at_our_death: signal.Signals) -> list[str]:
    """What to put before a command so that it runs as `account` and gets a signal when we die."""
    program = shutil.which("setpriv")
    if program is None:
        if account is not None:
            raise StartupError("setpriv (package util-linux) is needed to run a server as an unprivileged user.")
        return []
    arguments = [program, f"--pdeathsig={at_our_death.name.removeprefix('SIG')}"]
    if account is not None:
        arguments += [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
        if account.passes_locked_directories:
            arguments += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*arguments, "--"]


def free_port() -> int:
    """A port that nobody listens on, outside the range from which the system picks ports for clients."""
    for _ in range(200):
        port = 20_000 + int.from_bytes(os.urandom(2)) % 12_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise StartupError("No free port was found between 20000 and 32000.")
