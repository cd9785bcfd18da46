"""Messages as the frames of AMQP 0-9-1 that publish them: the same bytes that pamqp makes of them, which looks at each
property of each message anew. Within a page nothing differs but id, key, headers and body."""

from collections.abc import Iterator, Mapping
from struct import Struct

from events.broker.broker import Message

_METHOD, _HEADER, _BODY, _END = 1, 2, 3, b"\xce"
_BASIC, _PUBLISH = 60, 40
_PERSISTENT, _TRANSIENT = b"\x02", b"\x01"
_PROPERTIES = 0xB080  # those that follow: content_type, headers, delivery_mode, message_id

# What a frame can hold. A server that says that it may be of any size is asked for by the library as less than nothing.
_UNLIMITED = 2**31

_FRAME = Struct(">BHI")  # its kind, its channel, how many bytes
_METHOD_HEAD = Struct(">HHH")  # class, method, a ticket that nobody uses
_CONTENT_HEAD = Struct(">HHQH")  # class, weight, bytes of the body, which properties
_LONG = Struct(">I")


class PublishFrames:
    """For one channel and exchange. `most` is what a body's frame may hold: a longer one is spread over several."""

    def __init__(self, channel: int, exchange: str, *, mandatory: bool, persistent: bool, most: int) -> None:
        self._channel = channel
        self._most = most if most > 0 else _UNLIMITED
        self._exchange = _METHOD_HEAD.pack(_BASIC, _PUBLISH, 0) + _short(exchange)
        self._mandatory = b"\x01" if mandatory else b"\x00"
        self._content_type = _short("application/json")
        self._mode = _PERSISTENT if persistent else _TRANSIENT
        self._methods: dict[str, bytes] = {}  # by routing key: a page has few of them

    def of(self, message: Message) -> Iterator[bytes]:
        body = message.body
        method = self._methods.get(message.routing_key)
        if method is None:
            arguments = self._exchange + _short(message.routing_key) + self._mandatory
            method = self._methods[message.routing_key] = self._frame(_METHOD, arguments)
        yield method
        yield self._frame(
            _HEADER,
            _CONTENT_HEAD.pack(_BASIC, 0, len(body), _PROPERTIES)
            + self._content_type
            + _table(message.headers)
            + self._mode
            + _short(message.id),
        )
        for begin in range(0, len(body), self._most):
            yield self._frame(_BODY, body[begin : begin + self._most])

    def _frame(self, kind: int, payload: bytes) -> bytes:
        return _FRAME.pack(kind, self._channel, len(payload)) + payload + _END


def _short(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 255:
        raise ValueError(f"RabbitMQ takes 255 bytes for a name or a key, and {text[:40]!r}… has more.")
    return bytes((len(encoded),)) + encoded


def _table(headers: Mapping[str, str]) -> bytes:
    pairs = b"".join(_short(name) + b"S" + _long(value) for name, value in sorted(headers.items()))
    return _LONG.pack(len(pairs)) + pairs


def _long(text: str) -> bytes:
    encoded = text.encode()
    return _LONG.pack(len(encoded)) + encoded
