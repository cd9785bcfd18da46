"""Who is present in a channel, whichever notifier they and who asks are connected to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.broker.memory import MemoryBroker
from events.ids import new_id
from fixtures.centrifugo import Client, open_client
from fixtures.ingest import until
from fixtures.notifier import READER, STRANGER, RunningNotifier, Writer, open_notifier, open_writer
from fixtures.parts import OpenParts
from fixtures.sockets import connected
from notifier.presence import DEAD_SECONDS, SWEEP_SECONDS, Presence, Present

OTHER = replace(READER, subject="key:9")


@dataclass
class Two:
    here: RunningNotifier
    there: RunningNotifier
    writer: Writer
    connection: asyncpg.Connection


@pytest_asyncio.fixture
async def two(database: Database, open_parts_for: OpenParts) -> AsyncIterator[Two]:
    broker = MemoryBroker()
    async with (
        open_writer(database, open_parts_for) as writer,
        open_notifier(database, open_parts_for, broker) as here,
        open_notifier(database, open_parts_for, broker) as there,
        connected(database) as connection,
    ):
        yield Two(here, there, writer, connection)


async def present(client: Client, channel: str) -> dict[str, str]:
    """Who is, by its client's id."""
    answer = (await client.ask(presence={"channel": channel}))["presence"]["presence"]
    assert all(each["client"] == client_id for client_id, each in answer.items())
    return {client_id: each["user"] for client_id, each in answer.items()}


async def stats(client: Client, channel: str) -> tuple[int, int]:
    told = (await client.ask(presence_stats={"channel": channel}))["presence_stats"]
    return told["num_clients"], told["num_users"]


async def test_who_follows_is_present_on_every_notifier_until_it_leaves_or_is_gone(two: Two) -> None:
    channel = f"job:{await two.writer.job(1)}"
    async with open_client(two.here) as (asking, _), open_client(two.there) as (one, told):
        async with open_client(two.there, OTHER) as (_, _), open_client(two.there) as (twice, told_twice):
            for client in (one, twice):
                await client.subscribe(channel)
            # What a notifier knows itself, it says before it answers.
            assert set(await present(one, channel)) == {told["client"], told_twice["client"]}
            with_us = await present(asking, channel)
            assert with_us == {told["client"]: "key:1", told_twice["client"]: "key:1"}
            assert await stats(asking, channel) == (2, 1)
            await asking.subscribe(channel)
            assert await stats(asking, channel) == (3, 1)
            await one.ask(unsubscribe={"channel": channel})
            assert told["client"] not in await present(one, channel)

        async def one_left() -> bool:
            return await stats(asking, channel) == (1, 1)

        await until(one_left)
        async with open_client(two.here, STRANGER) as (stranger, _):
            assert await stats(stranger, channel) == (0, 0)


async def test_users_are_counted_once(two: Two) -> None:
    async with open_client(two.here) as (one, _), open_client(two.here, OTHER) as (other, _):
        for client in (one, other):
            await client.subscribe("job:*")
        assert await stats(one, "job:*") == (2, 2)
        assert await one.refused(presence={"channel": "tenant:acme"}) == 103
        assert await one.refused(presence_stats={"channel": "nothing"}) == 102


CHANNEL = ("acme", "job:*")


@pytest_asyncio.fixture
async def pair(database: Database, open_parts_for: OpenParts) -> AsyncIterator[tuple[Presence, Presence]]:
    """Of two notifiers, which beat when the test says so."""
    async with open_parts_for("notifier", database) as parts:
        yield Presence(parts.pool), Presence(parts.pool)


async def age(connection: asyncpg.Connection, seconds: float) -> None:
    await connection.execute("UPDATE notifier.notifiers SET beat_at = beat_at - make_interval(secs => $1)", seconds)


async def test_the_clients_of_a_notifier_that_does_not_beat_are_not_present(
    two: Two, pair: tuple[Presence, Presence]
) -> None:
    alive, dead = pair
    mine, lost = new_id(), new_id()
    dead.join(CHANNEL, lost, "key:1")
    await dead.beat()
    alive.join(CHANNEL, mine, "key:1")
    assert {each.client for each in await alive.of(CHANNEL)} == {mine, lost}
    await age(two.connection, DEAD_SECONDS)
    await alive.beat()
    assert await alive.of(CHANNEL) == [Present(mine, "key:1")]
    assert await alive.count(CHANNEL) == (1, 1)
    await dead.beat()  # it was only held up
    assert await alive.count(CHANNEL) == (2, 1)

    await age(two.connection, SWEEP_SECONDS)
    await alive.beat()
    await alive.sweep()
    assert await two.connection.fetchval("SELECT count(*) FROM notifier.present") == 1


@pytest.mark.parametrize("loss", ["TRUNCATE notifier.notifiers, notifier.present", "DELETE FROM notifier.notifiers"])
async def test_what_the_server_or_another_notifier_has_forgotten_is_said_again(
    two: Two, pair: tuple[Presence, Presence], loss: str
) -> None:
    ours, _ = pair
    stays, leaves = new_id(), new_id()
    for client in (stays, leaves):
        ours.join(CHANNEL, client, "key:1")
    await ours.beat()
    await two.connection.execute(loss)
    ours.gone(leaves)
    await ours.beat()
    assert await ours.of(CHANNEL) == [Present(stays, "key:1")]


async def test_what_could_not_be_said_is_said_later(two: Two, pair: tuple[Presence, Presence]) -> None:
    ours, _ = pair
    client = new_id()
    ours.join(CHANNEL, client, "key:1")
    await two.connection.execute("ALTER TABLE notifier.present RENAME TO away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await ours.beat()
    await two.connection.execute("ALTER TABLE notifier.away RENAME TO present")
    assert await ours.of(CHANNEL) == [Present(client, "key:1")]


async def test_who_was_forgotten_is_said_again_though_it_fails_at_first(
    two: Two, pair: tuple[Presence, Presence]
) -> None:
    """A server that recovers may go once more between the answer that says that we were forgotten and what we say then:
    the next beat finds us known, and nobody of ours was present any more."""
    ours, _ = pair
    client = new_id()
    ours.join(CHANNEL, client, "key:1")
    await ours.beat()
    await two.connection.execute("TRUNCATE notifier.notifiers, notifier.present")
    await two.connection.execute("ALTER TABLE notifier.present ADD CONSTRAINT nobody CHECK (client IS NULL)")
    with pytest.raises(asyncpg.CheckViolationError):
        await ours.beat()
    await two.connection.execute("ALTER TABLE notifier.present DROP CONSTRAINT nobody")
    await ours.beat()
    assert await ours.of(CHANNEL) == [Present(client, "key:1")]


_FEW = """
CREATE FUNCTION notifier.few() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM said) > 500 THEN
        RAISE 'so many at once';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER few AFTER INSERT ON notifier.present
REFERENCING NEW TABLE AS said FOR EACH STATEMENT EXECUTE FUNCTION notifier.few();
"""


async def test_however_many_are_here_only_some_are_said_at_once(two: Two, pair: tuple[Presence, Presence]) -> None:
    """After the server had gone, each notifier said all of its thousands in one go, and did nothing else meanwhile."""
    await two.connection.execute(_FEW)
    ours, _ = pair
    clients = [new_id() for _ in range(1_100)]
    for client in clients:
        ours.join(CHANNEL, client, "key:1")
    assert await ours.count(CHANNEL) == (1_100, 1)
    await two.connection.execute("TRUNCATE notifier.notifiers, notifier.present")
    ours.gone(clients[0])
    await ours.beat()
    assert await ours.count(CHANNEL) == (1_099, 1)


async def test_a_notifier_that_stops_takes_its_clients_with_it(two: Two, pair: tuple[Presence, Presence]) -> None:
    stays, stops = pair
    async with stops.leaving():
        stops.join(CHANNEL, new_id(), "key:1")
        assert await stops.count(CHANNEL) == (1, 1)
    assert await stays.count(CHANNEL) == (0, 0)
