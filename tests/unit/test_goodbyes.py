import asyncio

import pytest

from events.running.goodbyes import spread


@pytest.mark.parametrize(("count", "within", "seconds"), [(0, 20, 0), (1, 20, 0.01), (500, 20, 5), (9000, 20, 20)])
async def test_few_goodbyes_are_quick_and_many_take_no_longer_than_they_may(
    count: int, within: float, seconds: float
) -> None:
    assert spread([lambda: None] * count, within=within) == seconds


async def test_everybody_hears_a_goodbye_of_his_own() -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()
    spread([lambda number=number: heard.put_nowait(number) for number in range(100)], within=0.1)  # type: ignore[misc]
    async with asyncio.timeout(10):
        assert {await heard.get() for _ in range(100)} == set(range(100))
