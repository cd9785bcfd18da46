"""Clients that follow channels over any number of connections, each of which ends some time, in one way or another.

Each remembers of a channel only how far it was told, as real clients do, and says so when it comes again.
"""

import asyncio
import random
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from chaos.wires import Ended, Refused, Wire, wire

LOG = "the whole log"

# Wire errors after which a client comes again.
BROKEN = (OSError, EOFError, Ended, TimeoutError)


@dataclass(frozen=True, slots=True)
class Told:
    """What the checker looks at, of any event in any dialect."""

    job_id: str
    position: int
    version: int
    note: str | None  # the writer of a storm has put job and version into it


class History(Protocol):
    """What was written, and told, so far."""

    def newest(self, channel: str) -> int:
        """The place of the channel's newest event."""

    def arrived(self) -> None: ...


@dataclass
class Track:
    """What one client has been told of one channel."""

    channel: str
    cursor: int = 0
    begin: int | None = 0  # None until a client that wants only what comes has been told where that begins
    conflated: bool = False  # the client asks for the newest only, of what is due
    noted: bool = True  # the writer has put a note into each event
    told: list[int] = field(default_factory=list)

    @property
    def dense(self) -> bool:
        return self.channel != LOG

    def agrees(self, places: list[int]) -> bool:
        """Whether that is what was to be told."""
        if not self.conflated:
            return self.told == places
        return set(self.told) <= set(places) and self.told[-1:] == places[-1:]

    def take(self, event: Told) -> None:
        place = event.version if self.dense else event.position
        follows = place == self.cursor + 1 if self.dense and not self.conflated else place > self.cursor
        assert not self.noted or event.note == f"{event.job_id} {event.version}", f"another event's payload: {event}"
        assert not self.dense or event.job_id == self.channel, f"another channel's event: {event}"
        assert follows, f"{self.channel}: {place} was told after {self.cursor}"
        self.cursor = place
        self.told.append(place)


@dataclass
class Ways:
    """How often clients came again, by how their connections ended."""

    ends: dict[str, int] = field(default_factory=dict)

    def count(self, how: str) -> None:
        self.ends[how] = self.ends.get(how, 0) + 1


@dataclass
class Follower:
    """One client. What its dialect says is in its subclasses."""

    name: str
    gateways: list[str]
    key: str
    tracks: dict[str, Track]
    history: History
    ways: Ways
    dice: random.Random
    restless: bool = True  # ends its connections itself, and stops reading now and then
    sluggish: bool = False  # stops reading again and again, for longer than anybody keeps things for it
    follows: bool = False  # since it has come for the first time
    ended_at: list[float] = field(default_factory=list)  # by the other side, in the loop's time
    _heard: int = 0

    kind: ClassVar[str]
    transport: ClassVar[str] = "WebSocket"

    @property
    def credential(self) -> str:
        return f"X-API-Key: {self.key}"

    @property
    def complete(self) -> bool:
        return all(
            track.begin is not None and track.cursor >= self.history.newest(track.channel)
            for track in self.tracks.values()
        )

    async def follow(self) -> None:
        """For ever: connect, listen, lose the connection."""
        self.follows = True
        while True:
            try:
                async with wire(self.dice.choice(self.gateways), slow=self.sluggish or self.dice.random() < 0.3) as on:
                    await self._listen(on)
            except Refused as refused:
                if not refused.for_now:
                    raise
                self.ways.count(f"refused with {refused.status}")
            except Ended as ended:
                self.ways.count(f"{self.transport} ended {ended.why}")
                self.ended_at.append(asyncio.get_running_loop().time())
            except BROKEN as broken:
                self.ways.count(type(broken).__name__)
            await asyncio.sleep(self.dice.uniform(0.01, 0.3))  # a client's own jitter

    async def _listen(self, on: Wire) -> None:
        if self.restless and self.dice.random() < 0.05:
            asyncio.get_running_loop().call_later(self.dice.uniform(0, 0.02), on.abort)  # in the handshake, maybe
        await self.connect(on)
        patience = self._patience()
        while True:
            heard = self._heard
            await self.hear()
            patience -= self._heard - heard
            if self.restless and patience <= 0:
                patience = self._patience()
                ways = (self._vanish, self._close, self._half_close, self._stall, self._stall)
                leave = self._stall if self.sluggish else self.dice.choice(ways)
                if await leave(on):
                    return

    def _patience(self) -> int:
        return int(self.dice.expovariate(1 / (400 if self.sluggish else 300))) + 1

    def take(self, channel: str, event: Told) -> None:
        self._heard += 1
        track = self.tracks.get(channel)
        try:
            assert track is not None, f"was told of {channel}, which it does not follow"
            track.take(event)
        except AssertionError as wrong:
            raise AssertionError(f"{self.name} ({self.kind}): {wrong}") from None
        self.history.arrived()

    # How a connection is left

    async def _vanish(self, on: Wire) -> bool:
        self.ways.count("vanished")
        on.abort()
        return True

    async def _stall(self, on: Wire) -> bool:
        """Read nothing for a while, and then go on."""
        self.ways.count("stalled")
        await asyncio.sleep(self.dice.uniform(4.0, 8.0) if self.sluggish else self.dice.uniform(0.2, 4.0))
        return False

    async def _half_close(self, on: Wire) -> bool:
        self.ways.count("half-closed")
        on.end()
        await self._hear_out()
        return True

    async def _close(self, on: Wire) -> bool:
        self.ways.count("closed")
        self.close(on)
        await self._hear_out()
        return True

    async def _hear_out(self) -> None:
        """What was on its way counts too."""
        async with asyncio.timeout(10):
            while True:
                await self.hear()

    # What a dialect says

    async def connect(self, on: Wire) -> None:
        """Say what is followed, and from where on."""
        raise NotImplementedError

    async def hear(self) -> None:
        """Wait for what is told, and take it."""
        raise NotImplementedError

    def close(self, on: Wire) -> None:
        """Say goodbye, in a dialect that has words for it."""
        on.end()
