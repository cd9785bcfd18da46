"""Encodings whose characters take two bytes or four, seen as one byte each, so that records can be found in them."""

import codecs
from typing import Any

import numpy as np
from numpy.typing import NDArray

_UNITS = {"utf-16-le": "<u2", "utf-16-be": ">u2", "utf-32-le": "<u4", "utf-32-be": ">u4"}
_NO_ASCII = 0xFF


def unit_bytes(encoding: str) -> int:
    return _unit(encoding).itemsize


def units_of(data: bytes, encoding: str) -> NDArray[np.unsignedinteger[Any]]:
    """What is left over at the end is none."""
    kind = _unit(encoding)
    return np.frombuffer(data, kind, len(data) // kind.itemsize)


def as_ascii(data: bytes, encoding: str) -> bytes:
    """A byte for each unit, the same if it is ASCII."""
    if unit_bytes(encoding) == 1:
        return data
    text: NDArray[np.uint8] = np.minimum(units_of(data, encoding), _NO_ASCII).astype(np.uint8)
    return text.tobytes()


def _unit(encoding: str) -> np.dtype[Any]:
    return np.dtype(_UNITS.get(codecs.lookup(encoding).name, "u1"))
