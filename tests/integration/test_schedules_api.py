"""Schedules over HTTP: what clients may ask for, what they are told is wrong, and whole processors that fire them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from events.envelope import RecordedEvent
from events.identity import Principal
from events.ids import new_id
from fixtures.processor import OpenProcessor, Processor
from fixtures.schedules import NIGHTLY, OWNER, START, STRANGER, HandClock, ask

CRON: dict[str, Any] = {
    "workflow": "nightly",
    "input": {"customer": "ada"},
    "cron": "30 2 * * *",
    "time_zone": "Europe/Berlin",
}
INTERVAL = {"workflow": "nightly", "input": {"customer": "ada"}, "every_seconds": 60}


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest_asyncio.fixture
async def with_nightly(open_processor: OpenProcessor, clock: HandClock) -> AsyncIterator[Processor]:
    async with open_processor(clock=clock, schedule_poll_seconds=0.05, schedules_per_tenant=3) as processor:
        assert (await ask(processor, "POST", "/workflows", NIGHTLY))[0] == 201
        yield processor


async def test_a_schedule_is_made_read_listed_changed_and_deleted(with_nightly: Processor, clock: HandClock) -> None:
    status, made = await ask(with_nightly, "POST", "/schedules", CRON)
    assert status == 201
    assert made == {
        "id": made["id"],
        "workflow": "nightly",
        "version": None,
        "input": {"customer": "ada"},
        "priority": 0,
        "cron": "30 2 * * *",
        "time_zone": "Europe/Berlin",
        "every_seconds": None,
        "overlap": "skip",
        "catch_up": "latest",
        "catch_up_seconds": None,
        "jitter_seconds": 0,
        "next_at": "2027-03-02T01:30:00Z",
        "paused_at": None,
        "last_at": None,
        "last_job_id": None,
        "skipped_at": None,
        "skipped_because": None,
        "created_at": "2027-03-01T12:00:00Z",
        "created_by": "key:1",
        "updated_at": "2027-03-01T12:00:00Z",
    }
    path = f"/schedules/{made['id']}"
    assert await ask(with_nightly, "GET", path) == (200, made)
    status, body, headers = await with_nightly.get_with_headers(path, principal=OWNER)
    assert (status, body) == (200, made)
    assert (await with_nightly.get(path, principal=OWNER, if_none_match=headers["ETag"]))[0] == 304

    clock.forward(seconds=90)
    status, changed = await ask(with_nightly, "PUT", path, INTERVAL | {"overlap": "queue", "priority": 5})
    assert (status, changed["next_at"], changed["cron"], changed["time_zone"]) == (
        200,
        "2027-03-01T12:02:30Z",
        None,
        None,
    )
    clock.forward(seconds=30)
    status, again = await ask(with_nightly, "PUT", path, INTERVAL | {"overlap": "queue", "priority": 6})
    assert (again["next_at"], again["priority"]) == ("2027-03-01T12:02:30Z", 6), "the interval goes on counting"
    _, same = await ask(with_nightly, "PUT", path, INTERVAL | {"overlap": "queue", "priority": 6})
    assert same == again

    _, events = await ask(with_nightly, "GET", f"/streams/schedule:{made['id']}/events")
    kinds = [event["type"] for event in events["items"]]
    assert kinds == ["schedule.created", "schedule.changed", "schedule.changed"]
    assert await ask(with_nightly, "DELETE", path) == (204, None)
    for method in ("GET", "DELETE"):
        assert (await ask(with_nightly, method, path))[0] == 404
    assert (await ask(with_nightly, "GET", "/schedules"))[1]["items"] == []


async def test_schedules_are_listed_page_by_page_and_by_workflow(with_nightly: Processor) -> None:
    await ask(with_nightly, "POST", "/workflows", NIGHTLY | {"name": "other"})
    wishes = [CRON | {"workflow": workflow} for workflow in ("nightly", "other", "nightly")]
    made = [(await ask(with_nightly, "POST", "/schedules", wish))[1]["id"] for wish in wishes]
    _, first = await ask(with_nightly, "GET", "/schedules?limit=2")
    _, second = await ask(with_nightly, "GET", f"/schedules?limit=2&cursor={first['next_cursor']}")
    assert [one["id"] for one in (*first["items"], *second["items"])] == made[::-1]
    assert second["next_cursor"] is None
    _, filtered = await ask(with_nightly, "GET", "/schedules?workflow=other")
    assert [one["id"] for one in filtered["items"]] == [made[1]]
    status, problem = await ask(with_nightly, "POST", "/schedules", CRON)
    assert (status, problem["code"]) == (409, "conflict"), "three are all that this tenant may have"


async def test_pause_and_resume_say_when_it_fires_next(with_nightly: Processor) -> None:
    _, made = await ask(with_nightly, "POST", "/schedules", CRON)
    path = f"/schedules/{made['id']}"
    for _ in range(2):
        status, paused = await ask(with_nightly, "POST", f"{path}/pause")
        assert (status, paused["next_at"], paused["paused_at"]) == (200, None, "2027-03-01T12:00:00Z")
    _, changed = await ask(with_nightly, "PUT", path, CRON | {"cron": "@daily"})
    assert (changed["next_at"], changed["paused_at"]) == (None, "2027-03-01T12:00:00Z"), "it stays paused"
    for _ in range(2):
        status, resumed = await ask(with_nightly, "POST", f"{path}/resume")
        assert (status, resumed["next_at"], resumed["paused_at"]) == (200, "2027-03-01T23:00:00Z", None)


_WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"workflow": None}, "body.workflow", "string_type"),
    ({"workflow": "no such"}, "body.workflow", "string_pattern_mismatch"),
    ({"version": 0}, "body.version", "greater_than_equal"),
    ({"version": 1 << 31}, "body.version", "less_than_equal"),
    ({"input": []}, "body.input", "dict_type"),
    ({"input": {}}, "body.input.customer", "missing"),
    ({"input": {"customer": 1}}, "body.input.customer", "wrong_type"),
    ({"input": {"customer": "a\0"}}, "body.input.customer", "nul"),
    ({"input": {"customer": "a", "limt": 1}}, "body.input.limt", "unknown_input"),
    ({"priority": 101}, "body.priority", "less_than_equal"),
    ({"cron": None}, "body.cron", "one_of"),
    ({"every_seconds": 60}, "body.cron", "one_of"),
    ({"cron": "* * * *"}, "body.cron", "not_valid"),
    ({"cron": "* * * * * *"}, "body.cron", "not_valid"),
    ({"cron": "61 * * * *"}, "body.cron", "not_valid"),
    ({"cron": "@reboot"}, "body.cron", "not_valid"),
    ({"cron": "* * */20 * 1L"}, "body.cron", "never"),
    ({"cron": "0 " * 101}, "body.cron", "string_too_long"),
    ({"cron": ""}, "body.cron", "string_too_short"),
    ({"time_zone": "Europe/Berln"}, "body.time_zone", "unknown"),
    ({"time_zone": "../../../etc/passwd"}, "body.time_zone", "unknown"),
    ({"time_zone": "\0"}, "body.time_zone", "unknown"),
    ({"time_zone": "x" * 101}, "body.time_zone", "string_too_long"),
    ({"cron": None, "every_seconds": 60}, "body.time_zone", "unexpected"),
    ({"cron": None, "time_zone": None, "every_seconds": 9}, "body.every_seconds", "too_often"),
    ({"cron": None, "time_zone": None, "every_seconds": 0}, "body.every_seconds", "greater_than_equal"),
    ({"cron": None, "time_zone": None, "every_seconds": 10**12}, "body.every_seconds", "less_than_equal"),
    ({"cron": None, "time_zone": None, "every_seconds": 1.5}, "body.every_seconds", "int_from_float"),
    (
        {"cron": None, "time_zone": None, "every_seconds": 60, "jitter_seconds": 60},
        "body.jitter_seconds",
        "too_large",
    ),
    ({"jitter_seconds": -1}, "body.jitter_seconds", "greater_than_equal"),
    ({"overlap": "sometimes"}, "body.overlap", "enum"),
    ({"catch_up": "some"}, "body.catch_up", "enum"),
    ({"catch_up_seconds": -1}, "body.catch_up_seconds", "greater_than_equal"),
    ({"tenant": "umbrella"}, "body.tenant", "extra_forbidden"),
]


async def test_each_wrong_field_is_named(with_nightly: Processor) -> None:
    _, made = await ask(with_nightly, "POST", "/schedules", CRON)
    for change, field, code in _WRONG:
        for method, path in (("POST", "/schedules"), ("PUT", f"/schedules/{made['id']}")):
            status, problem = await ask(with_nightly, method, path, CRON | change)
            assert (status, problem["code"]) == (422, "invalid_input"), change
            assert (field, code) in [(error["field"], error["code"]) for error in problem["errors"]], change
            assert all(error["detail"] for error in problem["errors"]), change
    assert await ask(with_nightly, "GET", f"/schedules/{made['id']}") == (200, made)


async def test_all_that_is_wrong_is_told_at_once(with_nightly: Processor) -> None:
    wrong = {"cron": "* * *", "time_zone": "Europe/Berlim"}
    _, problem = await ask(with_nightly, "POST", "/schedules", CRON | wrong)
    assert [error["field"] for error in problem["errors"]] == ["body.time_zone", "body.cron"]
    assert "Europe/Berlin?" in problem["errors"][0]["detail"]


async def test_a_workflow_that_there_is_not_is_named(with_nightly: Processor) -> None:
    for change, field in (({"workflow": "nightli"}, "body.workflow"), ({"version": 2}, "body.version")):
        status, problem = await ask(with_nightly, "POST", "/schedules", CRON | change)
        assert (status, problem["errors"][0]["field"]) == (404, field)
    await ask(with_nightly, "DELETE", "/workflows/nightly")
    status, problem = await ask(with_nightly, "POST", "/schedules", CRON)
    assert (status, problem["errors"][0]["field"]) == (409, "body.workflow")


async def test_the_same_key_gives_the_same_schedule(with_nightly: Processor, clock: HandClock) -> None:
    answers = await asyncio.gather(*(ask(with_nightly, "POST", "/schedules", CRON, key="k") for _ in range(4)))
    assert {status for status, _ in answers} == {201}
    assert len({made["id"] for _, made in answers}) == 1
    clock.forward(hours=5)
    await ask(with_nightly, "DELETE", "/workflows/nightly")
    assert (await ask(with_nightly, "POST", "/schedules", CRON, key="k"))[1] == answers[0][1], "whatever has changed"
    status, problem = await ask(with_nightly, "POST", "/schedules", CRON | {"input": {"customer": "bob"}}, key="k")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")
    assert (await ask(with_nightly, "POST", "/schedules", CRON, key="k", principal=STRANGER))[0] == 404
    await ask(with_nightly, "DELETE", f"/schedules/{answers[0][1]['id']}")
    assert (await ask(with_nightly, "POST", "/schedules", CRON, key="k"))[0] == 409


async def test_true_is_another_input_than_1(with_nightly: Processor) -> None:
    """Python takes them for equal, so that a change from one to the other was none."""
    loose = NIGHTLY | {"name": "loose", "inputs": {"any": {}}}
    await ask(with_nightly, "POST", "/workflows", loose)
    _, made = await ask(with_nightly, "POST", "/schedules", CRON | {"workflow": "loose", "input": {"any": 1}})
    terms = CRON | {"workflow": "loose", "input": {"any": True}}
    _, changed = await ask(with_nightly, "PUT", f"/schedules/{made['id']}", terms)
    assert changed["input"] == {"any": True}


async def test_another_tenants_schedule_is_none(with_nightly: Processor) -> None:
    _, made = await ask(with_nightly, "POST", "/schedules", CRON)
    for id_ in (made["id"], new_id()):
        for method, path, body in (
            ("GET", f"/schedules/{id_}", None),
            ("PUT", f"/schedules/{id_}", CRON),
            ("POST", f"/schedules/{id_}/pause", None),
            ("POST", f"/schedules/{id_}/resume", None),
            ("DELETE", f"/schedules/{id_}", None),
        ):
            status, problem = await ask(with_nightly, method, path, body, principal=STRANGER)
            assert (status, problem["detail"]) == (404, "There is no such schedule.")
    for query in ("", f"?cursor={new_id()}", "?workflow=nightly"):
        assert (await ask(with_nightly, "GET", f"/schedules{query}", principal=STRANGER))[1]["items"] == []
    assert await ask(with_nightly, "GET", f"/schedules/{made['id']}") == (200, made)


async def test_reading_and_writing_need_their_scopes(with_nightly: Processor) -> None:
    reader = Principal("acme", "key:3", frozenset({"workflows:read"}))
    _, made = await ask(with_nightly, "POST", "/schedules", CRON)
    path = f"/schedules/{made['id']}"
    assert (await ask(with_nightly, "GET", path, principal=reader))[0] == 200
    for method, where, body in (
        ("POST", "/schedules", CRON),
        ("PUT", path, CRON),
        ("POST", f"{path}/pause", None),
        ("POST", f"{path}/resume", None),
        ("DELETE", path, None),
    ):
        assert (await ask(with_nightly, method, where, body, principal=reader))[0] == 403
    author = Principal("acme", "key:5", reader.scopes | {"workflows:write"})  # who may not start jobs
    for method, where, body in (("POST", "/schedules", CRON), ("PUT", path, CRON), ("POST", f"{path}/resume", None)):
        status, problem = await ask(with_nightly, method, where, body, principal=author)
        assert (status, "jobs:write" in problem["detail"]) == (403, True)
    assert (await ask(with_nightly, "POST", f"{path}/pause", principal=author))[0] == 200
    nobody = Principal("acme", "key:4", frozenset({"jobs:read"}))
    assert (await ask(with_nightly, "GET", "/schedules", principal=nobody))[0] == 403


async def test_two_whole_processors_run_each_job_once(open_processor: OpenProcessor, clock: HandClock) -> None:
    changes: dict[str, Any] = {"clock": clock, "schedule_poll_seconds": 0.02}
    async with open_processor(**changes) as one, open_processor(one.broker, **changes) as two:
        assert (await ask(one, "POST", "/workflows", NIGHTLY))[0] == 201
        _, made = await ask(one, "POST", "/schedules", INTERVAL | {"overlap": "queue", "catch_up": "all"})
        stream = f"schedule:{made['id']}"
        for minute in range(1, 6):
            clock.now = START + timedelta(minutes=minute)
            said = _said(await two.watch.nth(stream, "schedule.fired", minute))
            job = await two.finished(UUID(said["job_id"]))
            assert (job["status"], job["schedule"]) == ("COMPLETED", made["id"])
        fired = [_said(event) for event in two.watch.seen if event.type == "schedule.fired"]
        assert [one["at"] for one in fired] == [f"2027-03-01T12:0{minute}:00Z" for minute in range(1, 6)]
        created = [event.subject for event in two.watch.seen if event.type == "job.created"]
        assert created == [f"job:{one['job_id']}" for one in fired]
        await two.finished(await two.start("nightly", input={"customer": "ada"}))
        _, of_schedule = await ask(two, "GET", f"/jobs?schedule={made['id']}")
        assert [job["id"] for job in of_schedule["items"]] == [said["job_id"] for said in reversed(fired)]


async def test_it_fires_at_the_very_moment_by_the_databases_clock(open_processor: OpenProcessor) -> None:
    """Sooner than it looks by itself."""
    async with open_processor(schedule_smallest_seconds=1, schedule_poll_seconds=3600) as processor:
        assert (await ask(processor, "POST", "/workflows", NIGHTLY))[0] == 201
        _, made = await ask(processor, "POST", "/schedules", INTERVAL | {"every_seconds": 1, "overlap": "allow"})
        event = await processor.watch.nth(f"schedule:{made['id']}", "schedule.fired", 2)
        late = event.time - datetime.fromisoformat(_said(event)["at"])
        assert timedelta(0) <= late < timedelta(seconds=0.9)


def _said(event: RecordedEvent) -> dict[str, Any]:
    return dict(msgspec.json.decode(event.data))
