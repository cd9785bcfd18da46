"""Neighbouring chunks, cleaned one after the other: a part of a file. What is left of them is as of one chunk."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from processor.cleaning.layout import Layout
from processor.cleaning.parquet.joining import join_bytes, join_parquet
from processor.cleaning.parts.counts import PartCounts, merged
from processor.cleaning.parts.part import Cleaner
from processor.cleaning.progress import Progress
from processor.cleaning.reading.chunks import Chunk
from processor.cleaning.recipe.compiling import Plan
from processor.cleaning.room import Room
from processor.cleaning.running import interruptible


def clean_group(
    fd: int,
    layout: Layout,
    chunks: Sequence[Chunk],
    plan: Plan,
    folder: Path,
    room: Room,
    progress: Progress,
    offset: int = 0,
) -> PartCounts:
    """Leaves files in the folder as `Cleaner` does. Raises `StepError` if there is not room enough."""
    counts: list[PartCounts] = []
    left: dict[str, list[Path]] = {}
    room.check_width(len(layout.names))
    with room.connect() as connection, interruptible(connection, progress.look):
        cleaner = Cleaner(connection, layout, plan, room.scratch)
        for at, chunk in enumerate(chunks):
            own = Path(room.scratch, f"chunk-{at}")
            own.mkdir()
            counts.append(cleaner.clean(fd, chunk, own, offset))
            for path in own.iterdir():
                left.setdefault(path.name, []).append(path)
            progress.cleaned(chunk, counts[-1])
    for name, paths in left.items():
        if len(paths) == 1:
            shutil.move(paths[0], folder / name)
        elif name.endswith(".parquet"):
            join_parquet(paths, folder / name)
        else:
            join_bytes(paths, folder / name)
    return merged(counts)
