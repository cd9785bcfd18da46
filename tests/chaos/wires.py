"""The least that a client needs: a connection to a gateway that may break at any moment, and frames of a WebSocket."""

import asyncio
import base64
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.frames import Opcode

from fixtures.raw_websockets import frame

_SMALL_BUFFER = 4096
_HANDSHAKE_SECONDS = 15.0


class Refused(Exception):
    """What was answered instead of what was asked for."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body.decode(errors='replace')}")
        self.status = status

    @property
    def for_now(self) -> bool:
        return self.status in (429, 502, 503, 504)


class Ended(Exception):
    """The other side has ended it."""

    def __init__(self, why: str = "without a word") -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    _said_all: bool = False

    def send(self, data: bytes) -> None:
        if not self._said_all:
            self.writer.write(data)

    def end(self) -> None:
        """Say nothing more, and go on listening."""
        self._said_all = True
        self.writer.write_eof()

    async def answer(self) -> tuple[int, bytes]:
        """The status and the head of what is answered; what is no success raises."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status >= 300:
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            raise Refused(status, await self.reader.readexactly(int(length[1]) if length else 0))
        return status, head

    async def read(self) -> bytes:
        data = await self.reader.read(1 << 16)
        if not data:
            raise Ended
        return data

    def abort(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def wire(url: str, *, slow: bool) -> AsyncIterator[Wire]:
    """`slow`: little is buffered at our end, so that not to read is soon felt at the other."""
    place = urlsplit(url)
    raw = socket.socket()
    try:
        if slow:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (place.hostname, place.port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=_SMALL_BUFFER if slow else 1 << 18)
    except BaseException:
        raw.close()
        raise
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


class RawSocket:
    """A WebSocket: whole messages in, whole messages out. Pings are answered."""

    def __init__(self, on: Wire) -> None:
        self.wire = on
        self._buffer = bytearray()
        self._ended: Ended | None = None

    @classmethod
    async def open(cls, on: Wire, path: str, *headers: str) -> "RawSocket":
        key = base64.b64encode(os.urandom(16)).decode()
        fields = ("Host: millrace", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        lines = (f"GET {path} HTTP/1.1", *fields, f"Sec-WebSocket-Key: {key}", *headers, "", "")
        on.send("\r\n".join(lines).encode())
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            status, _ = await on.answer()
        assert status == 101
        return cls(on)

    def say(self, text: bytes) -> None:
        self.wire.send(frame(Opcode.TEXT, text))

    def close(self) -> None:
        self.wire.send(frame(Opcode.CLOSE, b"\x03\xe8"))

    async def messages(self) -> list[bytes]:
        """What came since; it may be nothing."""
        if self._ended is None:
            self._buffer += await self.wire.read()
        found = self._take()
        if self._ended is not None and not found:
            raise self._ended
        return found

    def _take(self) -> list[bytes]:
        buffer, begin, found = self._buffer, 0, []
        while len(buffer) >= begin + 2:
            length, payload = buffer[begin + 1], begin + 2
            if length >= 126:
                payload += 2 if length == 126 else 8
                length = int.from_bytes(buffer[begin + 2 : payload], "big")
            if len(buffer) < payload + length:
                break
            opcode, content = buffer[begin], bytes(buffer[payload : payload + length])
            begin = payload + length
            match opcode:
                case 0x81:
                    found.append(content)
                case 0x88:
                    self._ended = Ended(f"with {int.from_bytes(content[:2], 'big')}")
                    break
                case 0x89:
                    self.wire.send(frame(Opcode.PONG, content))
                case _:
                    assert opcode == 0x8A, f"the frame begins with {opcode:#x}"
        del buffer[:begin]
        return found
