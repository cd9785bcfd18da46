"""Lives of jobs, as many as an hour or two have room for. `make soak ARGS="-k engine"`

MILLRACE_SOAK_HISTORIES says how many; for millions of them, raise the time too: ARGS="-k engine --timeout=86400".
MILLRACE_SOAK_SEED says where to begin. A history that breaks a rule is named by its seed: `live(Dice(seed), moves=60)`
lives it again.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from fixtures.engine_documents import Dice
from fixtures.engine_world import live

HISTORIES = int(os.environ.get("MILLRACE_SOAK_HISTORIES", "300000"))
FIRST = int(os.environ.get("MILLRACE_SOAK_SEED", "1000000"))
_SHARE = 500


def test_hundreds_of_thousands_of_histories_break_no_rule() -> None:
    firsts = range(FIRST, FIRST + HISTORIES, _SHARE)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        ends: dict[str, int] = {}
        for number, found in enumerate(processes.map(_lived, firsts), 1):
            for end, count in found.items():
                ends[end] = ends.get(end, 0) + count
            if number % 100 == 0:
                print(number * _SHARE, ends, flush=True)
    assert sum(ends.values()) == len(firsts) * _SHARE


def _lived(first: int) -> dict[str, int]:
    ends: dict[str, int] = {}
    for seed in range(first, first + _SHARE):
        try:
            end = str(live(Dice(seed), moves=60).model.ended)
        except Exception as broken:
            raise AssertionError(f"The history {seed} breaks a rule: {broken!r}") from broken
        ends[end] = ends.get(end, 0) + 1
    return ends
