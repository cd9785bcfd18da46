"""From a message at the intake to a finished job, with the real steps, on a real database."""

from itertools import pairwise
from typing import Any

import pytest

from fixtures.processor import Processor
from processor.results import INLINE_BYTES


async def test_an_upload_becomes_a_finished_job_with_its_profile(processor: Processor) -> None:
    job = await processor.run(b"name,age\nada,36\nbob,\n")

    assert (job["status"], job["progress_percent"], job["attempts"]) == ("COMPLETED", 100, 1)
    assert job["result"]["rows"] == 2
    assert {column["name"]: column for column in job["result"]["columns"]}["age"] == {
        "name": "age",
        "type": "BIGINT",
        "nulls": 1,
        "distinct": 1,
        "distinct_is_exact": True,
        "longest": 2,
    }
    assert job["input"]["filename"] == "people.csv"
    assert job["created_at"] <= job["started_at"] <= job["finished_at"] == job["updated_at"]
    types = [event.type for event in processor.watch.seen if event.type != "job.progressed"]
    assert types == ["upload.completed", "job.created", "job.started", "job.completed"]


async def test_every_event_of_a_job_has_its_trace(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n")
    events = processor.watch.seen
    assert str(events[1].subject).endswith(job["id"])
    traces = {str(event.traceparent)[3:35] for event in events[1:]}
    assert len(traces) == 1, "the one that its first event belongs to"
    assert "None" not in traces


async def test_the_progress_of_a_job_is_seen_on_its_way_and_never_goes_back(processor: Processor) -> None:
    job = await processor.run(b"a,b\n" + b"hello,2\n" * 2_000_000)

    frames: list[dict[str, Any]] = [event["data"] for event in await _events(processor, job["id"])]
    percents = [frame["progress_percent"] for frame in frames]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    progressed = [frame for frame in frames if frame["status"] == "PROCESSING"]
    assert any(" of 16.0 MB" in (frame["step_message"] or "") for frame in progressed)
    moves = [(frame["progress_percent"], frame["current_step"], frame["step_message"]) for frame in progressed]
    assert all(before != after for before, after in pairwise(moves)), "each event says something new"


@pytest.mark.parametrize(
    ("content", "code"),
    [(b" \n\n", "empty_file"), (b"a,b\n1,\x00\n", "not_csv"), (b"a,b\n" + b"x" * 3_000_000, "line_too_long")],
    ids=["blank", "a NUL", "one endless line"],
)
async def test_what_is_no_csv_fails_with_a_reason(processor: Processor, content: bytes, code: str) -> None:
    job = await processor.run(content)
    assert (job["status"], job["error"]["code"], job["result"]) == ("FAILED", code, None)
    assert job["error"]["detail"] == job["step_message"]
    assert job["finished_at"] is not None


async def test_an_unknown_workflow_fails_and_names_those_that_there_are(processor: Processor) -> None:
    job = await processor.run(b"a\n1\n", workflow="no-such")
    assert job["error"]["code"] == "unknown_workflow"
    assert "csv-profile" in job["error"]["detail"]


async def test_a_deleted_upload_fails_its_job(processor: Processor) -> None:
    from fixtures.processor import stored_upload

    event, job_id = await stored_upload(processor.parts, b"a\n1\n")
    await processor.parts.blobs.delete(f"uploads/acme/{event.subject.removeprefix('upload:')}")
    await processor.tell(event)
    assert (await processor.finished(job_id))["error"]["code"] == "input_missing"


async def test_a_result_too_large_for_an_event_is_read_back_whole(processor: Processor) -> None:
    width = 600
    names = ",".join(f"column_{number}" for number in range(width))
    job = await processor.run(f"{names}\n{','.join('1' * width)}\n".encode())

    assert [column["name"] for column in job["result"]["columns"]] == names.split(",")
    *_, completed = await _events(processor, job["id"])
    assert set(completed["data"]["result"]) == {"blob", "bytes"}
    assert completed["data"]["result"]["bytes"] > INLINE_BYTES
    assert completed["data"]["result"]["blob"].startswith(f"results/acme/{job['id']}/")


async def _events(processor: Processor, job_id: str) -> list[dict[str, Any]]:
    _, page = await processor.get(f"/jobs/{job_id}/events?limit=1000")
    return list(page["items"])
