"""A disk that is small enough to be filled."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class SmallDisk:
    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """To its last byte."""
        with self._ballast.open("wb", buffering=0) as ballast:
            for block in (_BLOCK, 4096, 1):
                try:
                    while True:
                        ballast.write(bytes(block))
                except OSError as full:
                    assert full.errno == errno.ENOSPC  # noqa: PT017 - of a loop that ends in no other way

    def empty(self) -> None:
        """Of what we have filled it with."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[SmallDisk | None]:
    """At `path`, which is made; None if we may not mount here, and then it is a folder like any other."""
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        yield None
        return
    mounted = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield SmallDisk(path)
    finally:
        # Where it is now: another session may have moved our folder away. Lazily: what still runs on it holds it.
        place = os.readlink(f"/proc/self/fd/{mounted}")
        os.close(mounted)
        subprocess.run(["umount", "--lazy", place], check=True)
