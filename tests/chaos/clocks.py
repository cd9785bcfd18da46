"""Clocks of services that go wrong while they run: Debian's libfaketime asks a file for each of them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.packages import debian_program


@dataclass(frozen=True, slots=True)
class Clocks:
    folder: Path
    library: Path

    def settings_of(self, process: str) -> Mapping[str, str]:
        """Timers stay right, as they do where a clock is set."""
        self.skew(process, 0.0)
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / process),
            "FAKETIME_CACHE_DURATION": "1",  # seconds until it looks again
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def skew(self, process: str, seconds: float) -> None:
        draft = self.folder / f".{process}"
        draft.write_text(f"{seconds:+.1f}s\n")
        os.replace(draft, self.folder / process)


@contextmanager
def open_clocks(folder: Path) -> Iterator[Clocks]:
    program = debian_program("faketime", "faketime")
    (library,) = program.parents[1].glob("lib/*/faketime/libfaketime.so.1")
    folder.mkdir()
    yield Clocks(folder, library)
    # It shares something between a process and its children, which nobody takes away when they are killed.
    for shared in Path("/dev/shm").glob("*faketime_s?m_*"):
        if not Path("/proc", shared.name.rpartition("_")[2]).exists():
            shared.unlink(missing_ok=True)
