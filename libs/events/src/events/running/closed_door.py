"""Letting nobody in any more, and losing nobody who is in.

The system itself takes connections for a listener, and keeps them until they are accepted. To close the listener resets
those that wait: who has sent his request already gets no answer, and can't tell whether it was read.
"""

import asyncio
import contextlib
import ctypes
import select
import socket
import struct
import sys

_UNDER_WAY_SECONDS = 0.01  # that a connection may take to be made which was begun before: we are in one network
_MOST_SECONDS = 1.0  # that those who wait may take to be accepted: where no file can be opened, nobody is

# Of Linux; Python does not name it.
_SO_ATTACH_FILTER = 26

# What decides of each packet for the listener, a program for Linux' packet filter: one that begins a connection (SYN,
# 0x02 of the flags, byte 13 of the TCP header) is dropped, all others pass. Each line: code, jump if so, if not, value.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


async def emptied(listener: socket.socket) -> None:
    """Returns when everybody who has connected is accepted, and nobody connects any more. Whoever tries to is not
    answered: his system tries again a second later, when the listener is closed, or its successor's is open."""
    _drop_newcomers(listener)
    loop = asyncio.get_running_loop()
    until = loop.time() + _MOST_SECONDS
    await asyncio.sleep(_UNDER_WAY_SECONDS)
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while waiting.poll(0) and loop.time() < until:
        await asyncio.sleep(0)


def _drop_newcomers(listener: socket.socket) -> None:
    """Where the system can: elsewhere those are reset who come in the moment before the listener is closed."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _DROP_SYN))
    attached = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    with contextlib.suppress(OSError):  # a sandbox may not know it
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
