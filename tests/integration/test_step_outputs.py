"""Steps leave files: for the steps behind them, and for whoever has started the job."""

from typing import Any

from fixtures.blobs import keys
from fixtures.processor import OpenProcessor, step_of


def leaving(blob: str, files: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": "leave", "files": files}}, **more}


def reading(blob: str, **more: Any) -> dict[str, Any]:
    return {"uses": "csv-profile", "with": {"blob": blob, "options": {"do": "read"}}, **more}


async def test_a_step_reads_what_a_former_one_has_left(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True) as processor:
        given = await processor.store(b"")
        job = await processor.outcome(
            {
                "make": leaving(given, {"staged/part": "a part", "artifacts/whole.csv": "a,b\n"}),
                "part": reading("${{ steps.make.output.keys['staged/part'] }}", depends=["make"]),
                "whole": reading("${{ steps.make.output.keys['artifacts/whole.csv'] }}", depends=["make"]),
            }
        )
        assert job["status"] == "COMPLETED", job["error"]
        assert step_of(job, "part")["output"] == {"read": "a part"}
        assert step_of(job, "whole")["output"] == {"read": "a,b\n"}
        (whole,) = [key async for key in processor.parts.blobs.keys("artifacts/acme")]
        assert whole == step_of(job, "make")["output"]["keys"]["artifacts/whole.csv"]


async def test_a_step_that_does_not_end_well_leaves_nothing(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, step_attempts=1) as processor:
        given = await processor.store(b"")
        job = await processor.outcome({"a": leaving(given, {"artifacts/a b": "no name of a blob", "staged/c": "x"})})
        assert (job["status"], job["error"]["code"]) == ("FAILED", "step_crashed")
        assert await keys(processor.parts.blobs) == [given]
