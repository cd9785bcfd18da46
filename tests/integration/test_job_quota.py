"""How many jobs a tenant may have. What was promised with an upload is made all the same, and says why it failed."""

import asyncio
from typing import Any
from uuid import UUID

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from fixtures.processor import OpenProcessor, Processor, stored_upload
from processor.quota import JobQuota

CSV = b"a,b\n1,2\n"


def refused(job: dict[str, Any]) -> bool:
    assert job["status"] in ("COMPLETED", "FAILED"), job
    return job["status"] == "FAILED" and str(job["error"]["code"]) == "quota_exceeded"


async def all_finished(processor: Processor, jobs: list[UUID]) -> list[dict[str, Any]]:
    return [await processor.finished(job_id) for job_id in jobs]


async def test_a_job_beyond_the_days_quota_fails_at_once_and_says_why(
    open_processor: OpenProcessor, database: Database
) -> None:
    async with open_processor(quota_jobs_per_day=2) as processor, as_owner(database) as owner:
        assert [refused(await processor.run(CSV)) for _ in range(4)] == [False, False, True, True]
        job_id = await processor.begin(CSV)
        job = await processor.finished(job_id)
        assert processor.types(job_id) == ["job.created", "job.failed"]
        assert job["error"]["detail"] == "Your tenant may start 2 jobs in a day of UTC."
        assert job["input"]["filename"] == "people.csv", "its upload is not lost"
        assert not refused(await processor.run(CSV, tenant="other"))
        await owner.execute("UPDATE processor.jobs SET created_at = created_at - interval '1 day'")
        assert not refused(await processor.run(CSV))


async def test_jobs_that_come_at_once_to_two_processors_do_not_pass_the_quota_together(
    open_processor: OpenProcessor,
) -> None:
    broker = MemoryBroker()
    async with (
        open_processor(broker, quota_jobs_per_day=5, workers=1) as processor,
        open_processor(broker, quota_jobs_per_day=5, workers=1),
    ):
        uploads = [await stored_upload(processor.parts, CSV) for _ in range(12)]
        await asyncio.gather(*(processor.tell(event) for event, _ in uploads for _ in range(2)))
        jobs = await all_finished(processor, [job_id for _, job_id in uploads])
        assert [refused(job) for job in jobs].count(False) == 5


async def test_a_job_beyond_the_open_ones_fails_until_one_has_finished(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, quota_open_jobs=1, workers=1) as processor:
        hanging = await processor.begin(b"hang 10")
        await processor.watch.until(hanging, "job.started")
        assert refused(await processor.run(b"anything"))
    async with open_processor(obedient=True, quota_open_jobs=2, workers=2) as processor:
        assert not refused(await processor.run(b"anything"))


async def test_who_starts_many_jobs_keeps_no_other_tenant_waiting(
    database: Database, open_parts_for: OpenParts
) -> None:
    """All tenants of a replica had one turn, and a parent took it a thousand times whenever it was woken."""

    async def judge(tenant: str) -> None:
        async with quota.judging(tenant) as exceeded:
            assert exceeded is None
            judged.append(tenant)

    judged: list[str] = []
    async with open_parts_for("processor", database) as parts:
        quota = JobQuota(parts.pool, open_at_once=1)
        async with quota.judging("many"):
            more = [asyncio.create_task(judge("many")) for _ in range(10)]
            async with asyncio.timeout(10):
                await judge("other")
            assert judged == ["other"], "those of the same tenant come one by one"
        await asyncio.gather(*more)
