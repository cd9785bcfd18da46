"""`millrace log verify` beside writers: it neither slows them down nor takes what they do for damage."""

import asyncio

import pytest

from deploy.provision import Database
from deploy.verification import verify
from events.database import open_pool
from fixtures.log import as_owner, note, open_log, request


async def test_a_log_is_verified_without_a_snapshot_that_stays_open(database: Database) -> None:
    """It read all of the log in one snapshot. Meanwhile no old version of the head's row could go, and each append,
    which reads them all, became slower and slower."""
    async with open_log(database) as opened, open_pool(database.url("owner"), name="operator", size=1) as pool:
        await opened.appender.append_all([request(note("note:a"), note("note:a")), request(note("note:b"))])
        held = []
        report = await verify(pool, lambda *_: held.append(pool.get_size() - pool.get_idle_size()), projections=False)
        assert (report.events, report.clean) == (3, True)
        assert held == [0]


async def test_what_is_appended_meanwhile_is_no_damage(database: Database) -> None:
    async with open_log(database) as opened, open_pool(database.url("owner"), name="operator", size=1) as pool:
        done = asyncio.Event()

        async def write() -> None:
            while not done.is_set():
                await opened.appender.append(request(note("note:a"), note("note:a")))

        async with asyncio.TaskGroup() as writers:
            writers.create_task(write())
            for _ in range(3):
                report = await verify(pool, lambda *_: None, projections=True)
                assert [one for one in report.verdicts if one.wrong] == []
            done.set()


@pytest.mark.parametrize(
    ("damage", "holds", "wrong"),
    [
        (
            "DELETE FROM events.events WHERE position = 2",
            "the table of ids has each event, where it is",
            "2 (no event)",
        ),
        ("UPDATE events.events SET version = 9 WHERE position = 3", "versions of each stream", "acme/note:b"),
        ("UPDATE events.streams SET version = 7 WHERE stream = 'note:b'", "versions of each stream", "acme/note:b"),
        ("UPDATE events.streams SET id = DEFAULT WHERE stream = 'note:b'", "each event is of the stream", "3"),
        ("UPDATE events.head SET position = 2", "positions are 1, 2, 3 … up to the head", "3 beyond the head"),
    ],
)
async def test_damage_is_named(database: Database, damage: str, holds: str, wrong: str) -> None:
    async with open_log(database) as opened, open_pool(database.url("owner"), name="operator", size=1) as pool:
        await opened.appender.append_all([request(note("note:a"), note("note:a")), request(note("note:b"))])
        async with as_owner(database) as owner:
            await owner.execute(damage)
        report = await verify(pool, lambda *_: None, projections=False)
        assert [one.wrong for one in report.verdicts if one.holds.startswith(holds)] == [[wrong]]
