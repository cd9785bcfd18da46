"""What it costs the process of a step to open hostile files."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from fixtures.archives import gzipped, zeros_gzipped, zipped, zstandard
from fixtures.opening import Opening
from processor.step import StepError
from processor.step_process import StepProcess

_MOST_GROWTH_MB = 24
_MB = 1 << 20


COSTLY: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "much that is wrong at its end": (lambda: zeros_gzipped(64 * _MB)[:-8] + bytes(8), "archive_damaged", 2000),
    "a bomb": (lambda: zeros_gzipped(64 * _MB), "archive_ratio", 200),
    "a bomb of zstd": (lambda: zstandard(bytes(64 * _MB)), "archive_ratio", 200),
    "a zip of zeros": (lambda: zipped({"zeros": bytes(64 * _MB)}), "archive_ratio", 200),
    "members without end": (lambda: gzipped(b"") * 100_001, "archive_too_many_parts", 200),
    "frames without end": (lambda: zstandard(b"") * 100_001, "archive_too_many_parts", 200),
    "a directory without end": (
        lambda: zipped({f"{number}": b"" for number in range(10_001)}),
        "archive_too_many_entries",
        200,
    ),
    "a name without end": (lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * (64 * _MB), "archive_truncated", 200),
}


@pytest_asyncio.fixture(scope="module")
async def step_process(opening: Opening) -> AsyncIterator[StepProcess]:
    """One that has loaded all that it needs for honest files."""
    process = StepProcess()
    await _run(process, opening, zipped({"a.gz": gzipped(zstandard())}))
    yield process
    await process.kill()


@pytest.mark.parametrize(("content", "code", "ratio"), COSTLY.values(), ids=COSTLY.keys())
async def test_a_hostile_file_does_not_make_the_process_grow(
    opening: Opening, step_process: StepProcess, content: Callable[[], bytes], code: str, ratio: int
) -> None:
    before = _forget_peak(step_process)
    with pytest.raises(StepError) as refused:
        await _run(step_process, opening, content(), ratio=ratio)
    assert refused.value.code == code
    assert list(opening.scratch.iterdir()) == []
    assert _megabytes(step_process, "VmHWM") - before < _MOST_GROWTH_MB


async def _run(process: StepProcess, opening: Opening, content: bytes, ratio: int = 200) -> None:
    task = opening.task(content, ratio=ratio)
    await process.run(task, lambda _progress: None, stop=asyncio.Event(), grace=1)


def _forget_peak(process: StepProcess) -> int:
    """What it has in memory now; from now on its peak counts anew."""
    assert process._process is not None
    Path(f"/proc/{process._process.pid}/clear_refs").write_text("5")
    return _megabytes(process, "VmRSS")


def _megabytes(process: StepProcess, name: str) -> int:
    assert process._process is not None
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process._process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) >> 10
