"""Compressed files from the intake to the end of their jobs."""

from pathlib import Path

import pytest

from fixtures.archives import CSV, gzipped, zeros_gzipped, zipped, zstandard
from fixtures.processor import OpenProcessor, Processor


@pytest.mark.parametrize(
    ("content", "compression"),
    [(gzipped(), ["gzip"]), (zstandard(), ["zstd"]), (zipped({"in.csv.gz": gzipped()}), ["zip", "gzip"])],
    ids=["gzip", "zstd", "gzip in zip"],
)
async def test_a_compressed_upload_is_profiled(processor: Processor, content: bytes, compression: list[str]) -> None:
    job = await processor.run(content)
    assert (job["status"], job["input"]["bytes"]) == ("COMPLETED", len(content))
    assert job["result"]["rows"] == 500
    entry = "in.csv.gz" if "zip" in compression else None
    assert job["result"]["input"] == {"compression": compression, "entry": entry, "bytes": len(CSV)}


async def test_an_archive_that_cannot_be_opened_fails_its_job_with_a_reason(
    processor: Processor, tmp_path: Path
) -> None:
    several = await processor.run(zipped({"a.csv": CSV, "b.csv": CSV}))
    assert (several["status"], several["error"]["code"]) == ("FAILED", "archive_several_files")
    assert "'a.csv', 'b.csv'" in several["error"]["detail"]
    bomb = await processor.run(zeros_gzipped(8 << 20))
    assert (bomb["error"]["code"], bomb["attempts"]) == ("archive_ratio", 1)
    assert list((tmp_path / "scratch").glob("*/*")) == []


async def test_the_options_say_which_entry_is_meant(processor: Processor) -> None:
    blob = await processor.store(zipped({"a.csv": b"a\n1\n", "b.csv": CSV}))
    given = {"blob": blob, "options": {"entry": "b.csv"}}
    asked = await processor.finished(await processor.start("csv-profile", input=given))
    assert asked["result"]["input"]["entry"] == "b.csv"
    given = {"blob": blob, "options": {"entry": 7}}
    wrong = await processor.finished(await processor.start("csv-profile", input=given))
    assert wrong["error"]["code"] == "invalid_parameters"


async def test_the_caps_are_settings_of_the_processor(open_processor: OpenProcessor) -> None:
    async with open_processor(archive_bytes=100, archive_depth=1) as processor:
        assert (await processor.run(gzipped()))["error"]["code"] == "archive_too_large"
        assert (await processor.run(zstandard(zstandard(b"a"))))["error"]["code"] == "archive_depth"
