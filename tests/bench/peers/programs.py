"""Runs the contenders' programs, each in its own process: the peers' with the packages that requirements.lock pins for
them, ours with our own."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.processes import output

_ROOT = Path(__file__).parents[3]
_BOOTSTRAP = _ROOT / "deploy" / "bootstrap.py"
PYTHON = str(_ROOT / "build" / "bench" / "peers-venv" / "bin" / "python")
_LAST_WORDS = 2_000
_PEER_SECONDS = 900.0
_INSTALL_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Peer:
    settings: dict[str, object]
    figures: dict[str, float]


async def install() -> None:
    """Bring the peers' environment up to date; at once if it is."""
    await output(sys.executable, str(_BOOTSTRAP), "peers", seconds=_INSTALL_SECONDS)


async def millrace(database_url: str, **sizes: float) -> Peer:
    """All that our processor was measured at; `sizes` are options of engine_runs.py."""
    return await _program(sys.executable, "bench.engine_runs", database_url, sizes)


async def dbos(database_url: str, **sizes: float) -> Peer:
    """All that DBOS was measured at, in the empty database at the URL; `sizes` are options of dbos_peer.py."""
    return await _program(PYTHON, "bench.peers.dbos_peer", database_url, sizes)


async def procrastinate(database_url: str, **sizes: float) -> Peer:
    """All that procrastinate was measured at, in the empty database at the URL; `sizes` are options of its program."""
    return await _program(PYTHON, "bench.peers.procrastinate_peer", database_url, sizes)


async def _program(python: str, program: str, database_url: str, sizes: dict[str, float]) -> Peer:
    options = [f"--{name.replace('_', '-')}={size}" for name, size in sizes.items()]
    said = await output(python, "-m", program, database_url, *options, seconds=_PEER_SECONDS)
    lines = said.splitlines()
    try:
        return Peer(**json.loads(lines[-1]))
    except (IndexError, ValueError, TypeError):
        raise RuntimeError(f"{program} ended well but did not say what it found: {said[-_LAST_WORDS:]!r}") from None
