"""A million deliveries while everything on their way is killed, again and again. `make soak ARGS="-k deliveries"`

MILLRACE_SOAK_DELIVERIES says how many. Each run is another storm; MILLRACE_SOAK_SEED says which.
"""

import os
import random
from pathlib import Path

from chaos.fleet import open_fleet
from chaos.storm import Storm
from chaos.test_deliveries import FAULTS
from fixtures.stack import OpenStack

WANTED = int(os.environ.get("MILLRACE_SOAK_DELIVERIES", "1000000"))
_ROUND = 125_000  # deliveries in which everything is killed once


async def test_a_million_deliveries_have_no_gap_no_repetition_and_are_in_order(
    open_stack: OpenStack, tmp_path: Path
) -> None:
    seed = int(os.environ.get("MILLRACE_SOAK_SEED") or random.randrange(10**6))
    faults = FAULTS * max(1, WANTED // _ROUND)
    random.Random(seed).shuffle(faults)
    async with open_fleet(open_stack, tmp_path) as fleet:
        storm = Storm(fleet, seed, wanted=WANTED, faults=faults)
        await storm.rage()
    print(storm.report)
    assert storm.written.deliveries >= WANTED
    assert storm.demotions > 0
