"""Who is present in a channel, on this notifier and all others.

Each notifier says in one table who of its clients comes and leaves: many at once when many come at once, and what is
asked for here is asked after all of our own is said. It beats, so that the others know whom it may still speak for.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias
from uuid import UUID

from events.database import DATABASE_GONE, Pool, load_queries
from events.ids import new_id
from notifier.channels import name_of
from notifier.form import Channel

BEAT_SECONDS = 3.0
DEAD_SECONDS = 10.0  # without a beat
SWEEP_SECONDS = 60.0

# How long who comes or leaves waits for others who do.
_GATHERING_SECONDS = 0.05

# Of these, so many are said at once: each is a row, and the loop has other things to do.
_AT_ONCE = 500

Member: TypeAlias = tuple[Channel, UUID]


@dataclass(frozen=True, slots=True)
class Present:
    client: UUID
    subject: str  # the key or user


class Presence:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._queries = load_queries("notifier", "presence.sql")
        self._me = new_id()
        self._here: dict[UUID, tuple[str, set[Channel]]] = {}  # by client
        self._news: dict[Member, str | None] = {}  # not said yet; None: left
        self._all_is_said = True  # else what was said before may be forgotten
        self._saying = asyncio.Lock()
        self.changed = asyncio.Event()

    @asynccontextmanager
    async def leaving(self) -> AsyncIterator[None]:
        """At its end nobody is here any more."""
        try:
            yield
        finally:
            with suppress(*DATABASE_GONE):  # then we are dead soon enough
                await self._pool.execute(self._queries["leave"], self._me)

    def join(self, channel: Channel, client: UUID, subject: str) -> None:
        self._here.setdefault(client, (subject, set()))[1].add(channel)
        self._tell((channel, client), subject)

    def leave(self, channel: Channel, client: UUID) -> None:
        if client in self._here:
            self._here[client][1].discard(channel)
            self._tell((channel, client), None)

    def gone(self, client: UUID) -> None:
        """It has left whatever it was in."""
        _, channels = self._here.pop(client, ("", set[Channel]()))
        for channel in channels:
            self._tell((channel, client), None)

    async def of(self, channel: Channel) -> list[Present]:
        rows = await self._pool.fetch(self._queries["present"], *await self._asked(channel))
        return [Present(*row) for row in rows]

    async def count(self, channel: Channel) -> tuple[int, int]:
        """How many clients there are, and how many subjects."""
        row = await self._pool.fetchrow(self._queries["count_present"], *await self._asked(channel))
        assert row is not None
        return row["clients"], row["subjects"]

    async def beat(self) -> bool:
        """Say that we live, with what is new; nothing while nobody is here."""
        if self._news:
            await asyncio.sleep(_GATHERING_SECONDS)
        if self._news or self._here:
            await self._say_news()
        return False

    async def sweep(self) -> bool:
        await self._pool.execute(self._queries["sweep"], SWEEP_SECONDS)
        return False

    def _tell(self, member: Member, subject: str | None) -> None:
        self._news[member] = subject
        self.changed.set()

    async def _asked(self, channel: Channel) -> tuple[str, str, float]:
        if self._news or self._saying.locked():
            await self._say_news()
        return channel[0], name_of(channel), DEAD_SECONDS

    async def _say_news(self) -> None:
        async with self._saying:
            news, self._news = self._news, {}
            try:
                forgotten = await self._say(news.items())
                if forgotten or not self._all_is_said:
                    await self._say(self._all())
                self._all_is_said = True
            except BaseException:
                # Whether we were forgotten is told once only, and that answer may be the one that did not come.
                self._all_is_said = False
                self._news = news | self._news
                raise

    def _all(self) -> Iterator[tuple[Member, str]]:
        """Whoever comes or leaves before their turn is in the next news as well."""
        for client in tuple(self._here):
            if client in self._here:
                subject, channels = self._here[client]
                for channel in tuple(channels):
                    yield (channel, client), subject

    async def _say(self, news: Iterable[tuple[Member, str | None]]) -> bool:
        """Whether what we have said before is forgotten."""
        forgotten, left = False, iter(news)
        while True:
            some = islice(left, _AT_ONCE)
            said = [(channel[0], name_of(channel), client, subject) for (channel, client), subject in some]
            columns = [list(column) for column in zip(*said, strict=True)] or [[], [], [], []]
            if await self._pool.fetchval(self._queries["beat"], self._me, *columns):
                forgotten = True
            if len(said) < _AT_ONCE:
                return forgotten
