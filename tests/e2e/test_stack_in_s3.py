"""`make stack` with its blobs in S3: what a user sets is all that it takes."""

import hashlib
from pathlib import Path

import pytest

from fixtures.client import Client
from fixtures.s3 import Bucket
from fixtures.stack import OpenStack
from fixtures.tus_client import TusClient

TABLE = b"id,name\n" + b"".join(b"%d,somebody\n" % number for number in range(100_000))


async def test_a_file_by_tus_goes_into_s3_and_a_job_reads_it_there(
    bucket: Bucket, open_stack: OpenStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_BLOBS_URL", bucket.url)
    async with (
        open_stack(tmp_path / "stack") as stack,
        TusClient(stack.base_url, stack.admin_key) as tus,
        Client(stack.base_url, stack.admin_key) as client,
    ):
        file = await tus.send(TABLE)
        seen = await client.watch(file.job_id)
        job = await client.get_until_answered(f"/api/v1/jobs/{file.job_id}")
        upload = await client.get_until_answered(f"/api/v1/uploads/{file.id}")
    assert seen.frames[-1]["status"] == "COMPLETED"
    assert job["result"]["rows"] == 100_000
    assert upload["sha256"] == hashlib.sha256(TABLE).hexdigest()
    assert f"kept/uploads/default/{file.id}" in await bucket.keys()
    assert not (tmp_path / "stack" / "blobs").exists()
