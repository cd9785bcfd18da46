"""How fast a file of 1 GiB goes in by tus, as one PATCH and in chunks, until its last answer, which says that it is an
upload: durable, hashed, its event recorded.

Beside it, in the same run and on the same disk:
- `tus_server`: the server that tus.io publishes, which neither hashes nor syncs what it is sent;
- `tus_server_sha256`: the same, with a hook that hashes what came, so that one knows what one has;
- `bare`: a handler that hashes, writes and syncs a body of the same size, and knows nothing of tus;
- `sha256`: hashing by itself, which is the limit of all that hash, on one core.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.bench_upload import hashed_mb_s
from bench.processes import Watched, output, python, running
from bench.report import Aim, Result, percentiles
from bench.servers import open_database
from events.identity import PRINCIPAL_HEADER, Principal, PrincipalSigner
from fixtures.node import MODULES, beside_modules, installed_node
from gateway.auth.keys import new_key

BYTES = 1 << 30
CHUNK_BYTES = 8 << 20  # as clients are told to choose behind proxies that limit bodies
ROUNDS = 3

AIMS = {
    "over_tus_server": Aim(at_least=1),
    "over_bare": Aim(at_least=0.9),
    "peak_rss_mb": Aim(at_most=100),
}

_SECRET = "only-for-this-benchmark-and-nothing-else"
_HERE = Path(__file__).parent
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class _Server:
    process: Watched
    folder: Path  # where it puts what it is sent
    path: str = "/files"

    async def upload(self, chunk: int, headers: Mapping[str, str]) -> list[float]:
        """The seconds that each PATCH of one file took."""
        port, sizes = str(self.process.port), (str(BYTES), str(chunk))
        sender = (sys.executable, str(_HERE / "tus_sender.py"), "127.0.0.1", port, self.path, *sizes)
        took: list[float] = json.loads(await output(*sender, json.dumps(headers)))
        return took

    async def bare_upload(self) -> float:
        head = f"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {BYTES}\r\n\r\n"
        sender = (sys.executable, str(_HERE / "sender.py"), "127.0.0.1", str(self.process.port), str(BYTES), head)
        seconds, _, status = (await output(*sender)).partition(" ")
        if not status.startswith("HTTP/1.1 202"):
            raise RuntimeError(f"the bare handler said {status!r}")
        return float(seconds)

    def forget(self) -> None:
        """What came is as large as the disk may be small."""
        for file in self.folder.rglob("*"):
            if file.is_file():
                file.unlink()


@asynccontextmanager
async def _servers(folder: Path, admin_key: str) -> AsyncIterator[dict[str, _Server]]:
    """The bare handler, the peer, ingest, and a gateway before it."""
    async with AsyncExitStack() as parts:
        database = await parts.enter_async_context(open_database())
        folders = {name: folder / name for name in ("data", "bare", "peer", "peer_sha256")}
        for each in folders.values():
            each.mkdir()
        blobs, bare, peer, hashing = folders.values()
        common = {"MILLRACE_DATA_DIR": str(blobs), "MILLRACE_PRINCIPAL_SECRET": _SECRET}
        node = await asyncio.to_thread(installed_node)
        production = {"NODE_ENV": "production"}
        script = beside_modules(_HERE / "peers" / "tus_server.mjs", folder / "node")
        started = [
            await parts.enter_async_context(running(name, argv, environment, folder))
            for name, argv, environment in (
                ("bare", python(_HERE / "bare_upload.py", bare / "body"), {}),
                ("tus_server", [node, script, str(peer)], production),
                ("tus_server_sha256", [node, script, str(hashing), "sha256"], production),
                ("ingest", python("-m", "ingest"), common | {"MILLRACE_DATABASE_URL": database.url("ingest")}),
            )
        ]
        behind = {
            f"MILLRACE_{name}_URL": f"http://127.0.0.1:{started[3].port}"
            for name in ("INGEST", "PROCESSOR", "NOTIFIER")
        }
        secrets = {"MILLRACE_ADMIN_KEY": admin_key, "MILLRACE_KEY_PEPPER": _SECRET}
        environment = common | behind | secrets | {"MILLRACE_DATABASE_URL": database.url("gateway")}
        gateway = await parts.enter_async_context(running("gateway", python("-m", "gateway"), environment, folder))
        yield {
            "bare": _Server(started[0], bare),
            "tus_server": _Server(started[1], peer),
            "tus_server_sha256": _Server(started[2], hashing),
            "ingest": _Server(started[3], blobs, "/api/v1/files"),
            "gateway": _Server(gateway, blobs, "/api/v1/files"),
        }


async def run() -> Result:
    admin_key, signer = new_key(), PrincipalSigner(_SECRET)
    speeds: dict[str, list[float]] = {}
    patches: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        async with _servers(folder, admin_key) as servers:
            for _ in range(ROUNDS):
                principal = signer.sign(Principal("bench", "key:bench", frozenset({"uploads:write"})))
                headers = {
                    "tus_server": {},
                    "tus_server_sha256": {},
                    "ingest": {PRINCIPAL_HEADER: principal},
                    "gateway": {"Authorization": f"Bearer {admin_key}"},
                }
                speeds.setdefault("sha256", []).append(hashed_mb_s(BYTES))
                speeds.setdefault("bare", []).append(_mb_s([await servers["bare"].bare_upload()]))
                servers["bare"].forget()
                for who, said in headers.items():
                    for flow, chunk in (("", BYTES), ("_chunked", CHUNK_BYTES)):
                        took = await servers[who].upload(chunk, said)
                        servers[who].forget()
                        speeds.setdefault(who + flow, []).append(_mb_s(took))
                        if flow:
                            patches.setdefault(who, []).extend(took)
            growth = {who: server.process.growth_mb for who, server in servers.items()}
            cpu = {who: server.process.cpu_seconds for who, server in servers.items()}
    medians = {who: statistics.median(found) for who, found in speeds.items()}
    return Result(
        "tus",
        {"bytes": BYTES, "chunk_bytes": CHUNK_BYTES, "rounds": ROUNDS, "cores": os.cpu_count(), **_versions()},
        {
            "mb_s": medians["ingest"],
            "over_tus_server": medians["ingest"] / medians["tus_server"],
            "over_tus_server_sha256": medians["ingest"] / medians["tus_server_sha256"],
            "over_bare": medians["ingest"] / medians["bare"],
            "peak_rss_mb": max(growth["ingest"], growth["gateway"]),
            "chunked_over_tus_server": medians["ingest_chunked"] / medians["tus_server_chunked"],
            "gateway_over_tus_server": medians["gateway"] / medians["tus_server"],
            **{f"{who}_mb_s": speed for who, speed in medians.items()},
            **{f"{who}_best_mb_s": max(found) for who, found in speeds.items()},
            **{
                figure: found
                for who, took in patches.items()
                for figure, found in percentiles(f"{who}_patch", [each * 1000 for each in took], "ms").items()
            },
            **{f"{who}_rss_mb": grown for who, grown in growth.items()},
            **{f"{who}_cpu_s": seconds for who, seconds in cpu.items()},
        },
    )


def _versions() -> dict[str, str]:
    """Of the peer."""
    found = json.loads((MODULES / "@tus" / "server" / "package.json").read_text())
    return {"tus_server": found["version"]}


def _mb_s(took: list[float]) -> float:
    return BYTES / _MB / sum(took)
