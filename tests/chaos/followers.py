"""Clients that follow channels over any number of connections, each of which ends some time, in one way or another.

Each remembers of a channel only how far it was told, as real clients do, and says so when it comes again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import msgspec

from chaos.wires import Ended, RawSocket, Refused, Wire, wire

LOG = "the whole log"

# Wire errors after which a client comes again.
BROKEN = (OSError, EOFError, Ended, TimeoutError)


class Told(msgspec.Struct):
    """What the checker looks at, of any event in any dialect."""

    job_id: str
    position: int
    version: int
    current_step: str  # the writer has put the version into it


class History(Protocol):
    """What was written, and told, so far."""

    def newest(self, channel: str) -> int:
        """The place of the channel's newest event."""

    def arrived(self, count: int) -> None: ...


@dataclass
class Track:
    """What one client has been told of one channel."""

    channel: str
    cursor: int = 0
    begin: int | None = 0  # None until a client that wants only what comes has been told where that begins
    told: list[int] = field(default_factory=list)

    @property
    def dense(self) -> bool:
        return self.channel != LOG

    def take(self, event: Told) -> None:
        place = event.version if self.dense else event.position
        assert event.current_step == str(event.version), f"another event's payload: {event}"
        if self.dense:
            assert place == self.cursor + 1, f"{self.channel}: {place} was told after {self.cursor}"
        else:
            assert place > self.cursor, f"{self.channel}: {place} was told after {self.cursor}"
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

    kind: ClassVar[str]

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
        while True:
            try:
                async with wire(self.dice.choice(self.gateways), slow=self.dice.random() < 0.3) as on:
                    await self._listen(on)
            except Refused as refused:
                if not refused.for_now:
                    raise
                self.ways.count(f"refused with {refused.status}")
            except Ended as ended:
                self.ways.count(f"closed with {ended.code}" if ended.code else "ended by the other side")
            except BROKEN as broken:
                self.ways.count(type(broken).__name__)
            await asyncio.sleep(self.dice.uniform(0.01, 0.3))  # a client's own jitter

    async def _listen(self, on: Wire) -> None:
        if self.restless and self.dice.random() < 0.05:
            asyncio.get_running_loop().call_later(self.dice.uniform(0, 0.02), on.abort)  # in the handshake, maybe
        hear = await self.connect(on)
        patience = self._patience()
        while True:
            events = await hear()
            self._take(events)
            patience -= len(events)
            if self.restless and patience <= 0:
                patience = self._patience()
                leave = self.dice.choice((self._vanish, self._close, self._half_close, self._stall, self._stall))
                if await leave(on, hear):
                    return

    def _patience(self) -> int:
        return int(self.dice.expovariate(1 / 300)) + 1

    def _take(self, events: Iterable[Told]) -> None:
        count = 0
        for event in events:
            track = self.tracks.get(event.job_id) or self.tracks.get(LOG)
            try:
                assert track is not None, f"was told of {event.job_id}, which it does not follow"
                track.take(event)
            except AssertionError as wrong:
                raise AssertionError(f"{self.name} ({self.kind}): {wrong}") from None
            count += 1
        self.history.arrived(count)

    # How a connection is left

    async def _vanish(self, on: Wire, _: "Hear") -> bool:
        self.ways.count("vanished")
        on.abort()
        return True

    async def _stall(self, on: Wire, _: "Hear") -> bool:
        """Read nothing for a while, and then go on."""
        self.ways.count("stalled")
        await asyncio.sleep(self.dice.uniform(0.2, 3.0))
        return False

    async def _half_close(self, on: Wire, hear: "Hear") -> bool:
        self.ways.count("half-closed")
        on.end()
        await self._hear_out(hear)
        return True

    async def _close(self, on: Wire, hear: "Hear") -> bool:
        self.ways.count("closed")
        self.close(on)
        await self._hear_out(hear)
        return True

    async def _hear_out(self, hear: "Hear") -> None:
        """What was on its way counts too."""
        async with asyncio.timeout(10):
            while True:
                self._take(await hear())

    # What a dialect says

    async def connect(self, on: Wire) -> "Hear":
        """Say what is followed, and from where on."""
        raise NotImplementedError

    def close(self, on: Wire) -> None:
        """Say goodbye, in a dialect that has words for it."""
        on.end()


# Waits for what is told, which may be nothing.
Hear = Callable[[], Awaitable[list[Told]]]


class _Plain(Follower):
    """`/ws` and `/ws/{job_id}`."""

    _socket: RawSocket
    _decoder = msgspec.json.Decoder(Told)

    async def open(self, on: Wire, path: str) -> None:
        self._socket = await RawSocket.open(on, path, self.credential)

    async def hear(self) -> list[Told]:
        return [self._decoder.decode(message) for message in await self._socket.messages()]

    def close(self, on: Wire) -> None:
        self._socket.close()


class JobFollower(_Plain):
    kind = "one job"

    async def connect(self, on: Wire) -> Hear:
        (track,) = self.tracks.values()
        await self.open(on, f"/ws/{track.channel}?after={track.cursor}")
        return self.hear


class _Said(msgspec.Struct):
    type: str
    after: int = 0
    epoch: str = ""
    code: str = ""


class LogFollower(_Plain):
    kind = "all jobs"

    async def connect(self, on: Wire) -> Hear:
        (track,) = self.tracks.values()
        await self.open(on, "/ws" if track.begin is None else f"/ws?after={track.cursor}")
        greeting: list[bytes] = []
        while not greeting:
            greeting = await self._socket.messages()
        said = msgspec.json.decode(greeting[0], type=_Said)
        assert said.type == "connected"
        if track.begin is None:
            track.begin = track.cursor = said.after
        assert said.after == track.cursor
        self._take(self._decoder.decode(message) for message in greeting[1:])
        return self.hear


class JobsFollower(_Plain):
    kind = "some jobs on one socket"

    async def connect(self, on: Wire) -> Hear:
        await self.open(on, "/ws")
        self._named = False
        for track in self.tracks.values():
            command = {"action": "subscribe", "job_id": track.channel, "after": track.cursor}
            self._socket.say(msgspec.json.encode(command))
        return self.hear

    async def hear(self) -> list[Told]:
        """Until it has named its first job, it is told of all as they come."""
        events = []
        for message in await self._socket.messages():
            said = msgspec.json.decode(message, type=_Said)
            if said.type == "subscribed":
                self._named = True
            elif said.type == "error":
                assert said.code == "unavailable", said
                raise EOFError
            elif self._named:
                events.append(self._decoder.decode(message))
        return events
