"""Processes that a benchmark runs and watches: how much CPU and memory they take."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from deploy.process import ChildProcess, Command, free_port

_MB = 1_000_000
_TESTS = Path(__file__).parents[1]
_LAST_WORDS = 2_000
_PATIENCE_SECONDS = 600.0


class Watched:
    """A process that listens on a port. Time and memory count from `begin` on."""

    def __init__(self, process: ChildProcess, port: int) -> None:
        self._process = process
        self.port = port
        self._idle_kb = 0
        self._idle_seconds = 0.0

    def begin(self) -> None:
        """Forget the memory and the time that the start took."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")
        self._idle_kb = self._memory("VmRSS")
        self._idle_seconds = self._seconds()

    @property
    def cpu_seconds(self) -> float:
        return self._seconds() - self._idle_seconds

    @property
    def memory_kib(self) -> int:
        return self._memory("VmRSS")

    @property
    def growth_mb(self) -> float:
        return (self._memory("VmHWM") - self._idle_kb) * 1024 / _MB

    def _seconds(self) -> float:
        """Its own time, and that of its children."""
        listing = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        ticks = 0
        for pid in (self._process.pid, *map(int, listing.split())):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _memory(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@asynccontextmanager
async def running(
    name: str, argv: Sequence[str], environment: Mapping[str, str], folder: Path, *, port: int | None = None
) -> AsyncIterator[Watched]:
    """A program that listens on `MILLRACE_PORT`, from when it does."""
    port = port or free_port()
    settings = {**os.environ, **environment, "MILLRACE_PORT": str(port)}
    process = ChildProcess(Command(argv, folder / f"{name}.log", settings))
    await process.start()
    try:
        async with asyncio.timeout(30):
            await _until_listening(process, port)
        watched = Watched(process, port)
        watched.begin()
        yield watched
    finally:
        await process.stop()


def python(*arguments: str | Path) -> list[str]:
    return [sys.executable, *map(str, arguments)]


async def output(*argv: str, seconds: float = _PATIENCE_SECONDS) -> str:
    """What a program says on its standard output, once it has ended well."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
    )
    program = " ".join(Path(word).name for word in argv[:3])  # without the URL, which holds a password
    try:
        async with asyncio.timeout(seconds):
            out, complaints = await process.communicate()
    except TimeoutError:
        raise RuntimeError(f"{program} had not ended after {seconds:g} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last_words = complaints.decode(errors="replace")[-_LAST_WORDS:].strip()
        raise RuntimeError(f"{program} ended with code {process.returncode}: {last_words}")
    return out.decode()


async def _until_listening(process: ChildProcess, port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while process.running():
            try:
                async with session.get(f"http://127.0.0.1:{port}/livez"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise RuntimeError(process.last_words())
