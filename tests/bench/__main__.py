"""Runs every `bench_<name>.py` of this folder, or those that are named, each in a process of its own."""

import asyncio
import importlib
import subprocess
import sys
from pathlib import Path

from bench.report import Result, report

NAMES = sorted(file.stem.removeprefix("bench_") for file in Path(__file__).parent.glob("bench_*.py"))


def main(chosen: list[str]) -> int:
    unknown = set(chosen) - set(NAMES)
    if unknown:
        print(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    if len(chosen) == 1:
        _run(chosen[0])
        return 0
    # One process each, so that no benchmark runs beside another's leftovers.
    failed = [name for name in chosen or NAMES if subprocess.run([sys.executable, "-m", "bench", name]).returncode != 0]
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str) -> None:
    bench = importlib.import_module(f"bench.bench_{name}")
    result: Result = asyncio.run(bench.run())
    report(result, getattr(bench, "AIMS", None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
