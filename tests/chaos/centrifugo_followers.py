"""Clients of the Centrifugo protocol, as its SDKs recover: by the offset and epoch that they were told."""

import msgspec

from chaos.followers import LOG, Follower, Told, Track
from chaos.wires import RawSocket, Wire


class Payload(msgspec.Struct):
    current_step: str | None = None


class Recorded(msgspec.Struct):
    """An event as REST shows it, and as both other protocols tell it."""

    subject: str
    position: int
    version: int
    data: Payload

    @property
    def told(self) -> Told:
        return Told(self.subject.removeprefix("job:"), self.position, self.version, self.data.current_step)


class _Publication(msgspec.Struct):
    data: Recorded
    offset: int


class _Push(msgspec.Struct):
    channel: str = ""
    pub: _Publication | None = None


class _Subscribed(msgspec.Struct):
    epoch: str
    offset: int = 0
    recovered: bool = False


class _Error(msgspec.Struct):
    code: int
    message: str = ""


class _Reply(msgspec.Struct):
    id: int = 0
    error: _Error | None = None
    connect: dict[str, object] | None = None
    subscribe: _Subscribed | None = None
    unsubscribe: dict[str, object] | None = None
    push: _Push | None = None


_decoder = msgspec.json.Decoder(_Reply)
_INTERNAL = 100  # the only error after which a client tries again


def named(track: Track) -> str:
    return "job:*" if track.channel == LOG else f"job:{track.channel}"


class CentrifugoFollower(Follower):
    kind = "/connection/websocket"

    _socket: RawSocket
    _epoch = ""

    async def connect(self, on: Wire) -> None:
        self._socket = await RawSocket.open(on, "/connection/websocket", self.credential)
        self._asked: dict[int, Track] = {}
        self._last_id = 1
        commands = [{"id": 1, "connect": {"name": "raw"}}, *(self._subscribe(track) for track in self.tracks.values())]
        lines = [msgspec.json.encode(command) for command in commands]
        if self.dice.random() < 0.5:
            self._socket.say(b"\n".join(lines))
        else:
            for line in lines:
                self._socket.say(line)

    def _subscribe(self, track: Track) -> dict[str, object]:
        self._last_id += 1
        self._asked[self._last_id] = track
        recovering = {} if track.begin is None else {"recover": True, "offset": track.cursor, "epoch": self._epoch}
        wish = {"channel": named(track), "data": {"conflate": track.conflated}, **recovering}
        return {"id": self._last_id, "subscribe": wish}

    def _unsubscribe(self, track: Track) -> dict[str, object]:
        self._last_id += 1
        self._asked[self._last_id] = track
        return {"id": self._last_id, "unsubscribe": {"channel": named(track)}}

    async def hear(self) -> None:
        for message in await self._socket.messages():
            for line in message.split(b"\n"):
                self._hear(_decoder.decode(line))

    def _hear(self, reply: _Reply) -> None:
        if reply.error is not None:
            assert reply.error.code == _INTERNAL, reply
            raise EOFError
        if reply.push is not None:
            assert reply.push.pub is not None, reply
            self._published(reply.push.channel, reply.push.pub)
        elif reply.subscribe is not None:
            self._begin(self._asked.pop(reply.id), reply.subscribe)
        elif reply.unsubscribe is not None:
            self._say(self._subscribe(self._asked.pop(reply.id)))
        elif reply.connect is None:
            self._socket.say(b"{}")  # a ping

    def _begin(self, track: Track, subscribed: _Subscribed) -> None:
        if track.begin is None:
            track.begin = track.cursor = subscribed.offset
        else:
            assert subscribed.recovered, f"{self.name}: {named(track)} was not recovered from {track.cursor}"
        self._epoch = subscribed.epoch
        assert subscribed.offset == track.cursor, f"{self.name}: {named(track)} begins at {subscribed.offset}"

    def _published(self, name: str, publication: _Publication) -> None:
        channel = LOG if name == "job:*" else name.removeprefix("job:")
        event = publication.data
        assert publication.offset == (event.position if channel == LOG else event.version), publication
        self.take(channel, event.told)
        if self.restless and self.dice.random() < 0.005 and not self._asked:
            self._say(self._unsubscribe(self.tracks[channel]))

    def _say(self, command: dict[str, object]) -> None:
        self._socket.say(msgspec.json.encode(command))

    def close(self, on: Wire) -> None:
        self._socket.close()
