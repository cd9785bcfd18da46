"""A job with a unique name is started if there is none: cheaply if there is, and never for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.provision import Database
from events.errors import Conflict, IdempotencyKeyReused
from events.lifecycle import Parts
from events.log.append import Appender
from events.log.log import EventLog
from fixtures.log import as_owner
from fixtures.parts import OpenParts
from processor.queue import Postbox
from processor.quota import JobQuota
from processor.workflows.control import Control, Said, Wish
from processor.workflows.jobs import Jobs
from processor.workflows.library import Library
from processor.workflows.start import Starter

_SAID = Said("user:1")
_PUBLISH = """
INSERT INTO processor.workflows (tenant, name, version, document, published_at, position)
VALUES ('acme', 'w', 1, '{"name": "w", "steps": {"a": {"uses": "noop"}}}', now(), 1)
"""


@asynccontextmanager
async def _control(database: Database, open_parts_for: OpenParts) -> AsyncIterator[tuple[Control, Parts]]:
    async with (
        open_parts_for("processor", database) as parts,
        Appender(parts.pool, function="processor.append") as appender,
        as_owner(database) as owner,
    ):
        await owner.execute(_PUBLISH)
        library, postbox = Library(parts.pool), Postbox(parts.pool)
        jobs = Jobs(parts.pool, parts.blobs, EventLog(parts.pool), library, postbox)
        quota = JobQuota(parts.pool)
        starter = Starter(parts.pool, appender, library, postbox, quota)
        yield Control(parts.pool, starter, library, jobs, postbox, quota, announce=lambda: None), parts


async def test_whoever_asks_for_a_job_that_there_is_undoes_nothing_of_what_others_append(
    database: Database, open_parts_for: OpenParts
) -> None:
    """Each duplicate broke the index, and with it the batch of whatever tenants' events it came with: those were
    sent again one by one. One client that asked 50 times a second slowed down all."""
    async with _control(database, open_parts_for) as (control, _), as_owner(database) as other:
        first, new = await control.start("acme", Wish("w", unique="only"), _SAID)
        assert new
        async with other.transaction():
            await other.fetch("SELECT FROM events.head FOR UPDATE")  # nobody can append
            async with asyncio.timeout(5):
                again, new = await control.start("acme", Wish("w", unique="only"), _SAID)
        assert (again.id, new) == (first.id, False)


async def test_whoever_repeats_himself_gets_the_first_answer_again(
    database: Database, open_parts_for: OpenParts
) -> None:
    keyed = Said("user:1", "key")
    async with _control(database, open_parts_for) as (control, _):
        first, _ = await control.start("acme", Wish("w", unique="only"), keyed)
        again, new = await control.start("acme", Wish("w", unique="only"), keyed)
        assert (again.id, new) == (first.id, True)
        with pytest.raises(IdempotencyKeyReused):
            await control.start("acme", Wish("w", unique="only", priority=1), keyed)


async def test_of_those_who_come_at_once_one_starts_the_job(database: Database, open_parts_for: OpenParts) -> None:
    async with _control(database, open_parts_for) as (control, _):
        answers = await asyncio.gather(*(control.start("acme", Wish("w", unique="only"), _SAID) for _ in range(8)))
    assert len({job.id for job, _ in answers}) == 1
    assert [new for _, new in answers].count(True) == 1


async def test_another_index_that_is_broken_is_an_error_and_no_reason_to_go_on_trying(
    database: Database, open_parts_for: OpenParts
) -> None:
    async with _control(database, open_parts_for) as (control, _), as_owner(database) as owner:
        await owner.execute("CREATE UNIQUE INDEX one_job ON processor.queue (tenant)")
        await control.start("acme", Wish("w"), _SAID)
        async with asyncio.timeout(5):
            with pytest.raises(asyncpg.UniqueViolationError):
                await control.start("acme", Wish("w"), _SAID)
            with pytest.raises(Conflict, match=r"Try again in a moment\."):
                await control.start("acme", Wish("w", unique="only"), _SAID)
