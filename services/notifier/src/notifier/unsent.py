"""How much may wait to be read by one client, before it is told from the log instead."""

import asyncio
import socket

_BYTES_IN_KERNEL = 64 * 1024


def bound_unsent(transport: asyncio.Transport, limit: int) -> None:
    """Let the transport say when more bytes than that wait, and when there is room again."""
    transport.set_write_buffer_limits(high=limit, low=limit // 4)
    # Else the kernel takes megabytes for a client that reads nothing, before we get to know that it does not.
    raw: socket.socket = transport.get_extra_info("socket")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _BYTES_IN_KERNEL)
