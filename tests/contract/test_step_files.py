"""A step finds its files and leaves some, whether blobs lie on its own disk or in an object store."""

import os
from pathlib import Path

import pytest

from events.blobs.blobs import Blobs
from events.blobs.keys import STAGED
from fixtures.attempts import JOB, unnoted
from fixtures.blobs import Store, keys
from processor.step import StepError
from processor.step_files import StepFiles


@pytest.fixture
def step_files(blobs: Blobs, tmp_path_factory: pytest.TempPathFactory) -> StepFiles:
    return StepFiles(blobs, unnoted, tmp_path_factory.mktemp("attempt"), "acme", JOB, "clean.1.7", disk_free_bytes=0)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


async def test_a_step_is_given_one_file_and_several(blobs: Blobs, step_files: StepFiles) -> None:
    content = {f"uploads/acme/{number}": os.urandom(1000) for number in range(9)}
    for key, data in content.items():
        await blobs.put(key, data)
    first, *others = content
    given = await step_files.fetch({"blob": first, "blobs": [*reversed(others)]})
    assert read(given.input) == content[first]
    assert [read(path) for path in given.inputs] == [content[key] for key in reversed(others)]
    assert given.input_offset == 0
    assert not any(step_files.scratch.iterdir())


async def test_a_step_may_be_given_no_file(step_files: StepFiles) -> None:
    given = await step_files.fetch({})
    assert (given.input, given.input_offset, given.inputs) == ("", 0, ())


async def test_a_large_file_is_fetched_in_pieces(blobs: Blobs, step_files: StepFiles) -> None:
    content = os.urandom((20 << 20) + 7)
    await blobs.put("uploads/acme/1", content)
    assert read((await step_files.fetch({"blob": "uploads/acme/1"})).input) == content
    found = await step_files.fetch({"blob": "uploads/acme/1", "range": [5, 17 << 20]})
    begin = 5 - found.input_offset
    assert read(found.input)[begin : begin + (17 << 20) - 5] == content[5 : 17 << 20]


async def test_what_the_disk_has_no_room_for_is_not_fetched(store: Store, tmp_path: Path) -> None:
    await store.blobs.put("uploads/acme/1", b"a,b\n")
    files = StepFiles(store.blobs, unnoted, tmp_path, "acme", JOB, "clean.1.7", disk_free_bytes=1 << 62)
    if store.bucket is None:
        assert read((await files.fetch({"blob": "uploads/acme/1"})).input) == b"a,b\n", "it lies there already"
        return
    with pytest.raises(StepError) as full:
        await files.fetch({"blob": "uploads/acme/1"})
    assert full.value.code == "disk_full"


@pytest.mark.parametrize(("start", "end"), [(0, 10), (300, 800), (990, 2000), (5000, 6000)])
async def test_of_a_file_that_lies_elsewhere_only_the_range_is_fetched(
    store: Store, step_files: StepFiles, start: int, end: int
) -> None:
    content = os.urandom(1000)
    await store.blobs.put("uploads/acme/1", content)
    given = await step_files.fetch({"blob": "uploads/acme/1", "range": [start, end]})
    found = read(given.input)
    assert found[start - given.input_offset : end - given.input_offset] == content[start:end]
    assert len(found) == (1000 if store.bucket is None else len(content[start:end]))


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        ("uploads/acme/none", "input_missing"),
        ("uploads/other/1", "input_missing"),
        (f"staged/acme/{JOB}/survey.1.3/chunk", "staged_missing"),
    ],
)
async def test_a_file_that_is_gone_or_somebody_elses_is_missing(
    blobs: Blobs, step_files: StepFiles, blob: str, code: str
) -> None:
    await blobs.put("uploads/other/1", b"x")
    await blobs.put("uploads/acme/1", b"x")
    for parameters in ({"blob": blob}, {"blobs": ["uploads/acme/1", blob]}):
        with pytest.raises(StepError) as missing:
            await step_files.fetch(parameters)
        assert missing.value.code == code


async def test_what_a_step_leaves_becomes_blobs(blobs: Blobs, step_files: StepFiles) -> None:
    for folder, name in (("artifacts", "report.html"), ("artifacts", "cleaned.csv"), ("staged", "part-0")):
        (step_files.outputs / folder).mkdir(exist_ok=True)
        (step_files.outputs / folder / name).write_text(name)
    artifacts = await step_files.keep()
    assert [(one["name"], one["bytes"], one["content_type"]) for one in artifacts] == [
        ("cleaned.csv", 11, "text/csv"),
        ("report.html", 11, "text/html"),
    ]
    assert [await blobs.get(one["blob"]) for one in artifacts] == [b"cleaned.csv", b"report.html"]
    assert await keys(blobs) == [
        f"artifacts/acme/{JOB}/clean.1.7/cleaned.csv",
        f"artifacts/acme/{JOB}/clean.1.7/report.html",
        f"staged/acme/{JOB}/clean.1.7/part-0",
    ]
    assert await blobs.get(f"{step_files.key_of(STAGED)}/part-0") == b"part-0"


@pytest.mark.parametrize("name", ["a b", ".hidden.partial", "ä", "x" * 101, "folder/file", "link", "pipe"])
async def test_what_cannot_be_a_blob_is_not_taken(blobs: Blobs, step_files: StepFiles, name: str) -> None:
    left = step_files.outputs / "artifacts" / name
    left.parent.mkdir(parents=True)
    if name == "link":
        left.symlink_to("/etc/hostname")
    elif name == "pipe":
        os.mkfifo(left)
    else:
        left.write_text("x")
    with pytest.raises(ValueError, match="which cannot become a blob"):
        await step_files.keep()
    assert await keys(blobs) == []
