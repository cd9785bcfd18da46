"""Our cleaning of a whole file: surveyed, all of its chunks by processes as steps have them, and put together."""

import multiprocessing
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

from bench.dirty_table import NAMES, NULLS, TEXTS
from bench.peak import peak_mb
from processor.cleaning.parts.counts import PartCounts
from processor.cleaning.parts.part import Cleaner
from processor.cleaning.progress import Progress, Shares
from processor.cleaning.reading.chunks import Chunk
from processor.cleaning.reading.options import options_from
from processor.cleaning.recipe.compiling import compile_recipe
from processor.cleaning.recipe.validation import validate
from processor.cleaning.room import Room
from processor.cleaning.survey import Survey, survey
from processor.cleaning.whole.finishing import Cleaned, finish

MEMORY_MB = 100  # that DuckDB may use in each process
RECIPE = {
    "version": 1,
    "rules": [
        {"rule": "trim", "columns": TEXTS},
        {"rule": "null_tokens", "columns": TEXTS, "tokens": NULLS},
        {"rule": "integer", "columns": ["id", "quantity"]},
        {"rule": "decimal", "columns": ["amount"], "scale": 2},
        {"rule": "date", "columns": ["day"]},
        {"rule": "boolean", "columns": ["paid"]},
    ],
    "output": {"format": "parquet"},
}


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    counts: PartCounts
    seconds: float
    cpu_seconds: float
    pid: int
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Run:
    parts: list[Part]
    cleaned: Cleaned
    survey_seconds: float
    parts_seconds: float
    whole_seconds: float
    own_cpu_seconds: float  # of the survey and the whole

    @property
    def seconds(self) -> float:
        return self.survey_seconds + self.parts_seconds + self.whole_seconds

    @property
    def cpu_seconds(self) -> float:
        return self.own_cpu_seconds + sum(part.cpu_seconds for part in self.parts)

    @property
    def peak_mb(self) -> float:
        """Of all processes together, if their peaks were at the same time."""
        return sum(
            {part.pid: max(one.peak_mb for one in self.parts if one.pid == part.pid) for part in self.parts}.values()
        )


def clean(path: Path, folder: Path, processes: int) -> Run:
    began, cpu_began = perf_counter(), process_time()
    seen = survey(path, options_from({}))
    surveyed, cpu_surveyed = perf_counter() - began, process_time() - cpu_began
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _open, (path, seen, folder)) as pool:
        pool.map(_warm_up, range(processes), chunksize=1)
        began = perf_counter()
        parts = list(pool.imap(_clean, enumerate(seen.chunks)))
        cleaned = perf_counter() - began
    began, cpu_began = perf_counter(), process_time()
    whole = _put_together(path, seen, parts, folder)
    return Run(parts, whole, surveyed, cleaned, perf_counter() - began, cpu_surveyed + process_time() - cpu_began)


def _put_together(path: Path, seen: Survey, parts: list[Part], folder: Path) -> Cleaned:
    recipe = validate(RECIPE).recipe
    assert recipe is not None
    files: dict[str, list[Path]] = {}
    for part in parts:
        for file in sorted((folder / f"{part.number}").iterdir()):
            files.setdefault(file.name, []).append(file)
    (folder / "whole").mkdir()
    progress = Progress(lambda _share, _message: None, 1, Shares(0, 0))
    plan, room = compile_recipe(recipe, NAMES), Room(MEMORY_MB, 1, str(folder))
    counts = [part.counts for part in parts]
    return finish(path, seen, plan, counts, files, folder / "whole", room, progress, {})[0]


class _Worker:
    def __init__(self, path: Path, seen: Survey, folder: Path) -> None:
        recipe = validate(RECIPE).recipe
        assert recipe is not None
        assert seen.layout.names == NAMES
        self.fd = os.open(path, os.O_RDONLY)
        self.folder = folder
        room = Room(MEMORY_MB, 1, str(folder))
        self._open = ExitStack()
        connection = self._open.enter_context(room.connect())
        self.cleaner = Cleaner(connection, seen.layout, compile_recipe(recipe, NAMES), str(folder))


_worker: _Worker  # one for each process


def _open(path: Path, seen: Survey, folder: Path) -> None:
    global _worker
    _worker = _Worker(path, seen, folder)


def _warm_up(_: int) -> None:
    """A step's process is there before the step."""


def _clean(numbered: tuple[int, Chunk]) -> Part:
    number, chunk = numbered
    folder = _worker.folder / f"{number}"
    folder.mkdir()
    began, cpu_began = perf_counter(), process_time()
    counts = _worker.cleaner.clean(_worker.fd, chunk, folder)
    seconds, cpu_seconds = perf_counter() - began, process_time() - cpu_began
    return Part(number, counts, seconds, cpu_seconds, os.getpid(), peak_mb())
