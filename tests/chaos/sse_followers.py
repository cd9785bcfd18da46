"""Clients of server-sent events, as `EventSource` is one: they come again with the id of the last whole message."""

from urllib.parse import urlencode

import msgspec

from chaos.centrifugo_followers import Recorded, named
from chaos.followers import LOG, Follower
from chaos.wires import Ended, Wire

_decoder = msgspec.json.Decoder(Recorded)


class SseFollower(Follower):
    kind = "/connection/sse"
    transport = "stream"

    _last_id = ""

    async def connect(self, on: Wire) -> None:
        query = [("channel", named(track)) for track in self.tracks.values()]
        first = next(iter(self.tracks.values()))
        if first.begin is not None:
            query.append(("after", str(first.begin)))
        if first.conflated:
            query.append(("conflate", "true"))
        lines = [f"GET /api/v1/connection/sse?{urlencode(query)} HTTP/1.1", "Host: millrace", self.credential]
        lines += [f"Last-Event-ID: {self._last_id}"] if self._last_id else []
        on.send("\r\n".join([*lines, "", ""]).encode())
        _, head = await on.answer()
        assert b"\r\ntransfer-encoding: chunked\r\n" in head.lower()
        self._wire = on
        self._raw, self._text = bytearray(), bytearray()

    async def hear(self) -> None:
        self._raw += await self._wire.read()
        ended = self._unchunk()
        *messages, rest = self._text.split(b"\n\n")
        self._text = rest
        for message in messages:
            self._hear(bytes(message))
        if ended:
            raise Ended

    def _unchunk(self) -> bool:
        """Whether that was the last chunk."""
        while (end := self._raw.find(b"\r\n")) >= 0:
            begin, size = end + 2, int(self._raw[:end], 16)
            if len(self._raw) < begin + size + 2:
                return False
            self._text += self._raw[begin : begin + size]
            del self._raw[: begin + size + 2]
            if size == 0:
                return True
        return False

    def _hear(self, message: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in message.split(b"\n") if not line.startswith(b":"))
        kind = fields.get(b"event", b"message")
        if kind == b"error":
            raise Ended(f"with {msgspec.json.decode(fields[b'data'])['code']}")
        assert kind == b"message", f"{self.name} has a gap: {message.decode()}"
        if b"id" in fields:
            self._last_id = fields[b"id"].decode()
        if b"data" in fields:
            event = _decoder.decode(fields[b"data"])
            self.take(LOG if LOG in self.tracks else event.told.job_id, event.told)
        elif b"id" in fields and LOG in self.tracks and self.tracks[LOG].begin is None:
            track = self.tracks[LOG]
            track.begin = track.cursor = int(self._last_id.rpartition(".")[2])
