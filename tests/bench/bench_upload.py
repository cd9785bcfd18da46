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

from bench.processes import Watched, python, running
from bench.report import Aim, Result
from bench.servers import open_database
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from gateway.auth.keys import new_key

BYTES = 1 << 30
ROUNDS = 3

AIMS = {"ingest_mb_s": Aim(at_least=450), "gateway_mb_s": Aim(at_least=300), "peak_rss_mb": Aim(at_most=100)}

_SECRET = "only-for-this-benchmark-and-nothing-else"
_SENDER = Path(__file__).with_name("sender.py")
_BARE = Path(__file__).with_name("bare_upload.py")
_MB = 1_000_000


async def _upload(server: Watched, size: int, header: str) -> float:
    """MB/s of one upload."""
    head = f"POST /api/v1/uploads HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n{header}\r\n\r\n"
    sender = await asyncio.create_subprocess_exec(
        sys.executable, _SENDER, "127.0.0.1", str(server.port), str(size), head, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await sender.communicate()
    seconds, _, status = said.decode().strip().partition(" ")
    if not status.startswith("HTTP/1.1 202"):
        raise RuntimeError(f"the upload was not accepted: {said!r}")
    return size / _MB / float(seconds)


@asynccontextmanager
async def _servers(folder: Path, admin_key: str) -> AsyncIterator[tuple[Watched, Watched, Watched]]:
    """A bare handler, ingest, and a gateway before it."""
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(open_database())
        common = {"MILLRACE_DATA_DIR": str(folder), "MILLRACE_PRINCIPAL_SECRET": _SECRET}
        bare = running("bare", python(_BARE, folder / "bare"), {}, folder)
        ingest = running(
            "ingest", python("-m", "ingest"), common | {"MILLRACE_DATABASE_URL": database.url("ingest")}, folder
        )
        servers = [await parts.enter_async_context(server) for server in (bare, ingest)]
        behind = {
            f"MILLRACE_{name}_URL": f"http://127.0.0.1:{servers[1].port}"
            for name in ("INGEST", "PROCESSOR", "NOTIFIER")
        }
        gateway = running(
            "gateway",
            python("-m", "gateway"),
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
                speeds["sha256"].append(hashed_mb_s(BYTES))
                speeds["bare"].append(await _upload(bare, BYTES, "X-Bare: 1"))
                speeds["ingest"].append(await _upload(ingest, BYTES, f"{PRINCIPAL_HEADER}: {principal}"))
                speeds["gateway"].append(await _upload(gateway, BYTES, f"Authorization: Bearer {admin_key}"))
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


def hashed_mb_s(size: int) -> float:
    """MB/s of SHA-256 by itself."""
    block = os.urandom(16 << 20)
    hashed = hashlib.sha256()
    began = perf_counter()
    for _ in range(size // len(block)):
        hashed.update(block)
    return size / _MB / (perf_counter() - began)
