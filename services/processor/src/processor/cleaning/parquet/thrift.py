"""Thrift's compact protocol, in which Parquet describes a file: read into plain values and written back, whatever the
fields mean. https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md"""

import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, STRUCT = range(1, 13)
_LONG_LIST = 15
_DEEPEST = 64

# By the field's number: its type on the wire, and its value.
Fields: TypeAlias = dict[int, tuple[int, Any]]


class NotThrift(ValueError):
    """The bytes are none of it."""


@dataclass(slots=True)
class Items:
    """A list or a set."""

    type: int
    values: list[Any]


@dataclass(slots=True)
class Entries:
    key_type: int
    value_type: int
    values: list[tuple[Any, Any]]


def read(data: bytes) -> Fields:
    reader = _Reader(data)
    try:
        return reader.fields()
    except (IndexError, struct.error):
        raise NotThrift("It ends in the middle of a value.") from None


def write(fields: Fields) -> bytes:
    out = bytearray()
    _write_fields(out, fields)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._depth = 0

    def fields(self) -> Fields:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NotThrift("It is nested too deeply.")
        found: Fields = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            type_ = head & 0x0F
            # A field's type is its value, if it is true or false.
            found[number] = (type_, None if type_ in (_TRUE, _FALSE) else self._value(type_))
        self._depth -= 1
        return found

    def _value(self, type_: int) -> Any:
        match type_:
            case 1 | 2 | 3:  # in a list, true and false are bytes
                return self._byte()
            case 4 | 5 | 6:
                return self._zigzag()
            case 7:
                return self._take(8)
            case 8:
                return self._take(self._varint())
            case 9 | 10:
                head = self._byte()
                size = self._varint() if head >> 4 == _LONG_LIST else head >> 4
                return Items(head & 0x0F, [self._value(head & 0x0F) for _ in range(size)])
            case 11:
                size = self._varint()
                types = self._byte() if size else 0
                pairs = [(self._value(types >> 4), self._value(types & 0x0F)) for _ in range(size)]
                return Entries(types >> 4, types & 0x0F, pairs)
            case 12:
                return self.fields()
        raise NotThrift(f"There is no type {type_}.")

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) < length:
            raise NotThrift("It ends in the middle of a value.")
        self._at += length
        return taken

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise NotThrift("A number is too long.")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _write_fields(out: bytearray, fields: Fields) -> None:
    before = 0
    for number, (type_, value) in sorted(fields.items()):
        if 0 < number - before < 16:
            out.append((number - before) << 4 | type_)
        else:
            out.append(type_)
            _write_zigzag(out, number)
        before = number
        if type_ not in (_TRUE, _FALSE):
            _write_value(out, type_, value)
    out.append(0)


def _write_value(out: bytearray, type_: int, value: Any) -> None:
    match value:
        case int() if type_ in (_TRUE, _FALSE, _BYTE):
            out.append(value)
        case int():
            _write_zigzag(out, value)
        case bytes():
            if type_ == _BINARY:
                _write_varint(out, len(value))
            out += value
        case Items(of, values):
            if len(values) < _LONG_LIST:
                out.append(len(values) << 4 | of)
            else:
                out.append(_LONG_LIST << 4 | of)
                _write_varint(out, len(values))
            for each in values:
                _write_value(out, of, each)
        case Entries(key_type, value_type, pairs):
            _write_varint(out, len(pairs))
            if pairs:
                out.append(key_type << 4 | value_type)
            for key, each in pairs:
                _write_value(out, key_type, key)
                _write_value(out, value_type, each)
        case _:
            _write_fields(out, value)


def _write_varint(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_zigzag(out: bytearray, value: int) -> None:
    _write_varint(out, (value << 1) ^ (value >> 63))
