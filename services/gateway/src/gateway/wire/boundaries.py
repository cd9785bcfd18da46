"""Where WebSocket frames end. A tunnel passes bytes; to have a last word, it must know when none is being said."""

_MASK, _CLOSE = 0x80, 0x88  # 0x88: a whole close frame
_LONGEST_REASON = 123
_NOT_YET = 255


def close_frame(code: int, reason: str) -> bytes:
    payload = code.to_bytes(2, "big") + reason.encode()[:_LONGEST_REASON]
    return bytes((_CLOSE, len(payload))) + payload


class Boundaries:
    """Follows one direction from frame to frame by their lengths alone."""

    __slots__ = ("_begun", "_left")

    def __init__(self) -> None:
        self._left = 0  # bytes of the current frame that are still to come
        self._begun = b""  # a frame's head, as far as it has come

    @property
    def between(self) -> bool:
        """Whether a frame of ours may stand here."""
        return not self._left and not self._begun

    def follow(self, data: bytes) -> None:
        size = len(data)
        if self._left >= size:
            self._left -= size
            return
        at, self._left = self._left, 0
        if self._begun:
            data = self._begun + data
            size, self._begun = len(data), b""
        while at < size:
            length = data[at + 1] if at + 1 < size else _NOT_YET
            if length < 126:
                at += 2 + length
            elif length == 126 and at + 4 <= size:
                at += 4 + (data[at + 2] << 8 | data[at + 3])
            elif (end := _end_of_frame(data, at)) is not None:
                at = end
            else:
                self._begun = data[at:]
                return
        self._left = at - size

    def rest_of_frame(self, data: bytes) -> int:
        """Follow `data` up to the first place between two frames; how much of it that is."""
        at = 0
        while at < len(data) and not self.between:
            step = max(1, self._left)
            self.follow(data[at : at + step])
            at = min(at + step, len(data))
        return at


def _end_of_frame(data: bytes, at: int) -> int | None:
    """Of any frame; None if its length has not come yet."""
    if len(data) < at + 2:
        return None
    length, begin = data[at + 1] & ~_MASK, at + 2
    if length > 125:
        begin += 2 if length == 126 else 8
        if len(data) < begin:
            return None
        length = int.from_bytes(data[at + 2 : begin], "big")
    return begin + length + (4 if data[at + 1] & _MASK else 0)
