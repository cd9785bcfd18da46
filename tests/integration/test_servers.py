"""The servers that the other tests stand on."""

from pathlib import Path

import asyncpg
import pytest

from deploy import packages, postgres
from deploy.postgres import PostgresServer
from deploy.provision import Database
from deploy.rabbitmq import RabbitServer


async def test_every_role_enters_its_own_database(database: Database) -> None:
    for role in ("owner", "ingest", "processor", "notifier", "gateway"):
        connection = await asyncpg.connect(database.url(role))
        assert await connection.fetchval("SELECT current_user") == f"millrace_{role}"
        await connection.close()


async def test_a_service_cannot_make_tables(database: Database) -> None:
    connection = await asyncpg.connect(database.url("ingest"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE public.mine (id int)")
    await connection.close()


async def test_a_database_survives_kill_9_of_its_server(database: Database, postgres_server: PostgresServer) -> None:
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute("CREATE SCHEMA kept; CREATE TABLE kept.facts AS SELECT 1 AS fact")
    await postgres_server.kill()
    await postgres_server.start()
    connection = await asyncpg.connect(database.url("owner"))
    assert await connection.fetchval("SELECT fact FROM kept.facts") == 1
    await connection.close()


async def test_virtual_hosts_are_fresh_and_survive_a_restart(broker_url: str, rabbitmq_server: RabbitServer) -> None:
    vhost = broker_url.rpartition("/")[2]
    assert await rabbitmq_server.api("GET", f"/queues/{vhost}") == []
    await rabbitmq_server.kill()
    await rabbitmq_server.start()
    assert vhost in [entry["name"] for entry in await rabbitmq_server.api("GET", "/vhosts")]


async def test_a_server_that_a_killed_parent_left_behind_is_ended_before_the_next_starts(tmp_path: Path) -> None:
    def on_the_same_cluster() -> PostgresServer:
        return postgres.native_server(packages.postgres_binaries(), tmp_path, "password", {})

    orphan = on_the_same_cluster()
    await orphan.start()
    successor = on_the_same_cluster()
    assert await orphan.wait() == 0
    await successor.start()
    await successor.stop()


async def test_a_lock_file_that_names_a_stranger_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    server = postgres.native_server(packages.postgres_binaries(), tmp_path, "password", {})
    await server.start()
    await server.kill()
    lock = tmp_path / "data" / "postmaster.pid"
    lock.write_text("\n".join(["1", *lock.read_text().splitlines()[1:], ""]))
    server = postgres.native_server(packages.postgres_binaries(), tmp_path, "password", {})
    await server.start()
    await server.stop()
