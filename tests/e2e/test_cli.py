"""What an operator does to a server of their own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest_asyncio

from deploy import servers
from deploy.postgres import PostgresServer
from gateway.auth.keys import parse_key

_MILLRACE = Path(sys.executable).with_name("millrace")


@pytest_asyncio.fixture
async def bare_server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    async with servers.open_postgres(tmp_path) as server:
        yield server


async def millrace(*arguments: str, **settings: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        _MILLRACE,
        *arguments,
        env=os.environ | {f"MILLRACE_{name.upper()}": value for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_bare_server_is_provisioned_migrated_and_rebuilt(bare_server: PostgresServer) -> None:
    admin, owner = bare_server.admin_url(), bare_server.url("millrace_owner", "a-password", "millrace")
    for options in ([], ["--lossless-failover"]):  # everything can be done again
        code, _, err = await millrace("provision", *options, admin_database_url=admin, role_password="a-password")
        assert code == 0, err
    code, _, err = await millrace("migrate", database_url=owner)
    assert code == 0, err
    code, out, err = await millrace("rebuild", database_url=owner)
    assert (code, out) == (0, "Replayed 0 events.\n"), err
    code, out, err = await millrace("replay", "billing", "0", database_url=owner)
    assert (code, out) == (4, "")
    assert err == "There is no group billing that has begun, or no position 0 in the log yet.\n"
    ingest = await asyncpg.connect(bare_server.url("millrace_ingest", "a-password", "millrace"))
    assert await ingest.fetchval("SELECT count(*) FROM ingest.uploads") == 0
    assert await ingest.fetchval("SHOW millrace.failover") == "lossless"
    await ingest.close()


async def test_a_new_key_is_one_that_the_gateway_takes() -> None:
    code, out, err = await millrace("new-key")
    assert code == 0, err
    parse_key(out.strip())


async def test_a_missing_address_is_named(tmp_path: Path) -> None:
    assert await millrace("migrate", database_url="") == (2, "", "MILLRACE_DATABASE_URL is not set.\n")
    code, out, err = await millrace("rebuild", database_url="", data_dir=str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith(f"There is no Millrace in {tmp_path}. Set MILLRACE_DATA_DIR")


async def test_a_server_that_is_not_there_is_named() -> None:
    code, out, err = await millrace("migrate", database_url="postgresql://millrace_owner:x@127.0.0.1:1/millrace")
    assert (code, out) == (3, "")
    assert err.startswith("The database at MILLRACE_DATABASE_URL does not let us in: ")
    assert err.count("\n") == 1
