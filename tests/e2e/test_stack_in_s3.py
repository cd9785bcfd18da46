"""`make stack` with its blobs in S3: what a user sets is all that it takes."""

import hashlib
from pathlib import Path

import aiohttp
import pytest

from fixtures.client import Client
from fixtures.s3 import Bucket
from fixtures.stack import OpenStack
from fixtures.tus_client import TusClient

TABLE = b"id,name\n" + b"".join(b"%d,somebody\n" % number for number in range(100_000))


async def test_a_file_by_tus_goes_into_s3_and_jobs_read_it_and_leave_files_there(
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
        recipe = {"version": 1, "rules": [{"rule": "case", "columns": ["name"], "to": "upper"}]}
        wish = {"upload_id": str(file.id), "input": {"options": {"recipe": recipe}}}
        clean = await client.send("POST", "/api/v1/workflows/csv-clean/jobs", wish)
        assert (await client.watch(clean["id"])).frames[-1]["status"] == "COMPLETED"
        path = f"/api/v1/jobs/{clean['id']}/artifacts"
        made = await client.get_until_answered(path)
        asked = {"X-API-Key": stack.admin_key, "Range": "bytes=-15"}
        async with aiohttp.request("GET", f"{stack.base_url}{path}/cleaned.csv", headers=asked) as end:
            assert (end.status, await end.read()) == (206, b"99999,SOMEBODY\n")
    assert seen.frames[-1]["status"] == "COMPLETED"
    assert job["result"]["rows"] == 100_000
    assert upload["sha256"] == hashlib.sha256(TABLE).hexdigest()
    assert {f"kept/uploads/default/{file.id}", *(f"kept/{one['blob']}" for one in made["items"])} <= {
        *await bucket.keys()
    }
    assert not (tmp_path / "stack" / "blobs").exists()
