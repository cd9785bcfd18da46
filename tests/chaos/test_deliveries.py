"""A hundred thousand deliveries while everything on their way is killed: per client and channel no gap, nothing twice,
nothing out of order. A million by `make soak`."""

import os
from pathlib import Path

import pytest

from chaos.storm import storm
from fixtures.stack import OpenStack

SEED = int(os.environ.get("MILLRACE_STORM_SEED", "1"))
FAULTS = ["notifier", "broker", "gateway", "notifier-2", "notifier+notifier-2"]


@pytest.mark.timeout(400)
async def test_whatever_is_killed_everybody_is_told_everything_once_and_in_order(
    open_stack: OpenStack, tmp_path: Path
) -> None:
    async with storm(open_stack, tmp_path, seed=SEED, wanted=100_000, faults=FAULTS) as raging:
        await raging.rage()
    print(raging.report)
    assert raging.written.deliveries >= 100_000
    assert raging.demotions > 0
