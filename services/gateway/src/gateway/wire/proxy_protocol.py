"""What a TCP proxy says, ahead of a connection's first request, of whom it connects: the PROXY protocol, 1 and 2."""

import struct
from ipaddress import IPv4Address, IPv6Address

from events.errors import BadRequest

_LONGEST_LINE = 107
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_ADDRESSES = {0x11: (IPv4Address, 4), 0x21: (IPv6Address, 16)}  # TCP over IPv4 and over IPv6


def read_preamble(data: bytes) -> tuple[int, str | None] | None:
    """How many bytes it takes, and the client's address if it says one; None while it may still come.

    No request begins as it does, so a connection without one is told apart by its first bytes."""
    if _begins(data, b"PROXY "):
        return _line(data)
    if _begins(data, _SIGNATURE):
        return _binary(data)
    return 0, None


def _begins(data: bytes, start: bytes) -> bool:
    return data[: len(start)] == start[: len(data)]


def _line(data: bytes) -> tuple[int, str | None] | None:
    end = data.find(b"\r\n", 0, _LONGEST_LINE)
    if end < 0:
        if len(data) >= _LONGEST_LINE:
            raise BadRequest("The PROXY line does not end.")
        return None
    match data[:end].decode("latin-1").split(" "):
        case ["PROXY", "UNKNOWN", *_]:
            return end + 2, None
        case ["PROXY", "TCP4" | "TCP6", source, _, _, _]:
            return end + 2, source
        case _:
            raise BadRequest("The PROXY line is malformed.")


def _binary(data: bytes) -> tuple[int, str | None] | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack_from("!BBH", data, len(_SIGNATURE))
    if command >> 4 != 2 or command & 0xF > 1:
        raise BadRequest("The PROXY header is of a version or a command that is not known here.")
    end = 16 + length
    if len(data) < end:
        return None
    if command & 0xF == 0 or family not in _ADDRESSES:
        return end, None  # the proxy's own health check, or an address that is none of ours
    kind, size = _ADDRESSES[family]
    if length < 2 * size + 4:
        raise BadRequest("The PROXY header is too short for its addresses.")
    return end, str(kind(data[16 : 16 + size]))
