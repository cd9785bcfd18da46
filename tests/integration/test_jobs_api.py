"""What clients can ask of jobs, of workflows, and of the log."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
import pytest

from deploy.provision import Database
from events.envelope import event_of
from events.identity import Principal
from events.ids import new_id
from events.log.append import Appender, AppendRequest
from events.uploads import UploadProgressed
from fixtures.processor import READER, OpenProcessor, Processor, stored_upload

STRANGER = Principal("other", "key:2", READER.scopes)
_NO_JOB = "01a1fbea-6fbc-7335-a459-98abf90680e7"


async def test_a_promised_job_is_pending_until_we_know_it_and_an_unknown_one_is_not_there(
    processor: Processor, database: Database
) -> None:
    promised = new_id()
    owner = await asyncpg.connect(database.url("owner"))
    await owner.execute("SELECT events.reserve('acme', $1)", f"job:{promised}")
    await owner.close()
    known = await processor.run(b"a\n1\n")

    status, job = await processor.get(f"/jobs/{promised}")
    assert (status, job["status"], job["version"]) == (200, "PENDING", 0)
    assert set(job) == set(known), "it looks like every other job"
    assert (await processor.get(f"/jobs/{promised}/events"))[1] == {"items": [], "next_cursor": None}
    for path in (f"/jobs/{new_id()}", f"/jobs/{new_id()}/events"):
        status, problem = await processor.get(path)
        assert (status, problem["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/jobs", "jobs:read"),
        (f"/jobs/{_NO_JOB}", "jobs:read"),
        (f"/jobs/{_NO_JOB}/events", "jobs:read"),
        ("/events", "events:read"),
        ("/streams/job:x/events", "events:read"),
        ("/admin/dead-letters", "ops"),
    ],
)
async def test_each_read_needs_its_scope(processor: Processor, path: str, scope: str) -> None:
    without = Principal("acme", "key:2", READER.scopes - {scope})
    status, problem = await processor.get(path, principal=without)
    assert (status, problem["code"]) == (403, "forbidden")
    assert scope in problem["detail"]
    assert (await processor.get(path, principal=None))[0] == 401


async def test_jobs_are_listed_newest_first_page_by_page(processor: Processor) -> None:
    ids = [(await processor.run(b"a\n1\n"))["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = await processor.get(f"/jobs?limit=2{cursor}")
        seen += [job["id"] for job in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert seen == ids[::-1]


async def test_jobs_are_filtered_by_status_workflow_and_time(processor: Processor) -> None:
    good = await processor.run(b"a\n1\n")
    bad = await processor.run(b"\x00", workflow="csv-profile")
    odd = await processor.run(b"a\n1\n", workflow="unheard-of")

    async def ids(query: str) -> list[str]:
        status, page = await processor.get(f"/jobs?{query}")
        assert status == 200, page
        return [job["id"] for job in page["items"]]

    assert await ids("status=FAILED") == [odd["id"], bad["id"]]
    assert await ids("status=FAILED&workflow=csv-profile") == [bad["id"]]
    assert await ids(f"created_after={quote(good['created_at'])}") == [odd["id"], bad["id"]]
    assert await ids(f"created_before={quote(bad['created_at'])}") == [good["id"]]
    naive = good["created_at"].removesuffix("Z")
    assert await ids(f"created_before={naive}") == [], "a time without a zone is in UTC"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/jobs?status=DONE", "query.status"),
        ("/jobs?stauts=FAILED", "query.stauts"),
        ("/jobs?workflow=%00", "query.workflow"),
        ("/jobs?limit=0", "query.limit"),
        ("/jobs?limit=201", "query.limit"),
        ("/jobs?cursor=x", "query.cursor"),
        ("/jobs?created_after=yesterday", "query.created_after"),
        ("/jobs/not-an-id", "path.job_id"),
        ("/events?after=-1", "query.after"),
        ("/events?after=99999999999999999999", "query.after"),
        ("/events?after=x.1", "query.after"),
        ("/events?form=1", "query.form"),
        ("/pipelines?x=1", "query.x"),
    ],
)
async def test_a_wrong_parameter_is_named(processor: Processor, path: str, field: str) -> None:
    status, problem = await processor.get(path)
    assert status == 422
    assert [error["field"] for error in problem["errors"]] == [field]


@pytest.mark.parametrize("stream", ["nothing", "job:%00", "job:a%2Fb", "%F0%9F%92%A9:1"])
async def test_a_name_that_no_stream_can_have_is_refused(processor: Processor, stream: str) -> None:
    assert (await processor.get(f"/streams/{stream}/events"))[0] in (404, 422)


async def test_what_has_not_changed_is_not_sent_again(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n")
    for path in (f"/jobs/{job['id']}", "/jobs", f"/jobs/{job['id']}/events", "/events", "/pipelines"):
        _, _, headers = await processor.get_with_headers(path)
        etag = headers["ETag"]
        again = await processor.get(path, if_none_match=f'"other", {etag.removeprefix("W/")}')
        assert again == (304, None), path
        assert (await processor.get(path, if_none_match='"other"'))[0] == 200


async def test_a_stream_is_read_after_a_version_and_the_log_after_a_position(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n")
    whole = (await processor.get("/events"))[1]["items"]
    assert [event["position"] for event in whole] == list(range(1, len(whole) + 1))
    assert whole[0]["type"] == "upload.completed"

    async def walk(path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = "0"
        while cursor is not None:
            _, page = await processor.get(f"{path}?limit=2&after={cursor}")
            found += page["items"]
            cursor = page["next_cursor"]
        return found

    assert await walk("/events") == whole
    of_job = [event for event in whole if event["subject"] == f"job:{job['id']}"]
    assert await walk(f"/jobs/{job['id']}/events") == of_job
    assert await walk(f"/streams/job:{job['id']}/events") == of_job
    assert await walk(f"/streams/{whole[0]['subject']}/events") == whole[:1]
    _, page = await processor.get(f"/jobs/{job['id']}/events?after=1&limit=1")
    assert page["items"][0]["version"] == 2


async def test_a_cursor_of_another_log_or_beyond_its_end_has_expired(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n")
    for path in ("/events", f"/jobs/{job['id']}/events"):
        for cursor in (f"{new_id()}.1", "1000000"):
            status, problem = await processor.get(f"{path}?after={cursor}")
            assert (status, problem["code"]) == (410, "cursor_expired")


async def test_the_pipelines_say_what_can_be_run(processor: Processor) -> None:
    status, page = await processor.get("/pipelines", principal=None)
    assert status == 200
    (pipeline,) = [pipeline for pipeline in page["items"] if pipeline["id"] == "csv-profile"]
    assert (pipeline["version"], pipeline["steps"]) == (1, ["csv-profile"])
    assert pipeline["options"]["type"] == "object"


async def test_attempts_are_counted_from_the_log(open_processor: OpenProcessor) -> None:
    async with open_processor(obedient=True, lease_seconds=3600) as first:
        job_id = await first.begin(b"hang 10")
        await first.watch.until(job_id, "job.progressed")
    async with open_processor() as second:
        await second.finished(job_id)
        _, page = await second.get("/jobs")
    assert [(UUID(job["id"]), job["attempts"]) for job in page["items"]] == [(job_id, 2)]


async def test_readiness_names_what_is_down(processor: Processor) -> None:
    async with processor.session.get(f"{processor.address.url}/readyz") as response:
        assert response.status == 200
        assert await response.json() == {"broker": "ok", "database": "ok", "storage": "ok"}


async def test_a_job_starts_on_an_upload_that_has_taken_long(processor: Processor) -> None:
    """Each second of it is an event, and its completion was looked for among the first hundred."""
    completed, job_id = await stored_upload(processor.parts, b"a\n1\n")
    upload = UUID(completed.subject.partition(":")[2])
    progress = [
        event_of(
            UploadProgressed(upload_id=upload, bytes=count, length=None, percent=None),
            stream=completed.subject,
            tenant="acme",
            source="/millrace/ingest",
        )
        for count in range(1, 120)
    ]
    async with Appender(processor.parts.pool, function="processor.append") as appender:
        await appender.append(AppendRequest("acme", completed.subject, tuple(progress)))
    await processor.tell(completed)
    await processor.finished(job_id)
    again = await processor.start("csv-profile", upload_id=str(upload))
    assert (await processor.finished(again))["status"] == "COMPLETED"
