"""How fast a dirty file is cleaned, with its rejects and its change log, beside bare DuckDB, Polars and pandas. They do
the same typed clean without rejects and log, and on the same file without its bad rows: after a quote that nobody
closes, none of them finds back. Each has two threads or two processes, one after the other.

MILLRACE_BENCH_MB is the file's size. The figures with `cpu` compare seconds of CPU, which tell more where others
use the machine too. The survey before the parts, and what puts them together, are one process's work, and counted.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import duckdb
import msgspec

from bench import cleaning_runs
from bench.dirty_table import NAMES, make
from bench.peers import programs
from bench.processes import output
from bench.report import Aim, Result, percentiles
from processor.cleaning.reading.chunks import CHUNK_BYTES

AIMS = {
    "mb_s": Aim(at_least=200),
    "over_duckdb": Aim(at_least=0.8),
    "over_pandas": Aim(at_least=5),
    "peak_rss_mb": Aim(at_most=400),
    "rejects_found": Aim(at_least=1),
}
PROCESSES = 2
ROUNDS = 2  # of ours and of DuckDB, by turns, of which the faster ones count
_PEER_SECONDS = 3600.0


class Peer(msgspec.Struct):
    rows: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


async def run() -> Result:
    megabytes = int(os.environ.get("MILLRACE_BENCH_MB", "1700"))
    await programs.install()
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder), megabytes)
        size = made.dirty.stat().st_size / 1e6
        ours, duckdbs = [], []
        for _ in range(ROUNDS):
            ours.append(cleaning_runs.clean(made.dirty, Path(folder) / "ours", PROCESSES))
            duckdbs.append(await _peer(sys.executable, "duckdb", made.clean))
        polars = await _peer(programs.PYTHON, "polars", made.clean)
        pandas = await _peer(programs.PYTHON, "pandas", made.clean)
    best, bare = min(ours, key=lambda run: run.seconds), min(duckdbs, key=lambda peer: peer.seconds)
    good = made.rows - made.bad
    assert bare.rows == polars.rows == pandas.rows == good
    assert best.cleaned.rows.out == good
    cpu_seconds = min(run.cpu_seconds for run in ours)
    return Result(
        "cleaning",
        {
            "megabytes": round(size),
            "rows": made.rows,
            "columns": len(NAMES),
            "bad_rows": made.bad,
            "changed_cells": best.cleaned.changed_cells,
            "processes": PROCESSES,
            "chunk_bytes": CHUNK_BYTES,
            "duckdb_memory_mb": cleaning_runs.MEMORY_MB,
            "duckdb": duckdb.__version__,
        },
        {
            "mb_s": size / best.seconds,
            "over_duckdb": bare.seconds / best.seconds,
            "over_polars": polars.seconds / best.seconds,
            "over_pandas": pandas.seconds / best.seconds,
            "peak_rss_mb": max(run.peak_mb for run in ours),
            "rejects_found": best.cleaned.rows.rejected / made.bad,
            **percentiles("chunk", [1000 * part.seconds for part in best.parts], "ms"),
            "mb_per_cpu_s": size / cpu_seconds,
            "cpu_over_duckdb": min(peer.cpu_seconds for peer in duckdbs) / cpu_seconds,
            "cpu_over_polars": polars.cpu_seconds / cpu_seconds,
            "cpu_over_pandas": pandas.cpu_seconds / cpu_seconds,
            "survey_s": best.survey_seconds,
            "parts_s": best.parts_seconds,
            "whole_s": best.whole_seconds,
            "duckdb_mb_s": size / bare.seconds,
            "duckdb_peak_rss_mb": bare.peak_mb,
            "polars_peak_rss_mb": polars.peak_mb,
            "pandas_peak_rss_mb": pandas.peak_mb,
        },
    )


async def _peer(python: str, name: str, path: Path) -> Peer:
    target = path.parent / f"{name}.parquet"
    program = (python, "-m", f"bench.peers.cleaning_{name}", str(path), str(target), str(PROCESSES))
    said = await output(*program, seconds=_PEER_SECONDS)
    target.unlink(missing_ok=True)
    return msgspec.convert(json.loads(said.splitlines()[-1]), Peer)
