"""A hundred thousand deliveries while everything on their way is killed: per client and channel no gap, nothing twice,
nothing out of order. A million by `make soak`. And the same while all of it is restarted, as for a new version."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos.fleet import Fleet, open_fleet
from chaos.storm import Storm
from fixtures.stack import OpenStack

SEED = 1
FAULTS = ["notifier", "broker", "gateway", "notifier-2", "notifier+notifier-2"]

# By either door or service; by a service that speaks Centrifugo; in a stream.
POLITELY = {"WebSocket ended with 1012", "WebSocket ended with 3001", "stream ended with unavailable"}


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


@pytest.mark.timeout(400)
async def test_a_rolling_restart_moves_everybody_and_nobody_misses_anything(fleet: Fleet) -> None:
    """Clients are told to come again, not all at once, and never cut off."""
    storm = Storm(fleet, SEED, wanted=10_000, faults=["notifier", "notifier-2", "gateway", "gateway-2"], restarts=True)
    await storm.rage()
    print(storm.report)
    assert {how for how in storm.ways.ends if " ended " in how} <= POLITELY
    assert all(follower.ended_at for follower in storm.followers), "one of two restarts concerned each"
    for name, moments in storm.goodbyes.items():
        assert len(moments) > 5, name
        assert moments[-1] - moments[0] > 0.05, f"{name} has sent all of its clients away at once"
