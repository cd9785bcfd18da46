"""A WebSocket service as cheap as can be, to measure what stands before it. Its port is in MILLRACE_PORT.

Each frame of `FRAME` bytes that comes is answered by one; the text `flood` is answered by `FLOOD_BYTES` of large ones.
"""

import asyncio
import base64
import hashlib
import os
import re

import uvloop

PAYLOAD = 200
FRAME = 8 + PAYLOAD  # a client's: head, length, mask
FLOOD_BYTES = 512 << 20
_BLOCK = 1 << 16
_ANSWER = bytes((0x81, 126)) + PAYLOAD.to_bytes(2) + b"x" * PAYLOAD
_FLOOD = bytes((0x82, 127)) + _BLOCK.to_bytes(8) + b"x" * _BLOCK
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"(?i)\r\nsec-websocket-key: *([^\r]+)")


class Echo(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._open = False
        self._received = b""
        self._blocks = 0  # still to be sent
        self._full = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP has nothing less
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._open:
            self._accept()
        elif self._received.endswith(b"flood"):
            self._blocks, self._received = FLOOD_BYTES // _BLOCK, b""
            self._flood()
        else:
            while len(self._received) >= FRAME:
                self._received = self._received[FRAME:]
                self._transport.write(_ANSWER)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._flood()

    def _accept(self) -> None:
        head, end, self._received = self._received.partition(b"\r\n\r\n")
        if not end:
            self._received = head
            return
        key = _KEY.search(head)
        if key is None:  # a look whether we are there
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return
        self._open = True
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )

    def _flood(self) -> None:
        while self._blocks and not self._full:
            self._blocks -= 1
            self._transport.write(_FLOOD)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(os.environ["MILLRACE_PORT"]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
