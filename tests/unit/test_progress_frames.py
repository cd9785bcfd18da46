"""A frame of plain JSON progress has each name once, whatever its payload says."""

import json
from typing import Any, ClassVar

import msgspec
import pytest

from events.catalog import CATALOG, Payload
from events.envelope import RecordedEvent, encode_json, event_of, utc_now
from events.ids import new_id
from events.jobs import JobCreated, JobProgressed, JobStatus
from events.progress_frames import ProgressFrame, encode_frame, other_names

HEAD = [field.name for field in msgspec.structs.fields(ProgressFrame)]
JOB = "job:01a1fbea-6fbc-7335-a459-98abf90680e7"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def recorded(type_name: str, data: bytes) -> RecordedEvent:
    return RecordedEvent(
        id=new_id(),
        source="/test",
        type=type_name,
        subject=JOB,
        time=utc_now(),
        tenant="acme",
        data=msgspec.Raw(data),
        traceparent=TRACE,
        version=2,
        position=41,
    )


def read(frame: bytes) -> dict[str, Any]:
    """As a parser that keeps what others silently drop."""
    pairs = json.loads(frame, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), names
    return dict(pairs)


@pytest.mark.parametrize("name", [*CATALOG, "job.invented_later"])
def test_no_frame_has_a_name_twice(name: str) -> None:
    """`version` was there twice in job.created, and parsers took the workflow's: clients went on elsewhere."""
    payload = CATALOG.get(name)
    fields = HEAD if payload is None else list(payload.model_fields)
    frame = read(encode_frame(recorded(name, encode_json(dict.fromkeys(fields, "said")))))
    head = ["01a1fbea-6fbc-7335-a459-98abf90680e7", name, 41, 2]
    assert [frame[field] for field in ("job_id", "type", "position", "version")] == head
    assert frame["traceparent"] == TRACE
    assert len(frame) == len(HEAD) + len(fields)
    others = other_names(payload) if payload else {field: f"payload_{field}" for field in HEAD}
    assert {frame[others.get(field, field)] for field in fields} == {"said"}


def test_a_job_is_created_with_the_version_of_its_workflow_beside_its_own() -> None:
    said = JobCreated(
        status=JobStatus.PENDING,
        progress_percent=0,
        current_step=None,
        step_message=None,
        workflow="ver",
        version=8,
        input={"version": 1.5, "deep": [{"type": "other"}]},
    )
    event = event_of(said, stream=JOB, tenant="acme", source="/test")
    encoded = encode_frame(recorded(event.type, bytes(event.data)))
    frame = read(encoded)
    assert (frame["version"], frame["workflow"], frame["workflow_version"]) == (2, "ver", 8)
    assert b'"input":{"version":1.5,"deep":[{"type":"other"}]}' in encoded, "and what is in it stays as it is"


def test_what_has_names_of_its_own_is_spliced_byte_for_byte() -> None:
    data = b'{"status":"PROCESSING" ,"progress_percent": 7,"current_step":null,"step_message":"\\u00e9"}'
    assert encode_frame(recorded(JobProgressed.event_type, data)).endswith(b"," + data[1:])


def test_a_field_that_nobody_thought_of_has_another_name_by_itself() -> None:
    class Invented(Payload):
        in_frames: ClassVar[dict[str, str]] = {"time": "told_at"}
        position: int
        time: str
        reason: str

    assert other_names(Invented) == {"position": "payload_position", "time": "told_at"}
