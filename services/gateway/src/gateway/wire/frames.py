"""WebSocket frames that we write ourselves: to clients as they are, to a service masked, as from a client."""

import secrets

from gateway.wire.first_message import masked

_TEXT, _PONG, _MASKED = 0x81, 0x8A, 0x80


def text_frame(payload: bytes) -> bytes:
    return bytes((_TEXT, *_length(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    return bytes((_PONG, len(payload))) + payload


def masked_text_frame(payload: bytes) -> bytes:
    first, *more = _length(payload)
    mask = secrets.token_bytes(4)
    return bytes((_TEXT, _MASKED | first, *more)) + mask + masked(payload, mask)


def _length(payload: bytes) -> bytes:
    size = len(payload)
    if size <= 125:
        return bytes((size,))
    return bytes((126,)) + size.to_bytes(2, "big") if size < 1 << 16 else bytes((127,)) + size.to_bytes(8, "big")
