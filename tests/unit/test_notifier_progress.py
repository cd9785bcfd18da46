"""Plain JSON progress of all jobs, as far as it needs no log."""

from typing import cast

from events.identity import Principal
from events.ids import new_id
from events.log.log import EventLog
from fixtures.cohorts import TENANT, Client, World
from notifier.dialects.progress import ProgressDialect
from notifier.handshake import Handshake


async def test_sockets_whose_tickets_are_bound_to_the_same_jobs_are_told_the_same_bytes() -> None:
    """Each had a form of its own: an event was written and packed anew for each of them, and told in one go."""
    world = World()
    dialect = ProgressDialect(world.hub, cast(EventLog, None), max_subscriptions=1)
    mine, other = f"job:{new_id()}", f"job:{new_id()}"

    async def opened(*jobs: str) -> Client:
        client = world.client()
        bound = Principal(TENANT, "key:1", frozenset({"jobs:read"}), channels=frozenset(jobs))
        (await dialect.admit(Handshake("GET", "/ws", "", {}), bound))(client.session)
        client.writes.clear()  # what it is greeted with
        return client

    one, same, another = await opened(mine), await opened(mine), await opened(other)
    for job in (mine, other):
        world.log.append(job)
        await world.tell()
    await world.until(lambda: bool(one.writes and same.writes and another.writes))
    assert [id(write) for write in one.writes] == [id(write) for write in same.writes]
    assert [len(client.writes) for client in (one, same, another)] == [1, 1, 1]
    assert mine.removeprefix("job:").encode() in one.writes[0]
    assert other.removeprefix("job:").encode() in another.writes[0]
