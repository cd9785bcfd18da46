"""A dump comes back whole, as another log, or not at all."""

from pathlib import Path

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
