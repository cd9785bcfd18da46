"""A service that lets somebody in has its connections to the database already."""

import itertools
from urllib.parse import urlsplit

from deploy.process import free_port
from deploy.provision import Database
from events.database import open_pool, warm
from fixtures.way import HEALTHY, Fate, Way


async def test_all_connections_are_there_before_anybody_needs_one(database: Database) -> None:
    """All clients of a replica that had stopped came to the one that had just begun, and waited together until it had
    opened its connections one by one."""
    async with open_pool(database.url("notifier"), name="test", size=3) as pool:
        await warm(pool, within=30)
        assert pool.get_idle_size() == 3


async def test_a_database_that_is_away_keeps_no_service_from_starting() -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with open_pool(url, name="test", size=3) as pool:
        await warm(pool, within=30)
        assert pool.get_size() == 0


async def test_one_connection_that_fails_keeps_none_of_the_others(database: Database) -> None:
    """Of a database that took some and refused others, those that came after the first refusal were given back by
    nobody: the service had one connection for good, and could not stop."""
    url = urlsplit(database.url("notifier"))
    async with Way.to(database.url("notifier")) as way:
        way.fates = itertools.chain([Fate(sent=1)], itertools.repeat(HEALTHY))
        through = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{way.port}").geturl()
        async with open_pool(through, name="test", size=4) as pool:
            await warm(pool, within=30)
            assert pool.get_size() == pool.get_idle_size() == 3
