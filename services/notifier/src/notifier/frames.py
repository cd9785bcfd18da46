"""WebSocket frames as a server sends them: whole, and never masked (RFC 6455, 5.2)."""

_TEXT = 0x81
_SHORT, _MEDIUM = 125, 0xFFFF


def text_frame(payload: bytes) -> bytes:
    length = len(payload)
    if length <= _SHORT:
        return bytes((_TEXT, length)) + payload
    if length <= _MEDIUM:
        return bytes((_TEXT, 126)) + length.to_bytes(2, "big") + payload
    return bytes((_TEXT, 127)) + length.to_bytes(8, "big") + payload
