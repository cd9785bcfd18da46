"""The same as test_openapi.py does, for much longer and with another seed each time."""

import random
from pathlib import Path

import pytest

from fixtures.fuzz import UNLIMITED, fuzz
from fixtures.millrace import running


async def test_hours_of_guessing_find_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    seed = random.SystemRandom().randrange(2**32)
    async with running(tmp_path / "data", UNLIMITED) as millrace:
        code, found = await fuzz(millrace, f"--seed={seed}", "--max-examples=2000", "--workers=2")
        print(found)
        assert code == 0
