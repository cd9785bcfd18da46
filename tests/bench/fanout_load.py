"""The clients of the benchmark `fanout`: many raw WebSockets in one process, which only count what they receive. It
obeys one JSON command per line, and answers each with one.

A message holds one `|`, whatever its protocol: counting these is all that is done with most of what comes, so that not
the clients are what is measured. In front of a number of nanoseconds, it tells when the message was sent.
"""

import base64
import json
import re
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

_MARK = b"|"  # not `~`, which stands in the head of a frame of some length
_SENT_AT = re.compile(rb"\|(\d{12,19})\b")
_BUFFER = 1 << 20
_SMALL_BUFFER = 16 * 1024  # of a socket that stalls: its neighbours' memory is not what is measured
_AT_ONCE = 100  # handshakes
_KEY = base64.b64encode(bytes(16)).decode()


@dataclass(slots=True)
class Client:
    socket: socket.socket
    counted: int = 0


@dataclass
class Load:
    clients: dict[int, Client] = field(default_factory=dict)
    stalled: list[socket.socket] = field(default_factory=list)

    def open(
        self, port: int, paths: list[str], header: str, talks: list[list[tuple[str, str]]], *, stall: bool = False
    ) -> dict[str, Any]:
        """A WebSocket for each path, that then talks: it hears the one, and says the other. Those that stall read
        nothing more."""
        for begin in range(0, len(paths), _AT_ONCE):
            batch = []
            for number, path in enumerate(paths[begin : begin + _AT_ONCE], begin):
                made = socket.socket()
                if stall:
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
                made.settimeout(60)
                made.connect(("127.0.0.1", port))
                made.sendall(_handshake(path, header))
                batch.append((number, made))
            for number, made in batch:
                _until(made, b"\r\n\r\n")
                for hears, says in talks[number]:
                    if hears:
                        _until(made, hears.encode())
                    if says:
                        made.sendall(_text(says))
                made.setblocking(False)
                if stall:
                    self.stalled.append(made)
                else:
                    self.clients[made.fileno()] = Client(made)
        return {"open": len(self.clients)}

    def count(self, expected: int, seconds: float = 60, *, timed: bool = False) -> dict[str, Any]:
        """Until all have counted so many messages together, since they were opened or counted last."""
        poll = select.epoll()
        for number in self.clients:
            poll.register(number, select.EPOLLIN)
        _say({"counting": True})
        buffer = bytearray(_BUFFER)
        view = memoryview(buffer)
        waits: list[int] = []
        counted = received = 0
        first = last = cpu = 0.0
        until = time.monotonic() + seconds
        while counted < expected:
            ready = poll.poll(max(0.0, until - time.monotonic()))
            if not ready:
                break
            now = time.monotonic_ns()
            if not first:
                first, cpu = now / 1e9, time.process_time()
            for number, _ in ready:
                client = self.clients[number]
                size = client.socket.recv_into(view)
                if not size:
                    raise ConnectionError("A server has closed a connection.")
                found = buffer.count(_MARK, 0, size)
                client.counted += found
                counted += found
                received += size
                if timed:
                    now = time.monotonic_ns()
                    waits += [now - int(sent) for sent in _SENT_AT.findall(buffer, 0, size)]
        last = time.monotonic()
        poll.close()
        counts = [client.counted for client in self.clients.values()]
        for client in self.clients.values():
            client.counted = 0
        return {
            "counted": counted,
            "bytes": received,
            "seconds": last - first if first else 0.0,
            "cpu_seconds": time.process_time() - cpu,
            "least": min(counts),
            "most": max(counts),
            "waits_ms": _tail(waits),
        }

    def close(self) -> dict[str, Any]:
        for opened in (*(client.socket for client in self.clients.values()), *self.stalled):
            opened.close()
        self.clients.clear()
        self.stalled.clear()
        return {"open": 0}


def _tail(waits: list[int]) -> dict[str, float]:
    if not waits:
        return {}
    waits.sort()
    return {
        name: waits[min(len(waits) - 1, int(len(waits) * share))] / 1e6
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("max", 1.0))
    }


def _handshake(path: str, header: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: bench\r\n{header}Connection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n\r\n"
    ).encode()


def _text(said: str) -> bytes:
    """A client's frame. Its mask is zero: who receives it unmasks it all the same."""
    payload = said.encode()
    size = bytes((0x80 | len(payload),)) if len(payload) <= 125 else bytes((0x80 | 126,)) + len(payload).to_bytes(2)
    return b"\x81" + size + bytes(4) + payload


def _until(made: socket.socket, marker: bytes) -> None:
    """Read byte for byte where need be: what comes after the marker is to be counted."""
    received = b""
    while marker not in received:
        piece = made.recv(4096, socket.MSG_PEEK)
        if not piece:
            raise ConnectionError(f"A server has closed a connection: {received[:300]!r}")
        end = (received + piece).find(marker)
        take = len(piece) if end < 0 else end + len(marker) - len(received)
        received += made.recv(take)
    if received.startswith(b"HTTP/") and b" 101 " not in received[:20]:
        raise ConnectionError(f"A server has refused a WebSocket: {received[:300]!r}")


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    load = Load()
    for line in sys.stdin:
        command = json.loads(line)
        _say(getattr(load, command.pop("do"))(**command))


if __name__ == "__main__":
    main()
