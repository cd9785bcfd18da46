"""The same as test_cleaning_truth.py does, for half an hour, with larger files and another seed each time."""

import random
import time
from collections.abc import Iterator

import duckdb
import pytest

from fixtures.dirty_checking import check
from fixtures.dirty_cleaning import cleaned
from fixtures.dirty_known_files import DirtyFile, make

_SECONDS = 1800


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


def _fails(connection: duckdb.DuckDBPyConnection, file: DirtyFile) -> bool:
    try:
        check(file, cleaned(connection, file.content, file.options, file.recipe))
    except Exception:
        return True
    return False


def test_half_an_hour_of_dirty_files_finds_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    seeds, end = random.SystemRandom(), time.monotonic() + _SECONDS
    while time.monotonic() < end:
        seed, most = seeds.randrange(2**64), seeds.choice([3, 30, 300])
        if not _fails(connection, make(random.Random(seed), most=most)):
            continue
        files = ((count, make(random.Random(seed), most=count)) for count in range(1, most + 1))
        count, file = next(one for one in files if _fails(connection, one[1]))
        print(f"make(Random({seed}), most={count})")
        check(file, cleaned(connection, file.content, file.options, file.recipe))
