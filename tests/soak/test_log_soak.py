"""A million events under fire. `make soak`"""

from deploy.provision import Database
from soak.fire import Fire

EVENTS = 1_000_000


async def test_a_million_events_under_fire_have_no_hole_no_repetition_and_no_loss(database: Database) -> None:
    report = await Fire(database, EVENTS, seed=1).burn()
    print(report)
    assert report.writers_killed > 20
    assert report.backends_killed > 20
