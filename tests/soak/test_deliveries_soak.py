"""A million deliveries while everything on their way is killed, again and again. `make soak ARGS="-k deliveries"`

MILLRACE_STORM_SEED says which storm it is; each run without it is another one.
"""

import os
import random
from pathlib import Path

from chaos.storm import Storm, open_fleet
from chaos.test_deliveries import FAULTS
from fixtures.stack import OpenStack

WANTED = 1_000_000
_ROUNDS = 8


async def test_a_million_deliveries_have_no_gap_no_repetition_and_are_in_order(
    open_stack: OpenStack, tmp_path: Path
) -> None:
    seed = int(os.environ.get("MILLRACE_STORM_SEED") or random.randrange(10**6))
    faults = random.Random(seed).sample(FAULTS * _ROUNDS, _ROUNDS * len(FAULTS))
    async with open_fleet(open_stack, tmp_path) as fleet:
        storm = Storm(fleet, seed, wanted=WANTED, faults=faults)
        await storm.rage()
    print(storm.report)
    assert storm.written.deliveries >= WANTED
    assert storm.demotions > 0
