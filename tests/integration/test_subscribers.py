"""Internal services hear every event that they want, in order, whatever dies; what they write is written once."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest
import pytest_asyncio

from deploy.postgres import PostgresServer
from deploy.provision import Database
from deploy.rabbitmq import RabbitServer
from events.broker.broker import Broker, Exchange, Message, Queue, named_queue
from events.broker.by_url import open_broker
from events.broker.memory import MemoryBroker
from events.database import open_pool
from events.envelope import encode_event
from events.errors import InvalidInput, NotFound, WrongEpoch
from events.ids import new_id
from events.jobs import JobCompleted
from events.log.subscriptions import Subscription
from events.running.tasks import end
from events.subscribe import Received, replay, subscribe
from fixtures.log import OpenLog, as_owner, job_life, note, open_log, request
from fixtures.subscribers import HURRIED, PATTERN, Service
from processor.dead_letters import DeadLetters, Selection


@pytest.fixture(params=["memory", "rabbitmq"])
def address(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("broker_url"))


@pytest_asyncio.fixture
async def any_broker(address: str) -> AsyncIterator[Broker]:
    async with open_broker(address, name="test") as broker:
        yield broker


@pytest_asyncio.fixture
async def opened(database: Database) -> AsyncIterator[OpenLog]:
    async with open_log(database) as opened:
        yield opened


async def write(opened: OpenLog, *texts: str, tenant: str = "acme") -> None:
    await opened.appender.append(request(*(note("note:1", text, tenant=tenant) for text in texts)))


async def test_a_group_is_given_what_was_there_and_what_comes_and_nothing_else(
    opened: OpenLog, service: Service
) -> None:
    await write(opened, "1", "2")
    await write(opened, "3", tenant="other")
    async with service.member(broker=MemoryBroker()):
        await service.until([1, 2])
        await write(opened, "4")
        await opened.appender.append(request(*job_life(progress=1)))
        await write(opened, "9")
        await service.until([4, 9])
    assert await service.kept() == [1, 2, 4, 9]


async def test_a_group_can_begin_now_and_goes_on_where_it_was(opened: OpenLog, service: Service) -> None:
    await write(opened, "1", "2")
    async with service.member(broker=MemoryBroker(), after=None):
        await write(opened, "3")
        await service.until([3])
    await write(opened, "4")
    async with service.member(broker=MemoryBroker(), after=None):
        await service.until([4])
    assert await service.kept() == [3, 4]


async def test_a_payload_is_read_as_its_type_in_the_catalog(opened: OpenLog, service: Service) -> None:
    results: list[object] = []

    async def keep(received: Received) -> None:
        results.append(received.payload(JobCompleted).result)
        await service.note(received)

    await opened.appender.append(request(*job_life(progress=1)))
    async with service.member(keep, broker=MemoryBroker(), pattern="*.job.completed"):
        await service.until([4])
    assert results == [{"rows": 3}]


async def test_what_fails_is_tried_again_and_its_half_done_writes_are_gone(opened: OpenLog, service: Service) -> None:
    failures = 2

    async def stumble(received: Received) -> None:
        nonlocal failures
        async with received.transaction() as connection:
            await connection.execute(f"INSERT INTO {service.role}.kept VALUES ($1)", received.event.position)
            if failures:
                failures -= 1
                raise ValueError("not yet")
        await service.note(received)

    await write(opened, "1", "2")
    async with service.member(stumble, broker=MemoryBroker()):
        await service.until([1, 2])
    assert await service.kept() == [1, 2]


async def test_while_something_that_it_needs_is_away_an_event_waits_and_is_not_parked(
    opened: OpenLog, service: Service
) -> None:
    refusals = 3 * HURRIED.attempts

    async def call_somebody(received: Received) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise ConnectionRefusedError("nobody is there")
        await service.keep(received)

    broker = MemoryBroker()
    await write(opened, "1", "2")
    async with service.member(call_somebody, broker=broker):
        await service.until([1, 2])
    assert await service.kept() == [1, 2]
    assert await broker.depth(Queue.DEAD) == 0


async def test_what_fails_after_its_commit_is_not_done_again(opened: OpenLog, service: Service) -> None:
    async def stumble(received: Received) -> None:
        await service.keep(received)
        raise ValueError("too late")

    await write(opened, "1", "2")
    async with service.member(stumble, broker=MemoryBroker()):
        await service.until([1, 2])
    assert await service.kept() == service.handled == [1, 2]


async def test_a_commit_whose_answer_was_lost_is_not_made_again(opened: OpenLog, service: Service) -> None:
    """The connection breaks after the server has committed: the handler sees an error, and its effect is there."""

    async def lose_the_answer(received: Received) -> None:
        await service.keep(received)
        if received.event.position == 1:
            received.settled = False
            raise ConnectionResetError("the answer was lost")

    await write(opened, "1", "2")
    async with service.member(lose_the_answer, broker=MemoryBroker()):
        await service.until([2])
    assert await service.kept() == [1, 2]


@pytest.mark.parametrize("transactional", [True, False], ids=["in a transaction", "without one"])
async def test_a_poisonous_event_is_parked_with_the_reason_and_tried_again_once_when_it_is_replayed(
    opened: OpenLog, service: Service, any_broker: Broker, transactional: bool
) -> None:
    poisonous = True

    async def choke(received: Received) -> None:
        if received.event.position == 2 and poisonous:
            raise ValueError("cannot stomach it")
        await (service.keep if transactional else service.note)(received)

    letters = DeadLetters(opened.pool, any_broker)
    draining = asyncio.create_task(letters.drain())
    await write(opened, "1", "2", "3")
    async with service.member(choke, broker=any_broker):
        await service.until([1, 3])
        while not (found := await letters.page(Selection("acme"), before=None, limit=9, replayed=False)):
            await asyncio.sleep(0.01)
        (letter,) = found
        assert (letter.reason, letter.attempts) == ("ValueError: cannot stomach it", 3)
        assert (letter.queue, letter.routing_key) == (f"millrace.subscribers.{service.role}", "acme.note.written")

        assert await letters.replay(Selection("acme"), limit=9) == [letter.id]
        while not (again := await letters.page(Selection("acme"), before=None, limit=9, replayed=False)):
            await asyncio.sleep(0.01)
        assert (again[0].id, again[0].routing_key) == (letter.id, letter.routing_key)
        poisonous = False
        assert await letters.replay(Selection("acme"), limit=9) == [letter.id]
        await service.until([2])
        await any_broker.publish(Exchange.SUBSCRIBERS, await as_replayed(opened, 2, service.role))
        await write(opened, "4")
        await service.until([4])
        await drained(any_broker, service)
    await end(draining)
    assert service.handled == [1, 3, 2, 4]
    assert await service.kept() == ([1, 3, 2, 4] if transactional else [])


async def test_a_poisonous_event_is_one_line_in_the_log_of_its_service(
    opened: OpenLog, service: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It was ninety, with a box around each frame and all local variables of the handler in it."""

    async def choke(received: Received) -> None:
        secret = f"of position {received.event.position}"
        if received.event.position == 2:
            raise ValueError(f"cannot\nstomach {len(secret)}")
        await service.note(received)

    await write(opened, "1", "2", "3")
    with caplog.at_level(logging.WARNING):
        async with subscribe(
            PATTERN, service.role, choke, database_url=service.database_url, broker_url="memory://", retry=HURRIED
        ):
            await service.until([1, 3])
    (line,) = [record for record in caplog.records if record.name == f"millrace.subscriber.{service.role}"]
    said = line.getMessage()
    assert said.startswith("message parked ")
    assert "stomach 13" in said
    assert " at='" in said
    assert "test_subscribers.py:" in said
    assert "\n" not in said
    out, err = capfd.readouterr()
    assert "of position" not in said + out + err
    assert "choke" not in out + err


async def as_replayed(opened: OpenLog, position: int, group: str) -> Message:
    (event,) = await opened.log.read(position - 1, 1)
    return Message(str(event.id), encode_event(event), group, {"epoch": str((await opened.log.head()).epoch)})


async def drained(broker: Broker, service: Service) -> None:
    async with asyncio.timeout(60):
        while await broker.depth(named_queue(Exchange.SUBSCRIBERS, service.role)):
            await asyncio.sleep(0.01)


async def test_what_is_sent_to_a_group_by_others_is_not_handled(opened: OpenLog, service: Service) -> None:
    broker = MemoryBroker()
    await write(opened, "1", "2")
    async with service.member(broker=broker):
        await service.until([1, 2])
        known = await as_replayed(opened, 1, service.role)
        for message in (
            known,
            Message("not JSON", b"{no event", service.role, known.headers),
            Message("no event", b'{"id":"1"}', service.role, known.headers),
            Message("no epoch", known.body, service.role),
            Message("of another log", known.body, service.role, {"epoch": str(new_id())}),
        ):
            await broker.publish(Exchange.SUBSCRIBERS, message)
        await drained(broker, service)
    assert service.handled == [1, 2]
    assert await broker.depth(Queue.DEAD) == 0


async def test_a_group_is_given_everything_after_a_position_again(opened: OpenLog, service: Service) -> None:
    await write(opened, "1", "2", "3")
    async with service.member(broker=MemoryBroker()):
        await service.until([1, 2, 3])
        service.handled.clear()
        await replay(service.role, 1, database_url=service.database_url)
        await service.until([2, 3])
        assert service.handled == [2, 3]
    await replay(service.role, 0, database_url=service.database_url)
    service.handled.clear()
    async with service.member(broker=MemoryBroker()):
        await service.until([1, 2, 3])
    assert await service.kept() == [1, 2, 3, 2, 3, 1, 2, 3]


async def test_a_replay_of_what_is_not_there_is_refused(opened: OpenLog, service: Service) -> None:
    with pytest.raises(NotFound, match="no group"):
        await replay(service.role, 0, database_url=service.database_url)
    await write(opened, "1")
    async with service.member(broker=MemoryBroker()):
        await service.until([1])
    with pytest.raises(NotFound, match="no position 2"):
        await replay(service.role, 2, database_url=service.database_url)


async def test_of_two_members_one_reads_and_the_other_goes_on_when_it_ends(opened: OpenLog, service: Service) -> None:
    readers: list[str] = []

    async def first(received: Received) -> None:
        readers.append("first")
        await service.keep(received)

    async def second(received: Received) -> None:
        readers.append("second")
        await service.keep(received)

    broker = MemoryBroker()
    async with AsyncExitStack() as later:
        async with service.member(first, broker=broker):
            await write(opened, "1")
            await service.until([1])
            await later.enter_async_context(service.member(second, broker=broker))
            await write(opened, "2")
            await service.until([2])
        await write(opened, "3")
        await service.until([3])
    assert readers == ["first", "first", "second"]
    assert await service.kept() == [1, 2, 3]


async def test_a_member_that_was_overtaken_in_mid_work_writes_nothing(opened: OpenLog, service: Service) -> None:
    attempts = 0
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def slow(received: Received) -> None:
        nonlocal attempts
        attempts += 1
        async with received.transaction() as connection:
            await connection.execute(f"INSERT INTO {service.role}.kept VALUES ($1)", received.event.position)
            at_work.set()
            await go_on.wait()
        await service.note(received)

    await write(opened, "1")
    async with service.member(slow, broker=MemoryBroker()), open_pool(service.database_url, name="b", size=1) as pool:
        await at_work.wait()
        await Subscription(pool, service.role).acquire()
        go_on.set()
        await service.until([1])
    assert attempts == 2
    assert await service.kept() == [1]


async def test_a_member_whose_lock_is_gone_stops_in_mid_work_and_begins_again_when_it_has_it_back(
    database: Database, opened: OpenLog, service: Service
) -> None:
    attempts = 0
    at_work = asyncio.Event()

    async def hang_once(received: Received) -> None:
        nonlocal attempts
        attempts += 1
        async with received.transaction() as connection:
            await connection.execute(f"INSERT INTO {service.role}.kept VALUES ($1)", received.event.position)
            if attempts == 1:
                at_work.set()
                await asyncio.Event().wait()
        await service.note(received)

    await write(opened, "1")
    async with service.member(hang_once, broker=MemoryBroker()):
        await at_work.wait()
        await cut_off(database, service.role)
        await service.until([1])
    assert attempts == 2
    assert await service.kept() == [1]


async def cut_off(database: Database, role: str) -> None:
    """Of whoever holds the lock."""
    connection = await asyncpg.connect(database.admin_url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND usename = $1",
        role,
    )
    await connection.close()


async def test_another_log_ends_the_subscription_with_a_reason_and_a_replay_mends_it(
    database: Database, opened: OpenLog, service: Service
) -> None:
    """Restored from a backup: positions mean something else by now."""
    await write(opened, "1", "2")

    async def be_there_when_it_is_restored() -> None:
        async with service.member(broker=MemoryBroker()):
            await service.until([1, 2])
            async with as_owner(database) as owner:
                await owner.execute("UPDATE events.head SET epoch = gen_random_uuid()")
            await asyncio.Event().wait()

    with pytest.raises(WrongEpoch):
        await be_there_when_it_is_restored()
    await replay(service.role, 1, database_url=service.database_url)
    async with service.member(broker=MemoryBroker()):
        service.handled.clear()
        await service.until([2])


async def test_a_group_goes_on_while_the_broker_is_away_and_parks_when_it_is_back(
    opened: OpenLog, service: Service, broker_url: str, rabbitmq_server: RabbitServer
) -> None:
    async def choke(received: Received) -> None:
        if received.event.position == 2:
            raise ValueError("cannot stomach it")
        await service.keep(received)

    async with open_broker(broker_url, name="test") as broker, service.member(choke, broker=broker):
        await rabbitmq_server.kill()
        await write(opened, "1")
        await service.until([1])
        await write(opened, "2", "3")
        await rabbitmq_server.start()
        await service.until([3])
        assert await broker.depth(Queue.DEAD) == 1
    assert await service.kept() == [1, 3]


async def test_a_group_goes_on_when_the_database_is_back(
    opened: OpenLog, service: Service, postgres_server: PostgresServer
) -> None:
    async with service.member(broker=MemoryBroker()):
        await write(opened, "1")
        await service.until([1])
        await postgres_server.kill()
        await postgres_server.start()
        await write(opened, "2")
        await service.until([2])
    assert await service.kept() == [1, 2]


async def test_what_is_misspelt_is_said_at_once(service: Service, broker_url: str) -> None:
    for pattern, group in (("*.job.", "billing"), ("", "billing"), ("#", "Billing!"), ("a.*b", "billing")):
        with pytest.raises(InvalidInput, match="must look like"):
            async with subscribe(
                pattern, group, service.keep, database_url=service.database_url, broker_url=broker_url
            ):
                raise AssertionError("it must not begin")


async def test_whoever_may_not_read_the_log_is_told_so_at_once(database: Database, service: Service) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with subscribe("#", "billing", service.keep, database_url=database.url("ingest"), broker_url="memory://"):
            raise AssertionError("it must not begin")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT events.acquire_checkpoint('relay.feed')",
        "SELECT events.save_checkpoint('relay.feed', 1, 1)",
        "UPDATE events.checkpoints SET position = 0",
        "DELETE FROM events.parked",
        "INSERT INTO events.events (position) VALUES (1)",
        "SELECT * FROM processor.jobs",
    ],
)
async def test_a_service_can_move_no_other_reader_and_write_nothing_into_the_log(
    service: Service, statement: str
) -> None:
    connection = await asyncpg.connect(service.database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()
