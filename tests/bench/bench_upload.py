"""How fast an upload of 1 GiB goes in, through ingest alone and through the gateway, from its first byte to the 202
that says it is durable. Beside it: SHA-256 by itself, and a bare handler that only hashes and writes."""

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter

import aiohttp

from bench.report import Aim, Result
from bench.servers import open_database
from deploy.process import ChildProcess, Command, free_port
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from gateway.auth.keys import new_key

BYTES = 1 << 30
ROUNDS = 3

AIMS = {"ingest_mb_s": Aim(at_least=450), "gateway_mb_s": Aim(at_least=300), "peak_rss_mb": Aim(at_most=100)}

_SECRET = "only-for-this-benchmark-and-nothing-else"
_SENDER = Path(__file__).with_name("sender.py")
_BARE = Path(__file__).with_name("bare_upload.py")
_MB = 1_000_000


class Server:
    """A process that is sent uploads, and whose memory is watched."""

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
    def growth_mb(self) -> float:
        return (self._memory("VmHWM") - self._idle_kb) * 1024 / _MB

    def _seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory(self, name: str) -> int:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))

    async def upload(self, size: int, header: str) -> float:
        """MB/s of one upload."""
        head = f"POST /api/v1/uploads HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n{header}\r\n\r\n"
        sender = await asyncio.create_subprocess_exec(
            sys.executable, _SENDER, "127.0.0.1", str(self.port), str(size), head, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await sender.communicate()
        seconds, _, status = said.decode().strip().partition(" ")
        if not status.startswith("HTTP/1.1 202"):
            raise RuntimeError(f"the upload was not accepted: {said!r}")
        return size / _MB / float(seconds)


@asynccontextmanager
async def _running(name: str, argv: list[str], environment: dict[str, str], folder: Path) -> AsyncIterator[Server]:
    port = free_port()
    settings = {**os.environ, **environment, "MILLRACE_PORT": str(port)}
    process = ChildProcess(Command([sys.executable, *argv], folder / f"{name}.log", settings))
    await process.start()
    try:
        async with asyncio.timeout(30):
            await _until_listening(process, port)
        server = Server(process, port)
        server.begin()
        yield server
    finally:
        await process.stop()


async def _until_listening(process: ChildProcess, port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while process.running():
            try:
                async with session.get(f"http://127.0.0.1:{port}/livez"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise RuntimeError(process.last_words())


@asynccontextmanager
async def _servers(folder: Path, admin_key: str) -> AsyncIterator[tuple[Server, Server, Server]]:
    """A bare handler, ingest, and a gateway before it."""
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(open_database())
        common = {"MILLRACE_DATA_DIR": str(folder), "MILLRACE_PRINCIPAL_SECRET": _SECRET}
        bare = _running("bare", [str(_BARE), str(folder / "bare")], {}, folder)
        ingest = _running(
            "ingest", ["-m", "ingest"], common | {"MILLRACE_DATABASE_URL": database.url("ingest")}, folder
        )
        servers = [await parts.enter_async_context(server) for server in (bare, ingest)]
        behind = {
            f"MILLRACE_{name}_URL": f"http://127.0.0.1:{servers[1].port}"
            for name in ("INGEST", "PROCESSOR", "NOTIFIER")
        }
        gateway = _running(
            "gateway",
            ["-m", "gateway"],
            common
            | behind
            | {
                "MILLRACE_DATABASE_URL": database.url("gateway"),
                "MILLRACE_ADMIN_KEY": admin_key,
                "MILLRACE_KEY_PEPPER": _SECRET,
            },
            folder,
        )
        yield servers[0], servers[1], await parts.enter_async_context(gateway)


async def run() -> Result:
    speeds: dict[str, list[float]] = {"sha256": [], "bare": [], "ingest": [], "gateway": []}
    admin_key = new_key()
    signer = PrincipalSigner(_SECRET)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        async with _servers(folder, admin_key) as (bare, ingest, gateway):
            for _ in range(ROUNDS):
                principal = signer.sign(Principal("bench", "key:bench", frozenset({"uploads:write"})))
                speeds["sha256"].append(_hashed(BYTES))
                speeds["bare"].append(await bare.upload(BYTES, "X-Bare: 1"))
                speeds["ingest"].append(await ingest.upload(BYTES, f"{PRINCIPAL_HEADER}: {principal}"))
                speeds["gateway"].append(await gateway.upload(BYTES, f"Authorization: Bearer {admin_key}"))
                _remove_uploads(folder)
            growth = {"ingest": ingest.growth_mb, "gateway": gateway.growth_mb}
            # What goes through the gateway goes through ingest too.
            cpu = {"ingest": ingest.cpu_seconds / 2, "gateway": gateway.cpu_seconds}
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    return Result(
        "upload",
        {"bytes": BYTES, "rounds": ROUNDS, "cores": os.cpu_count()},
        {
            **{f"{name}_mb_s": speed for name, speed in medians.items()},
            **{f"{name}_best_mb_s": max(found) for name, found in speeds.items()},
            "ingest_over_sha256": medians["ingest"] / medians["sha256"],
            **{f"{name}_cpu_s_per_gb": seconds / (ROUNDS * BYTES / 1e9) for name, seconds in cpu.items()},
            "peak_rss_mb": max(growth.values()),
            **{f"{name}_rss_mb": grown for name, grown in growth.items()},
        },
    )


def _remove_uploads(folder: Path) -> None:
    """They are as large as the disk may be small."""
    for blob in folder.glob("blobs/uploads/*/*"):
        blob.unlink()


def _hashed(size: int) -> float:
    """MB/s of SHA-256 by itself."""
    block = os.urandom(16 << 20)
    hashed = hashlib.sha256()
    began = perf_counter()
    for _ in range(size // len(block)):
        hashed.update(block)
    return size / _MB / (perf_counter() - began)
