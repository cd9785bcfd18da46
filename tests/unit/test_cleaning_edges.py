"""Files that are hardly any, or far too much: each gets a clear answer, and none makes the step's process larger than a
step may be."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from fixtures.archives import gzipped, zeros_gzipped, zipped
from processor.cleaning.small_views import STEP
from processor.step import StepError, Task
from processor.step_process import StepProcess

_MB = 1 << 20
_MEMORY_MB = 400
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Edge:
    content: Callable[[], bytes]
    code: str | None = None  # of the error; else it is cleaned
    rows: tuple[int, int, int] = (0, 0, 0)  # in, out, rejected
    reading: dict[str, Any] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)


_ROWS = "".join(f"{number},name {number}\n" for number in range(1000))
_TYPED: list[dict[str, Any]] = [{"rule": "trim"}, {"rule": "integer", "columns": ["id"]}]
_GIVEN = {"delimiter": ",", "header": True, "names": ["id", "name"], "preamble_lines": 0, "footer_lines": 0}
_PNG = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5000)


def _wide(columns: int) -> bytes:
    header, row = (",".join(f"{sign}{number}" for number in range(columns)) + "\n" for sign in ("c", ""))
    return (header + row * 20 + "1,2\n").encode()


EDGES: dict[str, Edge] = {
    "no bytes": Edge(lambda: b"", "empty_file"),
    "a byte order mark alone": Edge(lambda: b"\xef\xbb\xbf", "empty_file"),
    "a header alone": Edge(lambda: b"id,name\n", rows=(0, 0, 0), reading={"header": True}, rules=_TYPED),
    "a header without a line end": Edge(lambda: b"id,name", rows=(0, 0, 0), reading={"header": True}, rules=_TYPED),
    "one column": Edge(lambda: b"id\n1\n\n x\n3", rows=(4, 3, 1), reading={"delimiter": ","}, rules=_TYPED),
    "one row": Edge(lambda: b"id,name\n1,a\n", rows=(1, 1, 0), rules=_TYPED),
    "one cell": Edge(lambda: b"1", rows=(1, 1, 0), reading={"header": False}),
    "one character beyond ASCII": Edge("ß".encode, rows=(1, 1, 0), reading={"header": False}),
    "delimiters alone": Edge(lambda: b",,,\n" * 1000, "empty_file"),
    "blank lines alone": Edge(lambda: b"\n\r\n\r" * 1000, "empty_file"),
    "quotes alone": Edge(lambda: b'"' * 5001, rows=(1, 0, 1), reading={"header": False, "quote": '"'}),
    "lines of quotes alone": Edge(lambda: b'""""\n"\n' * 1000, rows=(1000, 1000, 0), reading={"header": False}),
    "NULs alone": Edge(lambda: bytes(5000), "not_csv"),
    "rows with NULs": Edge(
        lambda: (_ROWS + "7,a\0b\n" + _ROWS).encode(), rows=(2001, 2000, 1), reading={"header": False}
    ),
    "a PNG": Edge(lambda: _PNG, "not_csv"),
    "a PDF": Edge(lambda: b"%PDF-1.7\n" + _PNG, "not_csv"),
    "a spreadsheet": Edge(
        lambda: zipped({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "archive_is_document"
    ),
    "a bomb of gzip": Edge(lambda: zeros_gzipped(64 * _MB), "archive_ratio"),
    "a bomb of zip": Edge(lambda: zipped({"zeros.csv": bytes(64 * _MB)}), "archive_ratio"),
    "a small file that is compressed": Edge(lambda: gzipped(b"id,name\n1,a\n"), rows=(1, 1, 0), rules=_TYPED),
    "1,000 columns": Edge(lambda: _wide(1_000), rows=(21, 20, 1)),
    "10,000 columns": Edge(lambda: _wide(10_000), "out_of_memory"),
    "one enormous field in quotes": Edge(
        lambda: b'id,name\n1,a\n2,"' + (b"x" * 99 + b"\n") * 20_000 + b'"\n3,c\n',
        rows=(20_003, 2, 20_001),
        reading=_GIVEN,
        rules=_TYPED,
    ),
    "a million lines with next to nothing in them, within quotes": Edge(
        lambda: b'id,name\n1,a\n2,"' + b"x\n" * _MB + b'"\n3,c\n',
        rows=(_MB + 3, 2, _MB + 1),
        reading=_GIVEN,
        rules=_TYPED,
    ),
    "a quote that is never closed": Edge(
        lambda: ("id,name\n" + _ROWS + '7,"open\n' + _ROWS).encode(), rows=(2001, 2000, 1), rules=_TYPED
    ),
    "a line of 30 MB among others": Edge(
        lambda: b"id,name\n1,a\n" + b"x" * (30 * _MB) + b"\n3,c\n", rows=(3, 2, 1), rules=_TYPED
    ),
    "a first line of 30 MB": Edge(lambda: b"x" * (30 * _MB), "line_too_long"),
    "UTF-16 without a mark": Edge(
        lambda: ("id,name\r\n" + "1,Größe\r\n2,ağaç\r\n" * 50).encode("utf-16-be"), rows=(100, 100, 0), rules=_TYPED
    ),
    "UTF-32 with a unit that is no character": Edge(
        lambda: "id,name\n1,a\n2,".encode("utf-32") + b"\xff" * 4 + "b\n3,c\n".encode("utf-32-le"),
        rows=(3, 2, 1),
        rules=_TYPED,
    ),
    "what is no UTF-32": Edge(lambda: b"id,name\n1,a\n", "not_csv", reading={"encoding": "utf-32-le"}),
    "UTF-8 with rows of Latin-1": Edge(
        lambda: ("id,name\n" + "1,Größe\n" * 200).encode() + "2,Größe\n".encode("latin-1") * 3,
        rows=(203, 200, 3),
        rules=_TYPED,
    ),
    "UTF-8 and then UTF-16": Edge(
        lambda: ("id,name\n" + "1,Größe\n" * 500).encode() + "2,a\n".encode("utf-16-le"),
        rows=(502, 500, 2),
        reading=_GIVEN,
        rules=_TYPED,
    ),
}


@pytest_asyncio.fixture(scope="module")
async def step_process() -> AsyncIterator[StepProcess]:
    process = StepProcess()
    yield process
    await process.kill()


async def _clean(process: StepProcess, folder: Path, edge: Edge) -> dict[str, Any]:
    for name in ("scratch", "outputs"):
        (folder / name).mkdir()
    recipe = {"version": 1, "rules": edge.rules}
    options = {"clean": {"reading": edge.reading, "recipe": recipe}, "answer": "cleaned.parquet", "listed": 10}
    scratch, outputs = str(folder / "scratch"), str(folder / "outputs")
    task = Task(STEP, str(folder / "input"), options, scratch, _MEMORY_MB, 2, outputs=outputs)
    answer = await process.run(task, lambda _progress: None, stop=asyncio.Event(), grace=1)
    return dict(msgspec.json.decode(answer))


def _peak_mb(status: Path) -> int:
    """0, if it has just ended."""
    return max((int(peak) >> 10 for peak in re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())), default=0)


@asynccontextmanager
async def _within(process: StepProcess, megabytes: int) -> AsyncIterator[None]:
    """The process may be gone when its task is done: it is looked at meanwhile."""
    await process.warm_up()
    assert process._process is not None
    status = Path(f"/proc/{process._process.pid}/status")
    peaks = [0]

    async def watch() -> None:
        while True:
            with suppress(OSError):
                peaks.append(_peak_mb(status))
            await asyncio.sleep(_LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
    assert max(peaks) < megabytes


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES.keys())
async def test_a_file_gets_a_clear_answer(step_process: StepProcess, tmp_path: Path, edge: Edge) -> None:
    (tmp_path / "input").write_bytes(edge.content())
    async with _within(step_process, _MEMORY_MB):
        if edge.code is None:
            rows = (await _clean(step_process, tmp_path, edge))["rows"]
            assert (rows["in"], rows["out"], rows["rejected"]) == edge.rows
            return
        with pytest.raises(StepError) as refused:
            await _clean(step_process, tmp_path, edge)
        assert refused.value.code == edge.code
        assert re.fullmatch(r"[A-Z].{10,300}\.", refused.value.detail)


@pytest.mark.thorough
async def test_a_million_rows_with_next_to_nothing_in_them_are_refused(
    step_process: StepProcess, tmp_path: Path
) -> None:
    (tmp_path / "input").write_bytes(b"id,name\n" + b"x,\n" * _MB)
    async with _within(step_process, _MEMORY_MB):
        rows = (await _clean(step_process, tmp_path, Edge(bytes, reading=_GIVEN, rules=_TYPED)))["rows"]
    assert (rows["in"], rows["out"], rows["rejected"]) == (_MB, 0, _MB)


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ending", [b"\n2,b\n", b""], ids=["a row below", "nothing below"])
async def test_a_line_of_a_gigabyte_is_one_reject(step_process: StepProcess, tmp_path: Path, ending: bytes) -> None:
    """Sparse: it is of NULs but for its ends."""
    with (tmp_path / "input").open("wb") as file:
        file.write(b"id,name\n" + b"1,a\n" * 600_000)
        file.seek(1 << 30, 1)
        file.write(b"x" + ending)
    good = 600_000 + bool(ending)
    async with _within(step_process, _MEMORY_MB):
        rows = (await _clean(step_process, tmp_path, Edge(bytes, reading=_GIVEN, rules=_TYPED)))["rows"]
    assert (rows["in"], rows["out"], rows["rejected"]) == (good + 1, good, 1)
