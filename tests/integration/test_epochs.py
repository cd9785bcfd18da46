"""A log that is a copy, or has lost its end, is another log: whoever appends first notices."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy import postgres, provision
from deploy.checks.database import check_database
from deploy.checks.finding import Finding
from deploy.postgres import PostgresServer
from deploy.postgres_wheel import binaries_of_the_wheel
from deploy.provision import Database
from events.errors import Fenced
from events.log.append import Appended
from events.log.checkpoints import Checkpoints
from events.log.log import Head
from fixtures.log import OpenLog, as_owner, note, open_log, request

STREAM = "note:1"


async def _append(opened: OpenLog, count: int = 1) -> Head:
    await opened.appender.append(request(*[note(STREAM) for _ in range(count)]))
    return await opened.log.head()


async def _reasons(owner: asyncpg.Connection) -> list[str]:
    return [row["because"] for row in await owner.fetch("SELECT because FROM events.epochs ORDER BY number")]


async def _move(owner: asyncpg.Connection, part: int = 1) -> None:
    """As if that part of its place were another one now."""
    parts = (await owner.fetchval("SELECT place FROM events.epochs")).split("/")
    parts[part - 1] = "1"
    await owner.execute("UPDATE events.epochs SET place = $1", "/".join(parts))


async def _lose_all_but_one(owner: asyncpg.Connection) -> None:
    """Of events of one stream."""
    async with owner.transaction():
        for statement in (
            "DELETE FROM events.events WHERE position > 1",
            "DELETE FROM events.event_ids WHERE position > 1",
            "UPDATE events.streams SET version = 1",
            "UPDATE events.head SET position = 1",
        ):
            await owner.execute(statement)


async def test_a_log_in_its_place_stays_the_same_one(database: Database) -> None:
    epochs = set()
    for _ in range(2):
        async with open_log(database) as opened:
            epochs.add((await _append(opened)).epoch)
    async with as_owner(database) as owner:
        assert await _reasons(owner) == ["it begins"]
    assert len(epochs) == 1


@pytest.mark.parametrize(
    ("part", "because"), [(1, "it is on another database cluster"), (3, "it was restored into another table")]
)
async def test_a_log_that_has_moved_is_another_one_from_the_next_append_on(
    database: Database, part: int, because: str
) -> None:
    async with open_log(database) as opened, as_owner(database) as owner:
        former = await _append(opened, 3)
        checkpoints = Checkpoints(opened.pool)
        relay = await checkpoints.acquire("relay.test")
        await checkpoints.save(relay, 2)
        await opened.pool.execute("SELECT events.begin_subscription('billing', 2)")
        await _move(owner, part)

        async with open_log(database) as another:
            now = await _append(another)
            await _append(another)
        async with open_log(database) as yet_another:
            assert (await _append(yet_another)).epoch == now.epoch, "once is enough"
        assert now.epoch != former.epoch
        assert await _reasons(owner) == ["it begins", because]
        places = {row["name"]: row for row in await owner.fetch("SELECT * FROM events.checkpoints")}
        assert dict(places["relay.test"]) == {
            "name": "relay.test", "position": 2, "epoch": now.epoch, "fence": relay.fence + 1,
        }  # fmt: skip
        assert places["subscriber.billing"]["epoch"] == former.epoch, "its owner says where it goes on"


async def test_a_log_that_has_lost_its_end_is_another_one(database: Database) -> None:
    """A standby was promoted that had not heard of the last events. Whoever had seen them could read others in their
    place, and went on as if nothing had happened."""
    async with open_log(database) as opened, as_owner(database) as owner:
        former = await _append(opened, 1)
        await _append(opened, 2)
        await _lose_all_but_one(owner)
        await _cut_all(database)
        now = await _append(opened, 1)
        assert now.epoch != former.epoch
        assert now.position == 2
        assert (await _reasons(owner))[1] == "it ends at 1, and 3 was known of it: events are lost"


async def test_nothing_is_appended_before_the_log_is_recognised(database: Database) -> None:
    """The connection was kept although its look had failed, and the next append went on in whatever log it was."""
    async with open_log(database) as opened, as_owner(database) as owner:
        former = await _append(opened)
        await _move(owner)
        await owner.execute("REVOKE EXECUTE ON FUNCTION events.recognise FROM millrace_appender")
        await _cut_all(database)
        for _ in range(3):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await _append(opened)
        await owner.execute("GRANT EXECUTE ON FUNCTION events.recognise TO millrace_appender")
        assert (await _append(opened)).epoch != former.epoch


async def test_a_log_that_is_exchanged_behind_its_connections_is_looked_at_again(database: Database) -> None:
    """pg_restore --clean by hand ends no connection, but for a while there are no tables behind it."""
    async with open_log(database) as opened, as_owner(database) as owner:
        former = await _append(opened)
        await asyncio.gather(*[_append(opened) for _ in range(64)])  # on every connection
        await owner.execute("ALTER TABLE events.head RENAME TO dropped")
        with pytest.raises(asyncpg.UndefinedTableError):
            await opened.appender.append(request(note(STREAM)))
        await _move(owner)
        await owner.execute("ALTER TABLE events.dropped RENAME TO head")
        now = await opened.appender.append_all([request(note(STREAM))])
        assert isinstance(now[0], Appended)
        assert (await opened.log.head()).epoch != former.epoch


async def test_a_relay_that_read_what_the_log_has_lost_begins_anew_where_it_ends(database: Database) -> None:
    """It saved a position beyond the new end, which no log ever had again under its epoch: it halted for good."""
    async with open_log(database) as opened, as_owner(database) as owner:
        await _append(opened, 3)
        checkpoints = Checkpoints(opened.pool)
        relay = await checkpoints.acquire("relay.test")
        await _lose_all_but_one(owner)
        with pytest.raises(Fenced):
            await checkpoints.save(relay, 3)
        await checkpoints.save(relay, 1)
        await _append(opened)
        assert (await checkpoints.acquire("relay.test")).position == 1


async def test_a_promoted_standby_is_another_log_unless_replication_is_said_to_lose_nothing(tmp_path: Path) -> None:
    """Whoever connected to it before its promotion was told that all was well, and went on under the old epoch."""
    async with _server(tmp_path / "primary") as primary:
        passwords = provision.new_passwords()
        database = await provision.provision(primary.admin_url(), "millrace", passwords)
        async with open_log(database) as opened:
            former = await _append(opened, 3)
        await asyncio.to_thread(_copy, primary, tmp_path / "copy")
    async with _server(tmp_path / "copy") as standby:
        copied = Database(standby.admin_url("millrace"), passwords)
        async with open_log(copied) as opened:
            assert (await opened.log.head()) == former
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await opened.pool.fetchval("SELECT events.recognise(NULL, 0)")
            waiting = asyncio.create_task(_append(opened))
            await _promote(copied)
            now = await waiting
        assert now.epoch != former.epoch
        async with as_owner(copied) as owner:
            assert (await _reasons(owner))[1] == "a standby was promoted, or the cluster was restored to a moment"
            await owner.execute("DELETE FROM events.epochs WHERE number > 1")
            await provision.keep_epoch_on_failover(copied.admin_url)
        async with as_owner(copied) as owner:
            assert await owner.fetchval("SELECT events.recognise(NULL, 0)") == now.epoch


async def test_the_doctor_says_of_a_standby_that_it_is_one(tmp_path: Path) -> None:
    """It asked where the log is, which a standby cannot say, and that was a bug of ours, exit code 70. And of others'
    connections it saw none: a role that may not see their kind counted its own alone, and said nothing of old
    transactions."""
    async with _server(tmp_path / "primary") as primary:
        passwords = provision.new_passwords()
        await provision.provision(primary.admin_url(), "millrace", passwords)
        await asyncio.to_thread(_copy, primary, tmp_path / "copy")
    async with _server(tmp_path / "copy") as standby:
        copied = Database(standby.admin_url("millrace"), passwords)
        other = await asyncpg.connect(copied.url("gateway"))
        by_owner, by_service = [await _findings(copied.url(role)) for role in ("owner", "processor")]
        await other.close()
    assert by_owner["server"].state == "wrong"
    assert "a standby" in by_owner["server"].says
    assert by_owner["epoch"].state == "ok"
    assert "transactions" not in by_owner, "it sees everybody's, and none is old"
    assert by_service["transactions"].state == "skipped"
    for found in (by_owner, by_service):
        assert found["connections"].says.startswith("2 of "), found["connections"].says


async def _findings(url: str) -> dict[str, Finding]:
    return {one.check: one for one in await check_database(url, None)}


@asynccontextmanager
async def _server(directory: Path) -> AsyncIterator[PostgresServer]:
    os.makedirs(directory, exist_ok=True)
    native: Any = postgres.native_server
    server: PostgresServer = await asyncio.to_thread(
        native, binaries_of_the_wheel(), directory, "a-password", {"fsync": "off", "shared_buffers": "32MB"}
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _copy(primary: PostgresServer, directory: Path) -> None:
    """As a standby is made, whose primary is gone."""
    data = directory / "data"
    directory.mkdir()
    owner = (directory.parent / "primary" / "data").stat()
    program = [str(binaries_of_the_wheel() / "pg_basebackup"), f"--dbname={primary.admin_url()}", f"--pgdata={data}"]
    subprocess.run([*program, "--checkpoint=fast"], check=True, capture_output=True)
    (data / "standby.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'false'\n")
    for path in (data, *data.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


async def _promote(database: Database) -> None:
    connection = await asyncpg.connect(database.admin_url)
    try:
        assert await connection.fetchval("SELECT pg_promote()")
    finally:
        await connection.close()


async def _cut_all(database: Database) -> None:
    """As a failover does to everybody's connections."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'millrace-test'"
        )
    finally:
        await connection.close()
