"""How much memory a process has had at most."""

from pathlib import Path


def peak_mb() -> float:
    # Of `getrusage`, a process begins with what its parent had.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
