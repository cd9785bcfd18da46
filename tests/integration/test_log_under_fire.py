"""The short run of tests/soak."""

from deploy.provision import Database
from soak.fire import Fire


async def test_the_log_under_fire_has_no_hole_no_repetition_and_no_loss(database: Database) -> None:
    report = await Fire(database, 9_000, seed=1).burn()
    assert report.events >= 9_000
    assert report.acknowledged > 3_000
    assert report.writers_killed >= 4
    assert report.backends_killed >= 1
