"""A dump comes back whole, as another log, or not at all."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.backups.dump import dump, restore
from deploy.provision import SCHEMAS, Database
from events.errors import StartupError
from fixtures.log import as_owner, note, open_log, request

_BEFORE = ["SET ROLE millrace_owner", *(f"DROP SCHEMA IF EXISTS {schema} CASCADE" for schema in SCHEMAS)]
_AFTER = ["SELECT events.renew_epoch('restored')"]


def _ignored(_bytes: int) -> None:
    """How far it is."""


async def _append(database: Database, count: int) -> None:
    async with open_log(database) as opened:
        for _ in range(count):
            await opened.appender.append(request(note("note:1")))


async def _head(owner: asyncpg.Connection) -> tuple[object, int]:
    row = await owner.fetchrow("SELECT epoch, position FROM events.head")
    assert row is not None
    return row["epoch"], row["position"]


# Restores a file that never says anything: everything is dropped, and nothing has come back yet.
_RESTORING = """
import asyncio, json, sys
from pathlib import Path
from deploy.backups.dump import restore
url, file, before, after = json.loads(sys.argv[1])
asyncio.run(restore(url, Path(file), before=before, after=after, read=lambda done: None))
"""


async def test_what_was_appended_after_the_snapshot_is_not_in_the_dump_and_half_a_dump_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    """By the superuser, as on a data directory: everything belongs to its owner again, and services may use it."""
    file = tmp_path / "database.dump"
    await _append(database, 3)
    async with as_owner(database) as owner:
        async with owner.transaction(isolation="repeatable_read"):
            former = await _head(owner)
            await _append(database, 1)
            await dump(database.admin_url, file, await owner.fetchval("SELECT pg_export_snapshot()"), _ignored)
        longer = await _head(owner)
        assert (former[1], longer[1]) == (3, 4)

        half = tmp_path / "half.dump"
        half.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
        with pytest.raises(StartupError, match="pg_restore could not do it"):
            await restore(database.admin_url, half, before=_BEFORE, after=_AFTER, read=_ignored)
        with pytest.raises(StartupError, match="psql could not do it"):
            await restore(database.admin_url, file, before=_BEFORE, after=["SELECT no_such_thing()"], read=_ignored)
        assert await _head(owner) == longer

        await restore(database.admin_url, file, before=_BEFORE, after=_AFTER, read=_ignored)
        epoch, position = await _head(owner)
        assert (epoch != former[0], position) == (True, 3)
    await _append(database, 1)
    async with as_owner(database) as owner:
        assert await _head(owner) == (epoch, 4), "known by its new place from now on"


async def test_a_restore_that_is_killed_in_the_middle_has_changed_nothing(database: Database, tmp_path: Path) -> None:
    """psql was given its script through a pipe, in a transaction of its own making. When millrace was killed, the pipe
    ended, and psql took that for the end of the script: it committed an empty database, or half a log.

    And a password that was given as `?password=` was among psql's arguments, for everybody on the machine.
    """
    silent = tmp_path / "database.dump"
    os.mkfifo(silent)
    await _append(database, 3)
    admin = await asyncpg.connect(database.admin_url)
    try:
        former = await _head(admin)
        url, password = _with_password_in_query(database.admin_url)
        wish = json.dumps([url, str(silent), _BEFORE, _AFTER])
        millrace = await asyncio.create_subprocess_exec(sys.executable, "-c", _RESTORING, wish)
        with await asyncio.to_thread(silent.open, "wb"):  # as soon as pg_restore reads it
            await _until(admin, f"bool_or(state = 'idle in transaction' AND query LIKE '%{SCHEMAS[-1]}%')")
            for child in await asyncio.to_thread(_arguments_of_children, millrace.pid):
                assert password not in child
            millrace.send_signal(signal.SIGKILL)
            await millrace.wait()
            await _until(admin, "count(*) = 0")
        assert await _head(admin) == former
    finally:
        await admin.close()
    await _append(database, 1)


def _with_password_in_query(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    assert parts.password
    netloc = parts.netloc.replace(f":{parts.password}@", "@")
    return urlunsplit(parts._replace(netloc=netloc, query=f"password={parts.password}")), unquote(parts.password)


def _arguments_of_children(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 2, "pg_restore and psql"
    return [Path(f"/proc/{child}/cmdline").read_text() for child in children]


async def _until(admin: asyncpg.Connection, restoring: str) -> None:
    while not await admin.fetchval(
        f"SELECT {restoring} FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'millrace-operator'"
    ):
        await asyncio.sleep(0.02)
