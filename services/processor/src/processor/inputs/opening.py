"""Opens what a client has sent: as it is, or decompressed into the step's scratch folder, layer by layer.

What a file is, its first bytes say, not its name. At most two layers are on the disk at once, and a piece of one is in
memory.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processor.inputs.layer import check_size, store
from processor.inputs.source import Source
from processor.inputs.streams import GZIP_MAGIC, gunzip, is_zstd, unzstd
from processor.inputs.zip_directory import END_MAGIC, ENTRY_MAGIC, SPANNED_MAGIC, read_directory
from processor.inputs.zip_entry import WITHIN, choose, data_offset, read_entry
from processor.step import Report, StepError, Task

_HEAD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Input:
    """A file that a step can read."""

    path: Path
    bytes: int
    compression: tuple[str, ...]  # from the outermost layer on
    entry: str | None  # of a zip; of a zip in a zip, behind the other's

    def described(self) -> dict[str, Any]:
        """For a step's result."""
        return {"compression": list(self.compression), "entry": self.entry, "bytes": self.bytes}


def open_input(task: Task, report: Report) -> Input:
    """The task's file. Raises `StepError`, with nothing left in the scratch folder, if it cannot be opened."""
    folder = Path(task.scratch) / "opened"
    try:
        return _open(task, report, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def open_first(task: Task, report: Report, share: float) -> tuple[Input, Report]:
    """The task's file, and the report of what is done with it: opening is this share of the work, if there is something
    to be opened."""
    given = open_input(task, lambda done, message: report(share * done, message))
    if not given.compression:
        return given, report
    return given, lambda done, message: report(share + (1 - share) * done, message)


def _open(task: Task, report: Report, folder: Path) -> Input:
    path, wanted = Path(task.input), task.options.get("entry")
    size = sent = path.stat().st_size
    compression: list[str] = []
    names: list[str] = []
    while format_ := _format_of(path):
        if len(compression) == task.caps.depth:
            detail = f"The file is compressed in more than {task.caps.depth} layers. Send it with fewer."
            raise StepError("archive_depth", detail)
        folder.mkdir(exist_ok=True)
        target = folder / f"layer-{len(compression)}"
        on_bytes = _telling(report, len(compression), size)
        memory_bytes = task.memory_mb << 20
        with path.open("rb") as file:
            match format_:
                case "zip":
                    entry, wanted = choose(read_directory(file, task.caps.entries), wanted)
                    check_size(entry.bytes, sent, task.caps)
                    names.append(entry.name)
                    source = Source(file, data_offset(file, entry), entry.compressed, on_bytes)
                    pieces = read_entry(source, entry, memory_bytes)
                case "gzip":
                    source = Source(file, 0, size, on_bytes)
                    pieces = gunzip(source)
                case _:
                    source = Source(file, 0, size, on_bytes)
                    pieces = unzstd(source, memory_bytes)
            store(target, pieces, sent, task.caps, source.tell)
        if compression:
            path.unlink()
        compression.append(format_)
        path, size = target, target.stat().st_size
    if wanted is not None:
        raise StepError("archive_entry_missing", f"There is no zip that could have the entry {wanted!r:.60}.")
    return Input(path, size, tuple(compression), WITHIN.join(names) or None)


def _format_of(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((ENTRY_MAGIC, END_MAGIC, SPANNED_MAGIC)):
        return "zip"
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if is_zstd(head) else None


def _telling(report: Report, depth: int, size: int) -> Callable[[int], None]:
    """Nobody knows how many layers there are: each has half of what is left."""
    begin, share = 1 - 0.5**depth, 0.5 ** (depth + 1)

    def tell(read: int) -> None:
        report(begin + share * read / size, f"Decompressing: {read / 1e6:.1f} of {size / 1e6:.1f} MB")

    return tell
