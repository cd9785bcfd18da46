"""Who holds an open socket: what any gateway can have refreshed is forgotten by its holder, or with it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from deploy.provision import Database
from events.errors import NotFound
from events.identity import Principal
from events.ids import new_id
from fixtures.gateway import PATIENCE, gateway_settings
from fixtures.parts import OpenParts
from fixtures.sockets import connected
from gateway.auth.credentials import Identity
from gateway.auth.revocations import Revocations
from gateway.sockets.socket import Socket
from gateway.sockets.sockets import Sockets

Replica = Callable[[], Awaitable[Sockets]]


@pytest_asyncio.fixture
async def connection(database: Database) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


@pytest_asyncio.fixture
async def replica(database: Database, open_parts_for: OpenParts, tmp_path: Path) -> AsyncIterator[Replica]:
    """Each call is one more gateway, as far as it holds sockets."""
    settings = gateway_settings(database, tmp_path, "http://127.0.0.1:1")
    async with AsyncExitStack() as stack:

        async def one_more() -> Sockets:
            parts = await stack.enter_async_context(open_parts_for("gateway", database))
            sockets = Sockets(parts, settings, Revocations(parts.pool))
            await sockets.sweep()
            return sockets

        yield one_more


def her(seconds: int, *ended_by: str) -> Identity:
    """Her token, and for how long it is good."""
    principal = Principal("default", "user:her", frozenset({"jobs:read"}), int(time.time()) + seconds)
    return Identity(principal, frozenset(ended_by))


async def opened(sockets: Sockets, socket_id: UUID, identity: Identity) -> Socket:
    socket = sockets.enter(socket_id, identity, asyncio.get_running_loop().time())
    await sockets.keep_terms(socket)
    return socket


async def time_passes(connection: asyncpg.Connection, seconds: int) -> None:
    await connection.execute(
        "UPDATE gateway.holders SET seen_at = seen_at - make_interval(secs => $1), since = since - "
        "make_interval(secs => $1)",
        seconds,
    )


async def test_a_gateway_that_lost_a_stream_does_not_forget_it_for_the_one_where_it_was_opened_again(
    replica: Replica,
) -> None:
    """It took the row away, and the stream ended with its first credential: nobody could refresh it."""
    lost, holds, stream = await replica(), await replica(), new_id()
    before = await opened(lost, stream, her(60))
    await opened(holds, stream, her(60))
    before.leave()
    await lost.sweep()
    await lost.refresh(stream, her(600))


async def test_a_stream_that_is_opened_again_where_it_was_is_not_forgotten_for_its_last_opening(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    gateway, stream = await replica(), new_id()
    before = await opened(gateway, stream, her(60))
    now = await opened(gateway, stream, her(60))
    assert before.ending is not None
    await gateway.sweep()
    await gateway.refresh(stream, her(600))
    now.leave()
    await gateway.sweep()
    assert await connection.fetchval("SELECT count(*) FROM gateway.sockets") == 0


async def test_what_a_killed_gateway_held_is_forgotten_and_nothing_else(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    """Its rows stayed for an hour after their expiry: who refreshed one was told that it lived on, and it was gone."""
    killed, lives, gone, stays = await replica(), await replica(), new_id(), new_id()
    await opened(killed, gone, her(3600))
    await opened(lives, stays, her(3600))
    await time_passes(connection, 50)
    await lives.sweep()
    await lives.refresh(gone, her(7200))  # it may only be slow
    await time_passes(connection, 50)
    await lives.sweep()
    with pytest.raises(NotFound):
        await lives.refresh(gone, her(7200))
    await lives.refresh(stays, her(7200))


async def test_a_gateway_that_stops_takes_what_it_held_with_it(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    stops, lives = await replica(), await replica()
    await opened(stops, new_id(), her(60))
    await opened(lives, stays := new_id(), her(60))
    await stops.aclose()
    assert await connection.fetchval("SELECT array_agg(id) FROM gateway.sockets") == [stays]


async def test_when_the_database_was_away_nobody_is_taken_for_dead_who_had_no_time_to_come_back(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    first, second, socket = await replica(), await replica(), new_id()
    await opened(second, socket, her(3600))
    await time_passes(connection, 600)
    await first.sweep()
    await second.sweep()
    await time_passes(connection, 50)
    for gateway in (first, second, first):
        await gateway.sweep()
    await first.refresh(socket, her(7200))


async def test_a_stream_that_is_refreshed_while_it_is_opened_again_lives_by_what_refreshed_it(
    replica: Replica,
) -> None:
    """What it had been looked up with came later than the news, and it ended with the old one."""
    here, there, stream = await replica(), await replica(), new_id()
    await opened(here, stream, looked_up := her(60, "session:1"))
    fresh = her(600, "session:2")
    await here.refresh(stream, fresh)
    socket = await opened(there, stream, looked_up)
    assert (socket.expires_at, socket.identity.ended_by) == (fresh.principal.expires_at, fresh.ended_by)
    there.ended("session:1")
    assert socket.ending is None
    there.ended("session:2")
    assert socket.ending == (4401, "credential revoked")


async def test_a_stream_is_opened_again_where_nothing_older_than_its_terms_was_heard(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    here, stream = await replica(), new_id()
    await opened(here, stream, identity := her(3600, "session:1"))
    await connection.execute("UPDATE gateway.sockets SET changed_at = changed_at - interval '10 minutes'")
    just_started = await replica()
    assert (await opened(just_started, stream, identity)).ending is None


async def test_when_the_database_has_crashed_what_is_open_can_be_refreshed_all_the_same(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    """A crash empties the tables: who refreshed a connection of Centrifugo's was told that the token was wrong."""
    here, there, socket = await replica(), await replica(), new_id()
    held = await opened(here, socket, her(60, "session:1"))
    fresh = her(600, "session:2")
    await there.refresh(socket, fresh)
    here.ended(f"socket:{socket}")
    async with asyncio.timeout(PATIENCE):
        while held.expires_at != fresh.principal.expires_at:
            await asyncio.sleep(0)
    await connection.execute("TRUNCATE gateway.holders CASCADE")
    with pytest.raises(NotFound):
        await there.refresh(socket, fresh)
    await opened(here, new_id(), her(60))
    await here.sweep()
    lasts = await connection.fetchval("SELECT expires_at FROM gateway.sockets WHERE id = $1", socket)
    assert lasts == fresh.principal.expires_at
    await there.refresh(socket, her(900))


async def test_what_was_closed_while_the_database_was_away_is_forgotten_when_it_is_back(
    replica: Replica, connection: asyncpg.Connection
) -> None:
    gateway = await replica()
    (await opened(gateway, new_id(), her(3600))).leave()
    await connection.execute("ALTER TABLE gateway.holders RENAME TO away")
    with pytest.raises(asyncpg.UndefinedTableError):
        await gateway.sweep()
    await connection.execute("ALTER TABLE gateway.away RENAME TO holders")
    await gateway.sweep()
    assert await connection.fetchval("SELECT count(*) FROM gateway.sockets") == 0
