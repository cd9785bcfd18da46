"""Clients of `/ws` and `/ws/{job_id}`."""

import msgspec

from chaos.followers import LOG, Follower, Told, Track
from chaos.wires import RawSocket, Wire


class _Frame(msgspec.Struct):
    type: str
    job_id: str = ""
    position: int = 0
    version: int = 0
    current_step: str | None = None
    after: int = 0
    code: str = ""

    @property
    def told(self) -> Told:
        return Told(self.job_id, self.position, self.version, self.current_step)


_decoder = msgspec.json.Decoder(_Frame)


class _Progress(Follower):
    _socket: RawSocket

    async def open(self, on: Wire, path: str) -> None:
        self._socket = await RawSocket.open(on, path, self.credential)

    async def frames(self) -> list[_Frame]:
        return [_decoder.decode(message) for message in await self._socket.messages()]

    def close(self, on: Wire) -> None:
        self._socket.close()


class JobFollower(_Progress):
    kind = "/ws/{job_id}"

    async def connect(self, on: Wire) -> None:
        (track,) = self.tracks.values()
        await self.open(on, f"/ws/{track.channel}?after={track.cursor}")

    async def hear(self) -> None:
        for frame in await self.frames():
            self.take(frame.job_id, frame.told)


class LogFollower(_Progress):
    kind = "/ws"

    async def connect(self, on: Wire) -> None:
        track = self.tracks[LOG]
        await self.open(on, "/ws" if track.begin is None else f"/ws?after={track.cursor}")

    async def hear(self) -> None:
        for frame in await self.frames():
            if frame.type == "connected":
                self._begin(self.tracks[LOG], frame.after)
            else:
                self.take(LOG, frame.told)

    def _begin(self, track: Track, after: int) -> None:
        if track.begin is None:
            track.begin = track.cursor = after
        assert after == track.cursor


class JobsFollower(_Progress):
    """Names its jobs on one socket, and names one anew now and then."""

    kind = "/ws with some jobs"

    async def connect(self, on: Wire) -> None:
        await self.open(on, "/ws")
        self._named = False  # until then it is told of all jobs as they come
        self._leaving: str | None = None
        for track in self.tracks.values():
            self._subscribe(track)

    def _subscribe(self, track: Track) -> None:
        self._say(action="subscribe", job_id=track.channel, after=track.cursor)

    def _say(self, **command: object) -> None:
        self._socket.say(msgspec.json.encode(command))

    async def hear(self) -> None:
        for frame in await self.frames():
            match frame.type:
                case "subscribed":
                    self._named = True
                case "unsubscribed":
                    self._leaving = None
                    self._subscribe(self.tracks[frame.job_id])
                case "error":
                    assert frame.code == "unavailable", frame
                    raise EOFError
                case _ if self._named:
                    self.take(frame.job_id, frame.told)
                    if self.restless and self._leaving is None and self.dice.random() < 0.005:
                        self._leaving = frame.job_id
                        self._say(action="unsubscribe", job_id=frame.job_id)
