"""Followers and checkpoints: in order, without a gap, and loud about what must not be."""

import asyncio

import pytest

from deploy.provision import Database
from events.errors import Fenced, LogHole, WrongEpoch
from events.ids import new_id
from events.log.checkpoints import Checkpoints
from events.log.follow import Follower
from fixtures.log import OpenLog, as_owner, note, open_log, request


def follower(opened: OpenLog, *, after: int = 0, epoch: object = None, batch: int = 500) -> Follower:
    return Follower(opened.log, after=after, epoch=epoch, doorbell=opened.doorbell, batch=batch)  # type: ignore[arg-type]


async def test_a_follower_reads_what_is_there_and_then_what_comes(database: Database) -> None:
    async with open_log(database) as opened:
        await opened.appender.append(request(*(note("note:1") for _ in range(7))))
        batches = aiter(follower(opened, epoch=(await opened.log.head()).epoch, batch=3))
        seen = [event.position for _ in range(3) for event in await anext(batches)]
        assert seen == [1, 2, 3, 4, 5, 6, 7]
        coming = asyncio.ensure_future(anext(batches))
        await opened.appender.append(request(note("note:2")))
        assert [event.position for event in await coming] == [8]


async def test_a_follower_halts_on_a_hole(database: Database) -> None:
    """Writers make no holes, so a missing position is corruption: to skip it would be to lose it in silence."""
    async with open_log(database) as opened, as_owner(database) as owner:
        await opened.appender.append(request(*(note("note:1") for _ in range(5))))
        await owner.execute("DELETE FROM events.events WHERE position = 3")
        with pytest.raises(LogHole, match="3"):
            await follower(opened, epoch=(await opened.log.head()).epoch).read_once()


async def test_a_follower_halts_on_a_hole_at_the_head(database: Database) -> None:
    async with open_log(database) as opened, as_owner(database) as owner:
        await opened.appender.append(request(*(note("note:1") for _ in range(5))))
        await owner.execute("DELETE FROM events.events WHERE position = 5")
        with pytest.raises(LogHole, match="5"):
            await follower(opened, epoch=(await opened.log.head()).epoch).read_once()


async def test_a_follower_refuses_another_epoch_and_a_log_that_is_shorter_than_its_cursor(database: Database) -> None:
    async with open_log(database) as opened:
        await opened.appender.append(request(note("note:1")))
        with pytest.raises(WrongEpoch):
            await follower(opened, epoch=new_id()).read_once()
        with pytest.raises(WrongEpoch):
            await follower(opened, after=99, epoch=(await opened.log.head()).epoch).read_once()


async def test_a_zombie_cannot_move_a_checkpoint_that_was_taken_over(database: Database) -> None:
    async with open_log(database) as opened:
        await opened.appender.append_all([request(*(note("note:1") for _ in range(5)))])
        checkpoints = Checkpoints(opened.pool)
        zombie = await checkpoints.acquire("reader")
        await checkpoints.save(zombie, 3)
        heir = await checkpoints.acquire("reader")
        assert (heir.position, heir.fence) == (3, zombie.fence + 1)
        with pytest.raises(Fenced):
            await checkpoints.save(zombie, 4)
        await checkpoints.save(heir, 5)
        with pytest.raises(Fenced):
            await checkpoints.save(heir, 4)  # a checkpoint does not go back
        assert (await checkpoints.acquire("reader")).position == 5


async def test_a_checkpoint_is_saved_with_its_effect_or_not_at_all(database: Database) -> None:
    """`processor.append` moves the checkpoint in the statement of the append."""
    async with open_log(database, function="processor.append") as opened:
        checkpoints = Checkpoints(opened.pool)
        zombie = await checkpoints.acquire("reader")
        heir = await checkpoints.acquire("reader")
        with pytest.raises(Fenced):
            await opened.appender.append_all([request(note("note:1"))], saving=(zombie, 1))
        assert (await opened.log.head()).position == 0, "the refused save took its effect with it"
        await opened.appender.append_all([request(note("note:1"))], saving=(heir, 1))
        assert (await opened.log.head()).position == 1
        assert (await checkpoints.acquire("reader")).position == 1
