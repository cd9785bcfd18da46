"""Everybody who follows: clients of all dialects, and what each of them has been told."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import asyncpg

from chaos.followers import LOG, Follower, History, Track, Ways
from deploy.stack import Stack

TENANT = "default"  # of the key that the stack has


@dataclass
class Audience:
    gateways: list[str]
    key: str
    history: History
    dice: random.Random
    restless: bool = True  # else they stay as long as they may
    ways: Ways = field(default_factory=Ways)
    followers: list[Follower] = field(default_factory=list)

    def add(self, kind: type[Follower], *tracks: Track, sluggish: bool = False) -> None:
        follower = kind(
            name=f"client {len(self.followers)}",
            gateways=self.gateways,
            key=self.key,
            tracks={track.channel: track for track in tracks},
            history=self.history,
            ways=self.ways,
            dice=random.Random(self.dice.random()),
            restless=self.restless,
            sluggish=sluggish,
        )
        self.followers.append(follower)

    @property
    def complete(self) -> bool:
        return all(follower.complete for follower in self.followers)

    @property
    def outstanding(self) -> int:
        """Of those who listen: who comes late has to be told a lot, but is not waited for until then."""
        return sum(
            max(0, self.history.newest(channel) - track.cursor)
            for follower, channel, track in self._tracks()
            if follower.follows and track.begin is not None
        )

    def missing(self) -> str:
        return "\n".join(
            f"{follower.name} ({follower.kind}): {channel} up to {track.cursor} of {self.history.newest(channel)}"
            for follower, channel, track in self._tracks()
            if track.cursor < self.history.newest(channel)
        )

    def check(self, rows: Sequence[asyncpg.Record]) -> None:
        """With the log's rows of jobs: what nobody can know while he listens."""
        for follower, channel, track in self._tracks():
            assert track.begin is not None
            places = [
                row["position"] if channel == LOG else row["version"]
                for row in rows
                if channel == LOG or row["stream"] == f"job:{channel}"
            ]
            expected = [place for place in places if place > track.begin]
            assert track.agrees(expected), (
                f"{follower.name} ({follower.kind}) was not told of {channel} what the log holds: "
                f"{_difference(track.told, expected)}"
            )

    def _tracks(self) -> Iterable[tuple[Follower, str, Track]]:
        for follower in self.followers:
            for channel, track in follower.tracks.items():
                yield follower, channel, track


async def rows_of_jobs(stack: Stack, *, after: int = 0) -> list[asyncpg.Record]:
    """What the log holds of the tenant's jobs."""
    log = await asyncpg.connect(stack.postgres_url("owner"))
    try:
        return await log.fetch(
            "SELECT position, stream, version FROM events.events WHERE tenant = $1 AND stream LIKE 'job:%'"
            " AND position > $2 ORDER BY position",
            TENANT,
            after,
        )
    finally:
        await log.close()


def _difference(told: list[int], expected: list[int]) -> str:
    missing, unknown = sorted(set(expected) - set(told))[:20], sorted(set(told) - set(expected))[:20]
    return f"{len(told)} of {len(expected)}; never told of {missing}; told of {unknown}, which are not there"
