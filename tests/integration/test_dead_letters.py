"""What nobody could handle waits in a table, with the reason, until an operator replays it."""

import asyncio

import pytest

from events.broker.broker import Exchange, Message
from events.envelope import encode_event
from events.identity import Principal
from fixtures.processor import READER, Processor, stored_upload
from processor.dead_letters import DeadLetters, Selection

STRANGER = Principal("other", "key:2", READER.scopes)


async def _letters(
    processor: Processor, count: int, query: str = "", principal: Principal = READER
) -> list[dict[str, object]]:
    """The parked messages, once there are as many. Draining rings no bell, so this asks again."""
    async with asyncio.timeout(90):
        while True:
            _, page = await processor.get(f"/admin/dead-letters{query}", principal=principal)
            if len(page["items"]) == count:
                return list(page["items"])
            await asyncio.sleep(0.02)


async def test_a_message_that_is_no_event_is_parked_shown_and_replayed_to_where_it_came_from(
    processor: Processor,
) -> None:
    await processor.broker.publish(Exchange.INTAKE, Message("m-1", b"{not json", "upload.completed", {"trace": "t"}))
    (letter,) = await _letters(processor, 1)
    assert (letter["message_id"], letter["queue"], letter["routing_key"]) == (
        "m-1",
        "millrace.intake",
        "upload.completed",
    )
    assert (letter["attempts"], letter["bytes"], letter["tenant"]) == (1, 9, None)
    assert "not an event" in str(letter["reason"])

    async with processor.broker.subscribe(Exchange.INTAKE, limit=10) as intake:
        status, answer = await processor.post("/admin/dead-letters/replay", {"ids": [letter["id"]]})
        assert (status, answer) == (200, {"replayed": 1, "ids": [letter["id"]]})
        again = await anext(intake)
    assert again == Message("m-1", b"{not json", "upload.completed", {"trace": "t"})
    (parked_again,) = await _letters(processor, 1)
    assert parked_again["id"] == letter["id"], "the same message stays one letter"
    assert str(parked_again["parked_at"]) > str(letter["parked_at"])


async def test_a_replayed_message_that_can_be_handled_by_now_is_handled_once(processor: Processor) -> None:
    event, job_id = await stored_upload(processor.parts, b"a\n1\n")
    headers = {"queue": "millrace.intake", "routing_key": event.type, "reason": "a bug, mended since", "attempts": "5"}
    message = Message(str(event.id), encode_event(event), event.type, headers)
    await processor.broker.publish(Exchange.DEAD, message)
    await _letters(processor, 1)

    for replayed in (1, 0):
        _, answer = await processor.post("/admin/dead-letters/replay", {"routing_key": event.type})
        assert answer["replayed"] == replayed
    assert (await processor.finished(job_id))["status"] == "COMPLETED"
    assert processor.types(job_id).count("job.created") == 1
    assert await _letters(processor, 0) == []
    (kept,) = await _letters(processor, 1, "?replayed=true")
    assert kept["replayed_at"] is not None


async def test_an_operator_sees_the_own_tenants_letters_and_those_that_tell_no_tenant(processor: Processor) -> None:
    event, _ = await stored_upload(processor.parts, b"a\n1\n", tenant="other")
    for message in (Message(str(event.id), encode_event(event), "x"), Message("", b"\x00\xff", "x")):
        await processor.broker.publish(Exchange.DEAD, message)
    theirs = await _letters(processor, 2, principal=STRANGER)
    (ours,) = await _letters(processor, 1)
    assert ours["tenant"] is None
    (their_own,) = [letter for letter in theirs if letter["tenant"] == "other"]
    _, answer = await processor.post("/admin/dead-letters/replay", {"ids": [their_own["id"]]})
    assert answer["replayed"] == 0


@pytest.mark.parametrize(
    "message",
    [
        Message("", b"", ""),
        Message("a\x00b", b"\x00", "k\x00", {"reason": "\x00 \ud800", "attempts": "many", "x": "\x00"}),
        Message("m", b"[" * 100_000, "x", {"queue": "millrace.imagined"}),
        Message("m", b'{"tenant":"a\\u0000"}', "x"),
    ],
    ids=["nothing in it", "NULs everywhere", "nested deeply, of no queue of ours", "a NUL in the tenant"],
)
async def test_whatever_is_parked_can_be_kept(processor: Processor, message: Message) -> None:
    letters = DeadLetters(processor.parts.pool, processor.broker)
    await letters.keep(message)
    await letters.keep(message)
    tenants = ("acme", "a\ufffd")
    found = [
        letter
        for tenant in tenants
        for letter in await letters.page(Selection(tenant), before=None, limit=10, replayed=None)
    ]
    assert len({letter.id for letter in found}) == 1


async def test_letters_are_paged_newest_first(processor: Processor) -> None:
    for number in range(5):
        await processor.broker.publish(Exchange.DEAD, Message(f"m-{number}", b"x", "x"))
    await _letters(processor, 5)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = await processor.get(f"/admin/dead-letters?limit=2{cursor}")
        seen += [letter["message_id"] for letter in page["items"]]
        cursor = f"&cursor={page['next_cursor']}" if page["next_cursor"] else None
    assert seen == [f"m-{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("body", [{"ids": []}, {"ids": ["x"]}, {"idz": []}, {"limit": 0}])
async def test_a_replay_that_is_not_meant_so_is_refused(processor: Processor, body: dict[str, object]) -> None:
    status, problem = await processor.post("/admin/dead-letters/replay", body)
    assert (status, problem["code"]) == (422, "invalid_input")
