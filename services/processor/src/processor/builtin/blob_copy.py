"""`blob.copy`: keeps a copy of a blob of the job's tenant as one of the job's artifacts."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from events.blobs.blobs import Blobs
from events.blobs.keys import ARTIFACTS, belongs_to, folder_of_job
from events.errors import NotFound
from processor.artifacts import artifact_of
from processor.builtin.handler import Attempt, Here
from processor.job_files import Noted
from processor.step import StepError


def blob_copy(blobs: Blobs, noted: Noted) -> Here:
    return partial(_copy, blobs, noted)


async def _copy(blobs: Blobs, noted: Noted, attempt: Attempt, parameters: Mapping[str, Any]) -> dict[str, Any]:
    source, name = parameters["blob"], parameters["name"]
    copy = f"{folder_of_job(ARTIFACTS, attempt.tenant, attempt.job_id)}/{attempt.output_name}/{name}"
    if "/" in name or not belongs_to(copy, attempt.tenant):
        raise StepError("invalid_name", "This cannot be the name of an artifact.")
    try:
        if not belongs_to(source, attempt.tenant):
            raise NotFound("")
        whole = (await blobs.stat(source)).bytes
        async with noted(attempt.tenant, attempt.job_id), blobs.writing(copy) as artifact:
            async for chunk in blobs.read(source, end=whole):
                await artifact.write(chunk)
                megabytes = f"{artifact.bytes / 1e6:.1f} of {whole / 1e6:.1f} MB"
                attempt.report(artifact.bytes / whole, f"Copying: {megabytes}")
    except NotFound:  # whether it is somebody else's is not told
        raise StepError("blob_missing", "There is no such blob.") from None
    attempt.artifacts.append(artifact_of(name, copy, whole))
    return {"blob": copy, "bytes": whole}
