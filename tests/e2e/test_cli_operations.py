"""What an operator asks of a deployment that runs elsewhere, by its settings alone: four processes, RabbitMQ and
PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from deploy.stack import Stack
from events.broker.broker import Exchange, Message
from events.broker.by_url import open_broker
from fixtures.client import Client
from fixtures.operator import Operator, operator_of
from fixtures.patient import examined

_BODY = b"name,age\nAda,36\nGrace,45\n"
_UNKNOWN = "01a1fbea-6fbc-7335-a459-98abf90680e7"


@pytest.fixture
def operator(stack: Stack) -> Operator:
    return operator_of(stack)


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[Client]:
    async with Client(stack.base_url, stack.admin_key) as client:
        yield client


@pytest_asyncio.fixture
async def owner(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(stack.postgres_url("owner"))
    yield connection
    await connection.close()


async def _ended_job(client: Client, workflow: str = "csv-profile") -> str:
    job_id: str = (await client.upload(_BODY, workflow=workflow))["job_id"]
    await client.watch(job_id)
    return job_id


async def _found_wrong(operator: Operator) -> tuple[int, dict[str, list[str]]]:
    code, out, _ = await operator.says("log", "verify", "--json")
    return code, {one["holds"]: one["wrong"] for one in json.loads(out)["verdicts"] if one["wrong"]}


async def test_a_whole_log_is_verified_and_what_was_tampered_with_is_named(
    operator: Operator, client: Client, owner: asyncpg.Connection
) -> None:
    job_id = await _ended_job(client)
    assert await _found_wrong(operator) == (0, {})

    await owner.execute("UPDATE processor.jobs SET status = 'FAILED' WHERE id = $1", job_id)
    assert await _found_wrong(operator) == (1, {"jobs are what the log says": [f"default/{job_id}"]})
    code, out, err = await operator.says("rebuild", "jobs")
    assert (code, out[:9]) == (0, "Replayed "), err
    assert await _found_wrong(operator) == (0, {})

    event = await owner.fetchrow(
        "DELETE FROM events.events WHERE stream = $1 AND version = 2 RETURNING *", f"job:{job_id}"
    )
    assert event is not None
    code, wrong = await _found_wrong(operator)
    assert code == 1
    assert wrong["positions are 1, 2, 3 … up to the head"] == [f"{event['position']}-{event['position']} missing"]
    assert wrong["the table of ids has each event, where it is"] == [f"{event['position']} (no event)"]
    assert list(wrong.values())[1] == [f"default/job:{job_id}"], "its versions have a hole"
    code, out, err = await operator.says("doctor", "--json")
    assert (code, "wrong") == (1, next(one["state"] for one in json.loads(out)["findings"] if one["check"] == "log"))
    places = ", ".join(f"${number}" for number in range(1, len(event) + 1))
    await owner.execute(f"INSERT INTO events.events VALUES ({places})", *event.values())
    assert await _found_wrong(operator) == (0, {})


async def test_jobs_are_found_shown_cancelled_and_retried_while_the_gateway_is_down(
    operator: Operator, client: Client, stack: Stack
) -> None:
    failed = await _ended_job(client, workflow="no-such-workflow")
    await stack.kill("gateway")
    try:
        listed = await operator.asks("jobs", "list", "--status", "FAILED")
        assert failed in [job["id"] for job in listed]
        shown = await operator.asks("jobs", "show", failed)
        assert (shown["tenant"], shown["error"]["code"]) == ("default", "unknown_workflow")
        assert await operator.says("jobs", "cancel", failed) == (4, "", "The job is FAILED already.\n")
        assert await operator.says("jobs", "retry", _UNKNOWN) == (4, "", f"There is no job {_UNKNOWN}.\n")
        retried = await operator.asks("jobs", "retry", failed)
        assert retried["retry_of"] == failed
        code, out, _ = await operator.says("doctor", "--json")
        states = {one["check"]: one["state"] for one in json.loads(out)["findings"]}
        assert (code, states["door"], states["database"], states["topology"]) == (3, "down", "ok", "ok")
    finally:
        await stack.start("gateway")
    assert {"job.created", "job.failed"} <= {frame["type"] for frame in (await client.watch(retried["id"])).frames}


async def test_a_key_that_the_operator_makes_opens_the_door_and_one_that_he_revokes_does_not(
    operator: Operator, stack: Stack, owner: asyncpg.Connection
) -> None:
    made = await operator.asks("keys", "create", "night shift", "--tenant", "acme", "--scope", "jobs:read")
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with aiohttp.ClientSession(stack.base_url, headers=headers) as session:

        async def status() -> int:
            async with session.get("/api/v1/jobs") as answer:
                return answer.status

        assert await status() == 200
        assert [key["id"] for key in await operator.asks("keys", "list", "--tenant", "acme")] == [made["id"]]
        assert (await operator.says("keys", "revoke", made["id"]))[0] == 0
        async with asyncio.timeout(5):
            while await status() != 401:
                await asyncio.sleep(0.05)
    told = "SELECT type FROM events.events WHERE stream = $1 ORDER BY version"
    async with asyncio.timeout(30):  # through the gateway's outbox
        while len(await owner.fetch(told, f"key:{made['id']}")) < 2:
            await asyncio.sleep(0.05)


async def test_dead_letters_of_every_tenant_are_listed_and_replayed(operator: Operator, stack: Stack) -> None:
    async with open_broker(stack.broker_url, name="test") as broker:
        for name in ("one", "two"):
            await broker.publish(Exchange.INTAKE, Message(name, b"no event", "upload.completed"))
        await broker.publish(Exchange.DEAD, Message("theirs", b"no event", "paid", {"queue": "billing"}))
    async with asyncio.timeout(60):
        while len(parked := await operator.asks("dead-letters", "list")) < 3:
            await asyncio.sleep(0.2)
    assert {letter["message_id"] for letter in parked} == {"one", "two", "theirs"}
    assert (await operator.says("dead-letters", "replay"))[0] == 2, "all, or which?"
    first = next(letter["id"] for letter in parked if letter["message_id"] == "one")
    done = {"replayed": 1, "ids": [first], "not_replayed": []}
    assert await operator.asks("dead-letters", "replay", first) == done
    theirs = next(letter["id"] for letter in parked if letter["message_id"] == "theirs")
    unknown = f"Nothing here knows where these came from (queue 'billing'), so publish them again yourself: {theirs}\n"
    code, out, err = await operator.says("dead-letters", "replay", "--all", "--json")
    assert (code, json.loads(out)["not_replayed"], err) == (4, [theirs], unknown), "the gateway's key was to blame"
    assert json.loads(out)["replayed"] >= 1
    assert (await operator.says("dead-letters", "replay", theirs))[2] == unknown, "there was none of this id"
    code, out, err = await operator.says("dead-letters", "replay", _UNKNOWN)
    assert (code, out) == (4, "Replayed 0 of 1 dead letters.\n"), "it had said so, and that all was well"
    assert err == f"There are none of these ids, or they were replayed already: {_UNKNOWN}\n"


async def test_what_is_missing_of_the_broker_is_told_until_a_service_has_connected(
    operator: Operator, broker_url: str
) -> None:
    """On a virtual host that nobody has come to yet."""
    _, found = await examined(operator, broker_url=broker_url)
    (told,) = found["topology"]
    assert told["state"] == "wrong"
    assert told["says"].startswith("There is no exchange millrace.intake, no ")
    assert "no queue millrace.dead" in told["says"]
    assert told["fix"] == "Restart a service: each declares all of it when it connects."
    async with open_broker(broker_url, name="test") as broker:
        await broker.ping()
    _, found = await examined(operator, broker_url=broker_url)
    assert found["topology"][0]["state"] == "ok", found["topology"]


async def test_a_service_that_is_away_is_named_until_it_is_started(operator: Operator, stack: Stack) -> None:
    await stack.kill("notifier")
    code, found = await examined(operator)
    (told,) = found["notifier"]
    assert (code, told["state"], told["fix"]) == (3, "down", "Start it; read logs/notifier.log.")
    await stack.start("notifier")
    code, found = await examined(operator)
    assert (code, found["notifier"][0]["state"]) == (1, "ok"), "fsync is off in tests, which is wrong"


async def test_the_doctor_finds_nothing_and_says_of_a_broker_that_is_not_there(
    operator: Operator, client: Client
) -> None:
    await _ended_job(client)
    _, out, err = await operator.says("doctor", "--json")
    states = {one["check"]: one["state"] for one in json.loads(out)["findings"]}
    assert {check for check, state in states.items() if state not in ("ok", "warn")} == {"durability"}, (out, err)
    parts = {"door", "processor", "broker", "topology", "database", "migrations", "grants", "epoch", "lag", "blobs"}
    assert parts <= states.keys(), "fsync is off in tests; else there is nothing"
    code, out, err = await operator.says("doctor", broker_url="amqp://millrace:x@127.0.0.1:1/x")
    assert code == 3
    assert "broker: It does not let us in" in err
    assert "It answers in" in out, "the database is looked at all the same"
    code, out, err = await operator.says("doctor", database_url="postgresql://millrace_owner:hunter2@127.0.0.1:1/x")
    assert code == 3
    assert "database: It does not let us in" in err
    assert "hunter2" not in out + err


async def test_what_it_prints_is_made_for_programs_too_and_a_wrong_word_is_usage(
    operator: Operator, client: Client
) -> None:
    job_id = await _ended_job(client)
    code, out, err = await operator.says("log", "read", "--stream", f"job:{job_id}", "--json")
    assert code == 0, err
    assert [json.loads(line)["version"] for line in out.splitlines()] == list(range(1, len(out.splitlines()) + 1))
    code, out, _ = await operator.says("log", "tail", "-n", "1", "--type", "job.completed")
    assert (code, len(out.splitlines())) == (0, 2)
    for words in (("no-such-command",), ("jobs", "show", "no-uuid"), ("rebuild", "no-projection")):
        code, out, err = await operator.says(*words)
        assert (code, out) == (2, "")
        assert "Traceback" not in err
    for shell in ("bash", "zsh", "fish"):
        assert "_MILLRACE_COMPLETE" in (await operator.says("completion", shell))[1]
