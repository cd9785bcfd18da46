"""WebSocket frames (RFC 6455, section 5): ours, which are whole and unmasked, and what a client sends."""

import codecs
from collections.abc import Iterator
from enum import IntEnum

_FIN, _RESERVED, _CONTROL, _MASKED = 0x80, 0x70, 0x08, 0x80
_SHORT, _MEDIUM, _LONGEST = 125, 0xFFFF, 0x7FFF_FFFF_FFFF_FFFF
_Utf8 = codecs.getincrementaldecoder("utf-8")


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    # Centrifugo's. Its clients come again after those below 3500, and never after the others.
    SHUTDOWN = 3001
    SERVER_ERROR = 3004
    EXPIRED = 3005
    INVALID_TOKEN = 3500
    BAD_REQUEST = 3501
    STALE = 3502
    CREDENTIAL_ENDED = 4401  # ours: what would be a 401


_OPCODES = {int(opcode): opcode for opcode in Opcode}
# What may stand in a close frame: the registered codes, and those of libraries and applications.
_SENDABLE = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})


class Violation(Exception):
    """Why a connection must end, as its close frame says it."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def text_frame(payload: bytes) -> bytes:
    return _frame(Opcode.TEXT, payload)


def ping_frame() -> bytes:
    return _frame(Opcode.PING, b"")


def pong_frame(payload: bytes) -> bytes:
    return _frame(Opcode.PONG, payload)


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close; without a code only in answer to one that has none."""
    return _frame(Opcode.CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason.encode()[:123])


def close_code(payload: bytes) -> int | None:
    """The code of a client's close frame, None if it gave none."""
    if not payload:
        return None
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _SENDABLE:
        raise Violation(CloseCode.PROTOCOL_ERROR, "The close code is not valid.")
    _check_text(payload[2:])
    return code


def _frame(opcode: Opcode, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _SHORT:
        return bytes((_FIN | opcode, length)) + payload
    if length <= _MEDIUM:
        return bytes((_FIN | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + length.to_bytes(8, "big") + payload


class FrameReader:
    """Takes bytes as they come, gives one item per frame: a control frame, a whole message, or a CONTINUATION for a
    fragment that is kept until its message is whole. Raises `Violation`, and then is of no use any more.

    It holds at most one message of `limit` bytes, and refuses a longer one by its announced length, and text with the
    first fragment after which it cannot become UTF-8 any more."""

    __slots__ = ("_buffer", "_limit", "_message", "_opcode", "_text")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._message = bytearray()
        self._opcode: Opcode | None = None  # of the message whose fragments are coming
        self._text: codecs.IncrementalDecoder | None = None  # while these are of text

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, bytes]]:
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            fin, opcode, payload = frame
            if opcode & _CONTROL:
                yield opcode, payload
                continue
            if opcode is not Opcode.CONTINUATION:
                self._opcode = opcode
                self._text = None if fin or opcode is not Opcode.TEXT else _Utf8()
            self._check(payload, last=fin)
            self._message += payload
            if not fin:
                yield Opcode.CONTINUATION, b""
                continue
            assert self._opcode is not None
            whole, message = self._opcode, bytes(self._message)
            self._opcode, self._text, self._message = None, None, bytearray()
            yield whole, message

    def _check(self, payload: bytes, *, last: bool) -> None:
        if self._opcode is not Opcode.TEXT:
            return
        if self._text is None:
            _check_text(payload)
            return
        try:
            self._text.decode(payload, last)
        except UnicodeDecodeError:
            raise _not_text() from None
        waiting, _ = self._text.getstate()
        if waiting[:1] == b"\xed" and waiting[1:2] >= b"\xa0":  # a surrogate: Python would wait for its last byte
            raise _not_text()

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        fin, masked = bool(buffer[0] & _FIN), buffer[1] & _MASKED
        opcode = _OPCODES.get(buffer[0] & 0x0F)
        if buffer[0] & _RESERVED or opcode is None:
            raise _broken("The frame has reserved bits or an unknown opcode.")
        if not masked:
            raise _broken("A client's frame must be masked.")
        length, begin = buffer[1] & 0x7F, 2
        if opcode & _CONTROL:
            if not fin or length > _SHORT:
                raise _broken("A control frame is fragmented or too long.")
        elif (opcode is Opcode.CONTINUATION) is (self._opcode is None):
            raise _broken("A fragment is out of its order.")
        if length > _SHORT:
            begin += 2 if length == 126 else 8
            if len(buffer) < begin:
                return None
            shortest = _SHORT + 1 if length == 126 else _MEDIUM + 1
            length = int.from_bytes(buffer[2:begin], "big")
            if length < shortest:
                raise _broken("The length is not in its shortest form.")
            if length > _LONGEST:
                raise _broken("The length has its first bit set.")
            if len(self._message) + length > self._limit:
                raise Violation(CloseCode.TOO_BIG, f"A message may have {self._limit} bytes.")
        elif len(self._message) + length > self._limit and not opcode & _CONTROL:
            raise Violation(CloseCode.TOO_BIG, f"A message may have {self._limit} bytes.")
        end = begin + 4 + length
        if len(buffer) < end:
            return None
        payload = _unmasked(buffer[begin + 4 : end], buffer[begin : begin + 4])
        del buffer[:end]
        return fin, opcode, payload


def _unmasked(payload: bytearray, mask: bytearray) -> bytes:
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


def _check_text(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise _not_text() from None


def _broken(reason: str) -> Violation:
    return Violation(CloseCode.PROTOCOL_ERROR, reason)


def _not_text() -> Violation:
    return Violation(CloseCode.INVALID_TEXT, "Text must be UTF-8.")
