import json

import pytest

from events.catalog import CATALOG, Payload, event
from events.envelope import (
    RecordedEvent,
    decode_batch,
    decode_event,
    encode_batch,
    encode_event,
    new_event,
    stream_name,
)
from events.errors import InvalidInput
from events.ids import new_id
from events.jobs import JobProgressed, JobStatus

DATA = b'{"status":"PROCESSING",  "odd spacing": 1.50}'


def example(stream: str = "job:1") -> RecordedEvent:
    fact = new_event(type="job.progressed", stream=stream, tenant="acme", source="/millrace/processor", data=DATA)
    return RecordedEvent(**{name: getattr(fact, name) for name in fact.__struct_fields__}, version=3, position=70)


def test_an_event_reads_back_as_it_was_and_its_data_keeps_every_byte() -> None:
    fact = new_event(
        type="job.progressed",
        stream=stream_name("job", new_id()),
        tenant="acme",
        source="/millrace/processor",
        data=DATA,
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    body = encode_event(fact)
    assert decode_event(body) == fact
    assert DATA in body


def test_an_event_is_a_cloudevent_in_structured_mode() -> None:
    attributes = json.loads(encode_event(example()))
    assert {"id", "source", "type", "subject", "time", "tenant", "data", "version", "position"} <= set(attributes)


def test_a_batch_reads_back_with_positions_and_untouched_data() -> None:
    batch = [example(), example("job:2")]
    read = decode_batch(encode_batch(batch))
    assert read == batch
    assert bytes(read[0].data) == DATA


@pytest.mark.parametrize("name", ["job", "job:", ":1", "Job:1", "job:a b", "job:a\n", "job:" + "x" * 129, "job:%2e"])
def test_a_malformed_stream_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        new_event(type="job.created", stream=name, tenant="acme", source="/x", data=DATA)


def test_every_event_type_is_category_dot_verb_and_names_its_payload() -> None:
    for name, payload in CATALOG.items():
        category, _, verb = name.partition(".")
        assert category.isidentifier()
        assert verb.isidentifier()
        assert payload.event_type == name


def test_an_event_type_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        event("job.progressed")(Payload)


def test_a_job_event_begins_with_the_fields_that_a_frame_needs() -> None:
    """The notifier splices the payload's bytes behind its own fields; it relies on a non-empty object."""
    encoded = JobProgressed(
        status=JobStatus.PROCESSING, progress_percent=7, current_step="profile", step_message=None
    ).encode()
    begin = b'{"status":"PROCESSING","progress_percent":7,"current_step":"profile","step_message":null,'
    assert encoded == begin + b'"sub_status":null,"eta_seconds":null}'
