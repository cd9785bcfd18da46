import asyncio

from events.running.tasks import end


async def test_a_task_that_swallows_its_cancellation_is_ended_all_the_same() -> None:
    """A follower's shutdown hung: `wait_for` had just got its connection when the cancellation came, and ate it."""
    swallowed = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end(task)
    assert swallowed.is_set()
    assert task.cancelled()


async def test_what_an_ended_task_raises_is_dropped() -> None:
    async def broken() -> None:
        raise ValueError

    task = asyncio.create_task(broken())
    await asyncio.sleep(0)
    await end(task)
    assert isinstance(task.exception(), ValueError)
