"""What the edge says becomes part of the log once, however often it comes."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from events.accounts import UserLockedOut
from events.broker.broker import Exchange, Message
from events.envelope import Event, encode_event, new_event, stream_name
from events.ids import derived_id, new_id
from events.log.append import Appender, AppendRequest
from events.uploads import UploadProgressed
from fixtures.processor import Processor, stored_upload
from processor.workflows.stream import SOURCE


async def test_a_message_that_comes_many_times_makes_one_job(processor: Processor) -> None:
    event, job_id = await stored_upload(processor.parts, b"a,b\n1,2\n")
    await asyncio.gather(*(processor.tell(event) for _ in range(20)))
    await processor.finished(job_id)
    await processor.tell(event)
    last = await processor.run(b"a\n1\n")  # what is behind it in the queue is handled after it

    assert processor.types(job_id).count("job.created") == 1
    _, page = await processor.get("/jobs")
    assert [job["id"] for job in page["items"]] == [last["id"], str(job_id)]


async def test_a_repetition_is_recognised_even_if_we_word_the_job_otherwise_by_now(processor: Processor) -> None:
    """A rolling update: the former version has recorded the upload with its job, and jobs have another field since. The
    repetition must not be parked as a contradiction."""
    event, job_id = await stored_upload(processor.parts, b"a\n1\n")
    former = new_event(
        id=derived_id(event.id, "job.created"),
        type="job.created",
        stream=stream_name("job", job_id),
        tenant="acme",
        source=SOURCE,
        data=b'{"status":"PENDING","progress_percent":0,"current_step":null,"step_message":null,"workflow":"x","input":{}}',
    )
    async with Appender(processor.parts.pool, function="processor.append") as appender:
        await appender.append_all(
            [AppendRequest("acme", recorded.subject, (recorded,)) for recorded in (event, former)]
        )
    async with processor.broker.subscribe(Exchange.DEAD, limit=10) as dead:
        await processor.tell(event)
        await processor.broker.publish(Exchange.INTAKE, Message("last", b"", "x"))
        async with asyncio.timeout(90):
            assert (await anext(dead)).id == "last", "nothing else is parked"


async def test_an_upload_grows_until_it_is_complete_whatever_comes_late(processor: Processor) -> None:
    completed, job_id = await stored_upload(processor.parts, b"a\n1\n")
    upload = UUID(completed.subject.partition(":")[2])

    def progressed(count: int) -> Event:
        said = UploadProgressed(upload_id=upload, bytes=count, length=40, percent=count * 100 // 40)
        return new_event(
            type=said.event_type, stream=completed.subject, tenant="acme", source="/millrace/ingest", data=said.encode()
        )

    first, last = progressed(10), progressed(30)
    for event in (first, progressed(5), first, progressed(20), completed, last, completed):
        await processor.tell(event)
        await processor.run(b"a\n1\n")  # what is behind it in the queue is handled after it
    await processor.finished(job_id)
    _, page = await processor.get(f"/streams/{completed.subject}/events")
    said = [(each["type"], each["data"].get("percent")) for each in page["items"]]
    assert said == [("upload.progressed", 25), ("upload.progressed", 50), ("upload.completed", None)]


async def test_what_the_gateway_says_of_accounts_is_recorded_once(processor: Processor) -> None:
    user = new_id()
    event = new_event(
        type=UserLockedOut.event_type,
        stream=stream_name("user", user),
        tenant="acme",
        source="/millrace/gateway",
        data=UserLockedOut(user_id=user, failures=5).encode(),
    )
    await processor.tell(event)
    await processor.tell(event)
    await processor.run(b"a\n1\n")  # what is behind it in the queue is handled after it
    _, page = await processor.get(f"/streams/{event.subject}/events")
    assert [(each["type"], each["data"]["failures"]) for each in page["items"]] == [("user.locked_out", 5)]


def _changed(event: Event, **changes: object) -> Event:
    return msgspec.structs.replace(event, **changes)


CONTRADICTIONS = {
    "other content under a known id": lambda event: _changed(event, source="/millrace/elsewhere"),
    "another upload's stream": lambda event: _changed(event, id=new_id(), subject=f"upload:{new_id()}"),
    "no stream": lambda event: _changed(event, id=new_id(), subject="nothing"),
    "an unknown type": lambda event: _changed(event, id=new_id(), type="upload.imagined"),
    "an empty payload": lambda event: _changed(event, id=new_id(), data=msgspec.Raw(b"{}")),
    "a job that exists": lambda event: _changed(event, id=new_id()),
}


@pytest.mark.parametrize("change", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
async def test_what_contradicts_itself_or_the_log_is_parked_with_its_reason(
    processor: Processor, change: object
) -> None:
    event, job_id = await stored_upload(processor.parts, b"a\n1\n")
    await processor.tell(event)
    await processor.finished(job_id)
    assert callable(change)
    wrong = change(event)

    async with processor.broker.subscribe(Exchange.DEAD, limit=10) as dead:
        await processor.broker.publish(Exchange.INTAKE, Message(str(wrong.id), encode_event(wrong), wrong.type))
        async with asyncio.timeout(90):
            parked = await anext(dead)
    assert (parked.id, parked.body) == (str(wrong.id), encode_event(wrong))
    assert parked.headers["queue"] == "millrace.intake"
    assert parked.headers["attempts"] == "1", "it would end the same way"
    assert parked.headers["reason"]
    assert processor.types(job_id).count("job.created") == 1


async def test_a_poisoned_message_does_not_hold_up_the_others(processor: Processor) -> None:
    await processor.broker.publish(Exchange.INTAKE, Message("m-1", b"\xff{not json", "upload.completed"))
    hostile = new_event(
        type="upload.completed",
        stream=stream_name("upload", new_id()),
        tenant="acme",
        source="/x",
        data=b'{"a":"\\u0000"}',
    )
    await processor.tell(hostile)
    assert (await processor.run(b"a\n1\n"))["status"] == "COMPLETED"
