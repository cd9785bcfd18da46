"""The first message of a WebSocket that nobody else reads yet, frame by frame (RFC 6455, section 5).

A stranger sends it, so all of it is bounded: what is read before it is whole, control frames included.
"""

from collections.abc import Iterator

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_PROTOCOL_ERROR, _UNSUPPORTED, _NOT_UTF8, _POLICY, _TOO_BIG = 1002, 1003, 1007, 1008, 1009


class Violation(Exception):
    """Why the WebSocket must be closed, as its close frame says it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Closed(Exception):
    """The client has closed the WebSocket before it said anything."""


class FirstMessage:
    """Takes bytes as they come, until `text` is there. Then `rest` is what came behind it, untouched."""

    __slots__ = ("_begun", "_longest", "_read", "_unread", "text")

    def __init__(self, longest: int) -> None:
        """`longest`: bytes of the message. All frames until it is whole may have twice as many."""
        self.text: bytes | None = None
        self._longest = longest
        self._unread = bytearray()
        self._begun: bytearray | None = None  # the message, as far as its fragments have come
        self._read = 0  # bytes of all frames so far

    @property
    def unread(self) -> int:
        return len(self._unread)

    @property
    def rest(self) -> bytes:
        return bytes(self._unread)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads of the pings in it, to be answered. Raises `Violation` or `Closed`."""
        self._unread += data
        while self.text is None and (frame := self._next_frame()) is not None:
            opcode, fin, payload = frame
            if opcode == _CLOSE:
                raise Closed
            if opcode == _PING:
                yield payload
            elif opcode != _PONG:
                self._begun = (self._begun or bytearray()) + payload
                if fin:
                    self.text = _checked(self._begun)

    def _next_frame(self) -> tuple[int, bool, bytes] | None:
        unread = self._unread
        if len(unread) < 2:
            return None
        first, length, begin = unread[0], unread[1] & 0x7F, 2
        opcode, fin = first & 0x0F, bool(first & 0x80)
        self._check_head(first, is_masked=bool(unread[1] & 0x80), is_short=length <= 125)
        if length > 125:
            begin += 2 if length == 126 else 8
            if len(unread) < begin:
                return None
            shortest = 126 if length == 126 else 1 << 16
            length = int.from_bytes(unread[2:begin], "big")
            if length < shortest:
                raise Violation(_PROTOCOL_ERROR, "The length is not in its shortest form.")
        if len(self._begun or b"") + length > self._longest and opcode < _CLOSE:
            raise Violation(_TOO_BIG, f"The first message may have {self._longest} bytes.")
        end = begin + 4 + length
        if self._read + end > 2 * self._longest:
            raise Violation(_POLICY, "There were too many frames before the first message was whole.")
        if len(unread) < end:
            return None
        payload = masked(unread[begin + 4 : end], unread[begin : begin + 4])
        del unread[:end]
        self._read += end
        return opcode, fin, payload

    def _check_head(self, first: int, *, is_masked: bool, is_short: bool) -> None:
        opcode, fin = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            raise Violation(_PROTOCOL_ERROR, "No extension was agreed on: the reserved bits must be 0.")
        if not is_masked:
            raise Violation(_PROTOCOL_ERROR, "A client's frame must be masked.")
        if opcode in (_CLOSE, _PING, _PONG):
            if not fin or not is_short:
                raise Violation(_PROTOCOL_ERROR, "A control frame is fragmented or too long.")
        elif opcode == _BINARY:
            raise Violation(_UNSUPPORTED, "Only text is understood.")
        elif opcode not in (_TEXT, _CONTINUATION) or (opcode == _CONTINUATION) is (self._begun is None):
            raise Violation(_PROTOCOL_ERROR, "The opcode is unknown, or a fragment is out of its order.")


def masked(payload: bytes | bytearray, mask: bytes | bytearray) -> bytes:
    """Masks, and unmasks."""
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


def _checked(text: bytearray) -> bytes:
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Violation(_NOT_UTF8, "Text must be UTF-8.") from None
    return bytes(text)
