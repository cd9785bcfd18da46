"""A hundred thousand deliveries while everything on their way is killed: per client and channel no gap, nothing twice,
nothing out of order. A million by `make soak`."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos.fleet import Fleet, open_fleet
from chaos.storm import Storm
from fixtures.stack import OpenStack

SEED = 1
FAULTS = ["notifier", "broker", "gateway", "notifier-2", "notifier+notifier-2"]


@pytest_asyncio.fixture(scope="module")
async def fleet(open_stack: OpenStack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with open_fleet(open_stack, tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.mark.timeout(400)
async def test_whatever_is_killed_everybody_is_told_everything_once_and_in_order(fleet: Fleet) -> None:
    storm = Storm(fleet, SEED, wanted=100_000, faults=FAULTS)
    await storm.rage()
    print(storm.report)
    assert storm.written.deliveries >= 100_000
    assert storm.demotions > 0
